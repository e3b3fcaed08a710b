from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.effects import PopulationDay
from stream_app.core.features import FEATURE_INDEX, FEATURE_LISTS, FEATURE_NAMES, list_hash
from stream_app.core.packing import pack, unpack
from stream_app.learning.learner import Learner, LearnerRefusedError
from stream_app.learning.weighing import Settling
from stream_app.learning.zoo.registry import ADAGRAD, KALMAN, KALMAN_ORDERS
from tests.support.observed import AT_MS, HORIZON_DAYS, examples_of, shop_rows

_FEATURES, _LABELS = shop_rows(300)
_EXAMPLES = examples_of(_FEATURES, _LABELS)


@pytest.mark.parametrize("model", [KALMAN, KALMAN_ORDERS, ADAGRAD])
@settings(max_examples=15)
@given(cut=st.integers(0, 300), overlap=st.integers(0, 40), block=st.integers(1, 100))
def test_a_restart_learns_nothing_twice_and_skips_nothing(model: str, cut: int, overlap: int, block: int) -> None:
    whole = Learner(HORIZON_DAYS, model)
    whole.learn(_EXAMPLES)

    first = Learner(HORIZON_DAYS, model)
    first.learn(_EXAMPLES[:cut])
    second = Learner.restore(first.checkpoint())
    again = _EXAMPLES[max(0, cut - overlap) :]
    for start in range(0, len(again), block):
        second.learn(again[start : start + block])

    expected, actual = whole.snapshot(), second.snapshot()
    assert actual.weights == expected.weights
    assert actual.covariance == expected.covariance
    assert actual.trained_examples == len(_EXAMPLES)
    assert actual.metrics["all_auc"] == expected.metrics["all_auc"]


def test_repeats_are_told_by_partition() -> None:
    learner = Learner(HORIZON_DAYS)

    assert learner.learn(_EXAMPLES[:5]) == 5
    assert learner.learn(_EXAMPLES[:6]) == 1
    assert learner.learn(examples_of(_FEATURES[:5], _LABELS[:5], partition=1)) == 5
    assert learner.sequences == {0: 6, 1: 5}


def test_equal_models_have_equal_versions_and_different_ones_do_not() -> None:
    one, same, other = Learner(HORIZON_DAYS), Learner(HORIZON_DAYS), Learner(HORIZON_DAYS)
    one.learn(_EXAMPLES[:50])
    same.learn(_EXAMPLES[:50])
    other.learn(_EXAMPLES[:51])

    assert one.snapshot() == same.snapshot()
    assert one.snapshot().version != other.snapshot().version
    assert one.snapshot().version < other.snapshot().version


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"horizon_days": 90}, "other_horizon"),
        ({"probability": -1.0}, "unscored"),
        ({"features": b""}, "unscored"),
        ({"features": b"\x01"}, "malformed"),
        ({"features": pack(np.full(len(FEATURE_NAMES), np.nan, dtype=np.float32))}, "malformed"),
        ({"features": pack(np.full(len(FEATURE_NAMES), 7, dtype=np.float32))}, "malformed"),
        ({"features_hash": "0" * 16}, "unknown_features"),
        ({"contacts": 1}, "censored"),
    ],
)
def test_what_cannot_be_learned_is_counted_and_moves_nothing(changes: dict[str, Any], reason: str) -> None:
    learner = Learner(HORIZON_DAYS)
    before = learner.snapshot().weights

    assert learner.learn(examples_of(_FEATURES[:3], _LABELS[:3], **changes)) == 3

    assert learner.counts[reason] == 3
    assert learner.snapshot().weights == before
    assert learner.trained_examples == 0


def test_those_who_might_have_been_contacted_count_for_those_who_were() -> None:
    half, twice = Learner(HORIZON_DAYS, settling_days=0), Learner(HORIZON_DAYS, settling_days=0)
    half.learn(examples_of(_FEATURES, _LABELS, stay_propensity=0.5, arm=1))
    twice.learn(examples_of(_FEATURES, _LABELS, weight=2.0))
    holdout = Learner(HORIZON_DAYS, settling_days=0)
    holdout.learn(examples_of(_FEATURES, _LABELS, stay_propensity=0.5, arm=2))
    plain = Learner(HORIZON_DAYS, settling_days=0)
    plain.learn(_EXAMPLES)

    assert half.snapshot().weights == twice.snapshot().weights
    assert holdout.snapshot().weights == plain.snapshot().weights
    assert half.snapshot().effective_examples == pytest.approx(len(_EXAMPLES))


def test_quality_of_holdout_and_treated_is_told_apart() -> None:
    learner = Learner(HORIZON_DAYS)
    perfect = [0.9 if churned else 0.1 for churned in _LABELS.tolist()]
    learner.learn(examples_of(_FEATURES, _LABELS, perfect, arm=2))
    learner.learn(examples_of(_FEATURES, ~_LABELS, perfect, first_sequence=1001, arm=1))

    metrics = learner.metrics()

    assert metrics["holdout_auc"] == 1.0
    assert metrics["treatment_auc"] == 0.0
    assert metrics["all_auc"] == pytest.approx(0.5)


