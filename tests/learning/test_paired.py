import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.learning.paired import evidence_against_zero, season_share, sequence

_values = st.lists(st.floats(-5.0, 5.0, allow_nan=False), min_size=2, max_size=60)


@given(values=_values, alpha=st.floats(0.001, 0.5))
def test_bounds_exclude_zero_exactly_when_the_evidence_reaches_one_over_alpha(
    values: list[float], alpha: float
) -> None:
    evidence = evidence_against_zero(values)
    bounds = sequence(values, alpha)

    if evidence > 1.001 / alpha:
        assert bounds.low > 0 or bounds.high < 0
    if evidence < 0.999 / alpha:
        assert bounds.low <= 0 <= bounds.high


@given(values=_values, shift=st.floats(-3.0, 3.0), scale=st.floats(0.1, 10.0))
def test_bounds_move_and_stretch_with_the_values(values: list[float], shift: float, scale: float) -> None:
    plain = sequence(values, 0.05)
    changed = sequence([shift + scale * value for value in values], 0.05)

    assert changed.mean == pytest.approx(shift + scale * plain.mean, abs=1e-6)
    if math.isfinite(plain.low):
        assert changed.low == pytest.approx(shift + scale * plain.low, rel=1e-6, abs=1e-6)


@given(values=_values)
def test_a_smaller_error_rate_gives_wider_bounds(values: list[float]) -> None:
    assert sequence(values, 0.01).low <= sequence(values, 0.1).low


def test_a_single_week_says_nothing() -> None:
    assert sequence([0.3], 0.05).low == -math.inf
    assert sequence([], 0.05).high == math.inf
    assert evidence_against_zero([0.3]) == 1.0


def test_an_error_rate_outside_of_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        sequence([0.1, 0.2], 1.0)


def test_shares_of_the_seasons_never_exceed_the_whole() -> None:
    assert math.fsum(season_share(season) for season in range(10_000)) <= 1.0
    assert math.fsum(season_share(season) for season in range(10_000)) > 0.999


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_looked_at_every_week_it_is_wrong_at_most_as_often_as_it_says(alpha: float) -> None:
    random = np.random.default_rng(4)
    runs, wrong = 600, 0
    for _ in range(runs):
        values = random.normal(size=104).tolist()
        # The evidence is compared, which the first law ties to the bounds, because it is quicker.
        wrong += any(evidence_against_zero(values[:count]) >= 1 / alpha for count in range(2, 105, 2))

    assert wrong <= alpha * runs
    assert wrong > 0, "a test that is never wrong has no power either"


@settings(max_examples=20)
@given(effect=st.floats(0.7, 2.0), seed=st.integers(0, 1_000))
def test_an_advantage_of_most_weeks_is_found_within_two_years(effect: float, seed: int) -> None:
    values = np.random.default_rng(seed).normal(effect, 1.0, 104).tolist()

    assert sequence(values, 0.01).low > 0
