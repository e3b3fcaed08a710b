"""The models that a trainer can run: River estimators behind one small face, exporting numbers."""

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from river import compose, linear_model, optim, preprocessing

from stream_app.core.features import FEATURE_INDEX
from stream_app.learning.inputs import DEFAULT_INPUTS, OFFSET, ORDER_MODEL_INPUTS, ModelInputs
from stream_app.learning.kalman import InputSelector, KalmanCore, KalmanLogisticRegression

KALMAN = "kalman"
KALMAN_ORDERS = "kalman-orders"
"""The default model without clicks and texts, to measure what they add."""
ADAGRAD = "adagrad"
MODEL_NAMES = (KALMAN, KALMAN_ORDERS, ADAGRAD)

_PRIOR_VARIANCE = 0.003
_INTERCEPT_VARIANCE = 1.0
_CLIP = 5.0
_LEARNING_RATE = 0.05
_INTERCEPT_RATE = 0.01
_NO_CLIP = 1e9


class LearnedWeights(msgspec.Struct, frozen=True):
    """What a model knows, in the terms of `ModelSnapshot`."""

    mean: tuple[float, ...]
    inverse_scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    clip: float
    offset: str = ""
    offset_mean: float = 0.0
    covariance: tuple[float, ...] = ()


class OnlineModel(Protocol):
    """A model that learns row by row."""

    name: str
    inputs: ModelInputs

    def learn(self, features: NDArray[np.float32], churned: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Learn a block of feature rows in order."""
        ...

    def export(self) -> LearnedWeights:
        """Return what a scorer needs."""
        ...

    def dump(self) -> dict[str, list[float]]:
        """Return everything that was learned, as numbers; the inverse is `load`."""
        ...

    def load(self, numbers: dict[str, list[float]]) -> None:
        """Take over what `dump` returned."""
        ...


class KalmanModel:
    """The default: `KalmanLogisticRegression` on arrays.

    `pipeline` is the same model as River sees it; a law holds the two together.
    """

    def __init__(self, inputs: tuple[str, ...] = DEFAULT_INPUTS, offset: str = OFFSET, name: str = KALMAN) -> None:
        self.name = name
        self.inputs = ModelInputs(inputs)
        self.offset = offset
        self._offset_column = FEATURE_INDEX[offset]
        self._offset_sum = 0.0
        self._offset_count = 0.0
        self.core = KalmanCore(len(inputs), _PRIOR_VARIANCE, _INTERCEPT_VARIANCE, _CLIP)

    @staticmethod
    def pipeline(inputs: tuple[str, ...] = DEFAULT_INPUTS, offset: str = OFFSET) -> compose.Pipeline:
        """Return the model as a River pipeline over dicts of features."""
        classifier = KalmanLogisticRegression(_PRIOR_VARIANCE, _INTERCEPT_VARIANCE, clip=_CLIP, offset=offset)
        return InputSelector(inputs, (offset,)) | classifier

    def learn(self, features: NDArray[np.float32], churned: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Learn a block of feature rows in order."""
        offsets = features[:, self._offset_column].astype(np.float64)
        rows = zip(self.inputs.of_block(features), churned.tolist(), offsets.tolist(), weight.tolist(), strict=True)
        for values, label, offset, importance in rows:
            self.core.learn(values, float(label), offset, importance, None)
            self._offset_sum += offset * importance
            self._offset_count += importance

    def export(self) -> LearnedWeights:
        """Return what a scorer needs."""
        return LearnedWeights(
            mean=tuple(self.core.mean.tolist()),
            inverse_scale=tuple(self.core.inverse_scale().tolist()),
            weights=tuple(self.core.weights[1:].tolist()),
            intercept=float(self.core.weights[0]),
            clip=_CLIP,
            offset=self.offset,
            offset_mean=self._offset_sum / self._offset_count if self._offset_count else 0.0,
            covariance=tuple(self.core.covariance.ravel().tolist()),
        )

    def dump(self) -> dict[str, list[float]]:
        """Return everything that was learned, as numbers."""
        core = self.core
        return {
            "count": core.count.tolist(),
            "mean": core.mean.tolist(),
            "squares": core.squares.tolist(),
            "weights": core.weights.tolist(),
            "covariance": core.covariance.ravel().tolist(),
            "offset": [self._offset_sum, self._offset_count],
        }

    def load(self, numbers: dict[str, list[float]]) -> None:
        """Take over what `dump` returned."""
        core, width = self.core, len(self.inputs.names)
        core.count, core.mean, core.squares = (np.array(numbers[key]) for key in ("count", "mean", "squares"))
        core.weights = np.array(numbers["weights"])
        core.covariance = np.array(numbers["covariance"]).reshape(width + 1, width + 1)
        self._offset_sum, self._offset_count = numbers["offset"]


class AdaGradModel:
    """River's StandardScaler and LogisticRegression with AdaGrad: a known baseline, without prior or interval."""

    name = ADAGRAD

    def __init__(self, inputs: tuple[str, ...] = DEFAULT_INPUTS) -> None:
        self.inputs = ModelInputs(inputs)
        self.scaler = preprocessing.StandardScaler()
        self.regression = linear_model.LogisticRegression(
            optimizer=optim.AdaGrad(_LEARNING_RATE), intercept_lr=_INTERCEPT_RATE
        )

    def learn(self, features: NDArray[np.float32], churned: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Learn a block of feature rows in order."""
        names = self.inputs.names
        rows = zip(self.inputs.of_block(features).tolist(), churned.tolist(), weight.tolist(), strict=True)
        for values, label, importance in rows:
            row = dict(zip(names, values, strict=True))
            self.scaler.learn_one(row)
            self.regression.learn_one(self.scaler.transform_one(row), label, importance)

    def export(self) -> LearnedWeights:
        """Return what a scorer needs."""
        names = self.inputs.names
        variance = np.array([self.scaler.vars.get(name, 0.0) for name in names], dtype=np.float64)
        inverse = np.where(variance > 0, 1.0 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        weights = self.regression.weights
        return LearnedWeights(
            mean=tuple(float(self.scaler.means.get(name, 0.0)) for name in names),
            inverse_scale=tuple(inverse.tolist()),
            weights=tuple(float(weights.get(name, 0.0)) for name in names),
            intercept=float(self.regression.intercept),
            clip=_NO_CLIP,
        )

    def dump(self) -> dict[str, list[float]]:
        """Return everything that was learned, as numbers."""
        names, scaler, regression = self.inputs.names, self.scaler, self.regression
        return {
            "count": [float(scaler.counts.get(name, 0)) for name in names],
            "mean": [float(scaler.means.get(name, 0.0)) for name in names],
            "variance": [float(scaler.vars.get(name, 0.0)) for name in names],
            "weights": [float(regression.weights.get(name, 0.0)) for name in names],
            "gradients": [float(regression.optimizer.g2.get(name, 0.0)) for name in names],
            "intercept": [float(regression.intercept), float(regression.optimizer.n_iterations)],
        }

    def load(self, numbers: dict[str, list[float]]) -> None:
        """Take over what `dump` returned."""
        names, scaler, regression = self.inputs.names, self.scaler, self.regression
        scaler.counts.update({name: int(value) for name, value in zip(names, numbers["count"], strict=True)})
        scaler.means.update(zip(names, numbers["mean"], strict=True))
        scaler.vars.update(zip(names, numbers["variance"], strict=True))
        regression._weights.update(dict(zip(names, numbers["weights"], strict=True)))  # noqa: SLF001 - River has no setter
        regression.optimizer.g2.update(zip(names, numbers["gradients"], strict=True))
        regression.intercept, iterations = numbers["intercept"]
        regression.optimizer.n_iterations = int(iterations)


def new_model(name: str, inputs: tuple[str, ...] | None = None) -> OnlineModel:
    """Return a fresh model by name, with its own inputs unless others are given; raises ValueError for others."""
    if name == KALMAN:
        return KalmanModel(inputs or DEFAULT_INPUTS)
    if name == KALMAN_ORDERS:
        return KalmanModel(inputs or ORDER_MODEL_INPUTS, name=name)
    if name == ADAGRAD:
        return AdaGradModel(inputs or DEFAULT_INPUTS)
    raise ValueError(f"unknown model {name!r}: choose one of {', '.join(MODEL_NAMES)}")
