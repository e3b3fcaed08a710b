"""The uplift model finds who is helped; Qini is 0 for no ranking and best for the true one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.decisions.uplift import Floats, OnlineUplift, qini, qini_interval


def experiment(seed: int, count: int = 4000) -> tuple[Floats, np.ndarray, Floats, Floats]:
    rng = np.random.default_rng(seed)
    features = np.column_stack([np.ones(count), rng.normal(size=count), rng.normal(size=count)])
    effects = 0.1 + 0.3 * features[:, 1]
    treated = rng.random(count) < 0.5
    responses = features[:, 2] + effects * treated + rng.normal(size=count)
    return features, treated, responses, effects


def fitted(seed: int) -> OnlineUplift:
    model = OnlineUplift(3)
    for row, is_treated, response in zip(*experiment(seed)[:3], strict=True):
        model.learn(row, bool(is_treated), float(response))
    return model


def test_effects_are_recovered() -> None:
    features, _, _, effects = experiment(2)
    assert np.corrcoef(fitted(1).effects(features), effects)[0, 1] > 0.98


def test_qini_ranks_models() -> None:
    features, treated, responses, effects = experiment(3)
    best = qini(effects, treated, responses)
    learned = qini(fitted(1).effects(features), treated, responses)
    assert best > 0.02
    assert learned == pytest.approx(best, rel=0.1)
    assert qini(-effects, treated, responses) < -0.02
    low, high = qini_interval(fitted(1).effects(features), treated, responses, rounds=100, seed=1)
    assert 0 < low < learned < high


@given(st.integers(0, 1000), st.floats(-5, 5))
def test_a_constant_prediction_ranks_nobody(seed: int, constant: float) -> None:
    _, treated, responses, _ = experiment(seed, 50)
    assert qini(np.full(50, constant), treated, responses) == pytest.approx(0, abs=1e-12)
