from collections.abc import Sequence
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.learning.learner import Learner
from stream_app.learning.scorer import SnapshotScorer
from stream_app.learning.shadow import FrozenWeights
from stream_app.learning.snapshot import ModelSnapshot, SnapshotRefusedError, decode_snapshot, encode_snapshot
from stream_app.learning.zoo.bends import bend_of
from stream_app.learning.zoo.registry import ENTRIES, MODEL_NAMES
from tests.support.observed import HORIZON_DAYS, examples_of, shop_rows

_FEATURES, _LABELS = shop_rows(300, seed=6)
_SERVED = [name for name in MODEL_NAMES if ENTRIES[name].served]
_BENT = ["mlp", "factorisation-machine"]


@cache
def _learner(name: str) -> Learner:
    learner = Learner(HORIZON_DAYS, name, settling_days=0.0)
    learner.learn(examples_of(_FEATURES, _LABELS))
    return learner


def _snapshot(name: str) -> ModelSnapshot:
    return decode_snapshot(encode_snapshot(_learner(name).snapshot()))


@pytest.mark.parametrize("name", _SERVED)
def test_workers_serve_what_the_model_predicts(name: str) -> None:
    scores = SnapshotScorer(_snapshot(name)).score(_FEATURES)

    assert scores.tobytes() == _learner(name).model.predict(_FEATURES).tobytes()
    assert np.ptp(scores) > 0.1


@pytest.mark.parametrize("name", _BENT)
def test_bends_bend(name: str) -> None:
    bent = _snapshot(name)
    straight = msgspec.structs.replace(bent, format=1, form="", arrays=())

    assert np.abs(SnapshotScorer(bent).score(_FEATURES) - SnapshotScorer(straight).score(_FEATURES)).max() > 0.01


@pytest.mark.parametrize("name", _BENT)
@given(size=st.integers(1, 40))
def test_a_bent_score_has_the_same_bits_in_whatever_block_it_stands(name: str, size: int) -> None:
    scorer = SnapshotScorer(_snapshot(name))
    parts = [scorer.score(_FEATURES[start : start + size]) for start in range(0, len(_FEATURES), size)]

    assert np.concatenate(parts).tobytes() == scorer.score(_FEATURES).tobytes()


@pytest.mark.parametrize("name", _BENT)
def test_what_stood_at_t_says_what_it_said(name: str) -> None:
    model = _learner(name).model

    frozen = FrozenWeights.of(model.inputs, model.export())
    learned = model.export()
    thawed = FrozenWeights(model.inputs, frozen.body, learned.offset, learned.form)

    assert frozen.probability(_FEATURES) == pytest.approx(model.predict(_FEATURES), abs=1e-4)
    assert thawed.probability(_FEATURES).tobytes() == frozen.probability(_FEATURES).tobytes()


@pytest.mark.parametrize("name", _BENT)
def test_a_bent_model_gives_reasons_in_the_direction_of_what_they_change(name: str) -> None:
    scorer = SnapshotScorer(_snapshot(name))

    contributions = scorer.contributions(_FEATURES[0])

    assert any(abs(amount) > 0.01 for amount in contributions.values())
    assert all(np.isfinite(amount) for amount in contributions.values())
    assert len(scorer.explain(_FEATURES[0])) == 3


@pytest.mark.parametrize("name", _BENT)
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arrays": (1.0, 2.0, 3.0)}, "takes a multiple of"),
        ({"form": "oracle"}, "unknown form"),
        ({"form": "", "format": 1}, "no form"),
        ({"format": 1}, "format 1"),
    ],
)
def test_a_snapshot_whose_bend_is_not_known_is_refused(name: str, changes: dict[str, object], reason: str) -> None:
    snapshot = msgspec.structs.replace(_learner(name).snapshot(), **changes)

    with pytest.raises(SnapshotRefusedError, match=reason):
        decode_snapshot(encode_snapshot(snapshot))


@given(st.lists(st.floats(-3.0, 3.0), min_size=4, max_size=4), st.lists(st.floats(-2.0, 2.0), min_size=8, max_size=8))
def test_pairs_are_the_sum_over_pairs_of_inputs(row: Sequence[float], numbers: Sequence[float]) -> None:
    bend = bend_of("pairs", numbers, 4)
    factors = np.array(numbers).reshape(4, 2)

    expected = sum(
        float(factors[one] @ factors[other]) * row[one] * row[other] for one in range(4) for other in range(one + 1, 4)
    )

    assert bend is not None
    assert bend(np.array([row]))[0] == pytest.approx(expected, abs=1e-9)