def test_examples_of_an_older_list_are_learned_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    old = (*reversed(FEATURE_NAMES[3:]), "since_removed")
    monkeypatch.setitem(FEATURE_LISTS, list_hash(old), old)
    kept = _FEATURES.copy()
    kept[:, :3] = 0.0
    packed = [
        pack(np.array([row[FEATURE_INDEX[name]] if name in FEATURE_INDEX else 7.0 for name in old], dtype=np.float32))
        for row in kept
    ]
    older, present = Learner(HORIZON_DAYS, settling_days=0), Learner(HORIZON_DAYS, settling_days=0)
    for index, features in enumerate(packed):
        [example] = examples_of(kept[index : index + 1], _LABELS[index : index + 1], first_sequence=index + 1,
                                features=features, features_hash=list_hash(old))  # fmt: skip
        older.learn([example])
    present.learn(examples_of(kept, _LABELS))

    assert older.snapshot().weights == present.snapshot().weights
    assert unpack(packed[0], len(old)).shape == (len(old),)


def test_a_checkpoint_that_cannot_be_used_is_refused_in_words() -> None:
    with pytest.raises(LearnerRefusedError, match="start anew"):
        Learner.restore(b"nonsense")


def _shop_day(day: int, random: np.random.Generator) -> PopulationDay:
    repeats, ages = random.geometric(0.4, 20) - 1, random.integers(0, 90, 20)
    cells = {f"rf:1:{times}:{day - age}:{day}": 5.0 for times, age in zip(repeats, ages, strict=True)}
    return PopulationDay(0, day, day, {"customers": 10.0, "orders": 12.0, **cells})


def test_population_sums_reach_the_snapshot_and_bgnbd_is_in_force_the_day_after_its_rows_were_taken() -> None:
    learner = Learner(HORIZON_DAYS)
    random = np.random.default_rng(5)
    fits = []
    for day in range(100, 150):
        learner.observe_population(_shop_day(day, random))
        fits.append(learner.snapshot().population.bgnbd)
        if day in (114, 120, 144):  # a refit is under way at 114 and 144
            learner = Learner.restore(learner.checkpoint())
            assert learner.snapshot().population.bgnbd == fits[-1]

    assert fits[:15] == [None] * 15
    assert fits[15] is not None
    assert set(fits[15:45]) == {fits[15]}
    assert set(fits[45:]) == {fits[45]}
    assert fits[45] != fits[15]
    assert learner.snapshot().population.customers == 500.0


def test_where_bgnbd_is_computed_makes_no_difference() -> None:
    here, days = Learner(HORIZON_DAYS), [_shop_day(day, np.random.default_rng(day)) for day in range(100, 150)]
    with ThreadPoolExecutor(1) as executor:
        elsewhere = Learner(HORIZON_DAYS, defer=lambda fit: executor.submit(fit).result)
        for day in days:
            here.observe_population(day)
            elsewhere.observe_population(day)
            assert elsewhere.snapshot() == here.snapshot()
    assert here.snapshot().population.bgnbd is not None


def test_while_a_stream_is_young_the_prior_rules() -> None:
    day = 86_400_000
    early = [
        msgspec.structs.replace(example, at_ms=AT_MS + index % 30 * day, due_ms=AT_MS + (index % 30 + 30) * day)
        for index, example in enumerate(_EXAMPLES)
    ]
    later = [
        msgspec.structs.replace(example, at_ms=example.at_ms + 60 * day, sequence=example.sequence + 1000)
        for example in early
    ]
    settling, hasty = Learner(HORIZON_DAYS), Learner(HORIZON_DAYS, settling_days=0)
    for learner in (settling, hasty):
        learner.learn(early)
    moved = [float(np.abs(learner.snapshot().weights).sum()) for learner in (settling, hasty)]
    for learner in (settling, hasty):
        learner.learn(later)

    assert moved[0] < 0.5 * moved[1]
    assert settling.snapshot().effective_examples < hasty.snapshot().effective_examples
    assert float(np.abs(settling.snapshot().weights).sum()) > 2.0 * moved[0]


@settings(max_examples=20)
@given(block=st.integers(1, 60))
def test_settling_does_not_depend_on_blocks(block: int) -> None:
    random = np.random.default_rng(3)
    at_ms = AT_MS + random.integers(0, 90 * 86_400_000, 200)
    whole, cut = Settling(60.0), Settling(60.0)

    parts = [cut.weight(at_ms[start : start + block]) for start in range(0, len(at_ms), block)]

    assert np.array_equal(np.concatenate(parts), whole.weight(at_ms))
    assert whole.first_ms == cut.first_ms == at_ms.min()
    assert float(whole.weight(np.array([int(at_ms.min()) + 61 * 86_400_000]))[0]) == 1.0
