"""Confidence sequences: wrong at any look no more often than they say, and not much wider than looking once."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.decisions.sequences import UNKNOWN, ArmsTest, DifferenceSequence, DifferenceState, half_width_factor

CUSTOMERS = 1500
ALPHA = 0.05


def shop(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Make customers with heavy-tailed values, effects that differ, and an arm each: (arm, outcome, covariate,
    effect)."""
    rng = np.random.default_rng(seed)
    covariate = rng.lognormal(0.0, 0.8, CUSTOMERS)
    untreated = 0.7 * covariate + rng.exponential(1.0, CUSTOMERS) * (rng.random(CUSTOMERS) < 0.6)
    effect = 0.2 * covariate * (rng.random(CUSTOMERS) < 0.5)
    treated = rng.random(CUSTOMERS) < 0.8
    return treated, untreated + effect * treated, covariate, effect


def test_a_covariate_sharpens() -> None:
    treated, outcome, covariate, _ = shop(1)
    plain, sharp = DifferenceSequence(0.8), DifferenceSequence(0.8)
    for i in range(CUSTOMERS):
        plain.add(bool(treated[i]), float(outcome[i]))
        sharp.add(bool(treated[i]), float(outcome[i]), float(covariate[i]))
    assert sharp.interval(ALPHA).half_width < 0.9 * plain.interval(ALPHA).half_width


def test_nothing_is_said_of_a_handful() -> None:
    sequence = DifferenceSequence(0.5)
    for i in range(99):
        sequence.add(i % 2 == 0, 1.0)
    assert sequence.interval(ALPHA) == UNKNOWN
    assert not sequence.interval(ALPHA).excludes_zero


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_one_arm_is_no_comparison(share: float) -> None:
    with pytest.raises(ValueError, match="no comparison"):
        DifferenceSequence(share)


@given(st.integers(100, 10**6), st.floats(0.001, 0.2), st.integers(100, 10**6))
def test_the_boundary_is_wider_than_a_fixed_sample_and_tighter_for_more_error(
    n: int, alpha: float, planned: int
) -> None:
    fixed = 1.0 / math.sqrt(n)
    assert half_width_factor(n, alpha, planned) > fixed
    assert half_width_factor(n, alpha, planned) > half_width_factor(n, min(0.5, 2 * alpha), planned)


def test_the_ratio_test_is_silent_on_the_configured_ratio_and_sees_a_broken_one() -> None:
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        fair = ArmsTest({"in": 0.9, "out": 0.1})
        lowest = 1.0
        for is_treated in (rng.random(2000) < 0.9).tolist():
            fair.add("in" if is_treated else "out")
            lowest = min(lowest, fair.p_value)
        alarms += lowest < 0.01
    assert alarms <= 4
    rng = np.random.default_rng(7)
    broken = ArmsTest({"in": 0.9, "out": 0.1})
    for is_treated in (rng.random(5000) < 0.86).tolist():
        broken.add("in" if is_treated else "out")
    assert broken.p_value < 0.001


def test_a_ratio_of_all_or_none_is_broken_by_a_single_customer() -> None:
    everybody = ArmsTest({"in": 1.0, "out": 0.0})
    everybody.add("in")
    assert everybody.p_value == 1.0
    everybody.add("out")
    assert everybody.p_value == 0.0


def test_the_ratio_test_takes_any_number_of_arms() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.2}
    fair, broken = ArmsTest(shares), ArmsTest(shares)
    for arm, count in (("a", 5000), ("b", 3000), ("c", 2000)):
        fair.add(arm, count)
    for arm, count in (("a", 5000), ("b", 3300), ("c", 1700)):
        broken.add(arm, count)
    assert fair.p_value == 1.0
    assert broken.p_value < 1e-6
    broken.add("unheard-of")
    assert broken.p_value == 0.0


def test_a_sequence_goes_on_from_its_state() -> None:
    treated, outcome, covariate, _ = shop(3)
    whole, first = DifferenceSequence(0.8), DifferenceSequence(0.8)
    for i in range(CUSTOMERS):
        whole.add(bool(treated[i]), float(outcome[i]), float(covariate[i]))
        if i < 700:
            first.add(bool(treated[i]), float(outcome[i]), float(covariate[i]))
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(first.state), type=DifferenceState)
    second = DifferenceSequence(0.8, state=saved)
    for i in range(700, CUSTOMERS):
        second.add(bool(treated[i]), float(outcome[i]), float(covariate[i]))
    assert second.interval(ALPHA) == whole.interval(ALPHA)
