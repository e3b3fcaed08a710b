import pickle
import sys
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import checks

from stream_app.core.features import FEATURE_NAMES
from stream_app.learning.kalman import KalmanCore, KalmanLogisticRegression
from stream_app.learning.zoo.kalman import KalmanModel
from tests.support.observed import shop_rows


@pytest.fixture
def _sklearn_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """River's checks import scikit-learn up front, for data sets of other kinds of models only."""
    if "sklearn" not in sys.modules:
        package, datasets = ModuleType("sklearn"), ModuleType("sklearn.datasets")
        package.datasets = datasets  # type: ignore[attr-defined]  # that is the point
        monkeypatch.setitem(sys.modules, "sklearn", package)
        monkeypatch.setitem(sys.modules, "sklearn.datasets", datasets)


@pytest.mark.usefixtures("_sklearn_stands_in")
@pytest.mark.parametrize(
    "model", [KalmanLogisticRegression(), KalmanLogisticRegression(prior_variance=1.0, offset="is_popular", clip=3.0)]
)
def test_the_classifier_passes_rivers_estimator_checks(model: KalmanLogisticRegression) -> None:
    names = []
    for check in checks.yield_checks(model):
        names.append(getattr(check, "__name__", str(check)))
        check(model.clone())

    assert len(names) > 10


def test_with_nothing_learned_it_predicts_the_offset() -> None:
    model = KalmanLogisticRegression(offset="prior")

    assert model.predict_proba_one({"prior": 1.5, "other": 3.0})[True] == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_the_array_path_and_the_river_pipeline_learn_the_same() -> None:
    features, labels = shop_rows(400)
    fast, pipeline = KalmanModel(), KalmanModel.pipeline()
    importance = np.random.default_rng(3).uniform(0.2, 3.0, len(labels))

    fast.learn(features, labels, importance)
    for row, label, weight in zip(features.tolist(), labels.tolist(), importance.tolist(), strict=True):
        pipeline.learn_one(dict(zip(FEATURE_NAMES, row, strict=True)), label, w=weight)

    inputs = fast.inputs.of_block(features)
    expected = [
        pipeline.predict_proba_one(dict(zip(FEATURE_NAMES, row, strict=True)))[True] for row in features.tolist()
    ]
    offsets = features[:, FEATURE_NAMES.index(fast.offset)].tolist()
    actual = [fast.core.probability(values, offset) for values, offset in zip(inputs, offsets, strict=True)]
    assert actual == pytest.approx(expected, abs=1e-9)


def test_one_step_is_the_textbook_update() -> None:
    core = KalmanCore(1, prior_variance=0.5, intercept_variance=1.0, clip=5.0)
    core.count[:], core.mean[:], core.squares[:] = 1e12, 0.0, 1e12  # standard deviation 1, as good as fixed
    offset, value = 0.3, 2.0
    probability = 1 / (1 + np.exp(-offset))
    curvature = probability * (1 - probability)
    inputs, covariance = np.array([1.0, value]), np.diag([1.0, 0.5])
    # The information form of the same step, solved the long way round.
    posterior = np.linalg.inv(np.linalg.inv(covariance) + curvature * np.outer(inputs, inputs))

    core.learn(np.array([value]), 1.0, offset, 1.0, None)

    assert core.covariance == pytest.approx(posterior, abs=1e-9)
    assert core.weights == pytest.approx(posterior @ inputs * (1 - probability), abs=1e-9)


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_importance_counts_like_repetition_in_certainty(times: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    core = KalmanCore(3, 0.1, 1.0, 5.0)
    for values in random.normal(size=(50, 3)):
        core.learn(values, float(values[0] > 0), 0.0, float(times), None)

    assert np.linalg.eigvalsh(core.covariance).min() > 0
    assert np.array_equal(core.covariance, core.covariance.T) or np.allclose(core.covariance, core.covariance.T)
    assert core.count.tolist() == [50.0 * times] * 3


def test_it_learns_what_matters() -> None:
    features, labels = shop_rows(3000)
    model = KalmanModel()
    model.learn(features[:2000], labels[:2000], np.ones(2000))

    inputs = model.inputs.of_block(features[2000:])
    offsets = features[2000:, FEATURE_NAMES.index(model.offset)].tolist()
    learned = np.array([model.core.probability(row, offset) for row, offset in zip(inputs, offsets, strict=True)])
    prior = 1 / (1 + np.exp(-np.array(offsets)))

    def loss(probability: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        return float(-np.log(np.where(labels[2000:], probability, 1 - probability)).mean())

    assert loss(learned) < loss(prior) - 0.05


def test_a_learned_model_survives_pickling() -> None:
    model = KalmanLogisticRegression()
    model.learn_one({"a": 1.0, "b": 2.0}, True)

    copy = pickle.loads(pickle.dumps(model))

    assert copy.predict_proba_one({"a": 3.0}) == model.predict_proba_one({"a": 3.0})
