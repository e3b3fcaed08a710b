"""The default model: `KalmanLogisticRegression` on arrays."""

from collections.abc import Mapping

import numpy as np
from river import compose

from stream_app.core.features import FEATURE_INDEX
from stream_app.learning.inputs import DEFAULT_INPUTS, OFFSET, ORDER_MODEL_INPUTS, ModelInputs
from stream_app.learning.kalman import InputSelector, KalmanCore, KalmanLogisticRegression
from stream_app.learning.zoo.linear import linear_probabilities
from stream_app.learning.zoo.registry import KALMAN, KALMAN_ORDERS, options_of
from stream_app.learning.zoo.types import Features, Labels, LearnedWeights, ModelState, Vector, numbers_of


class KalmanModel:
    """Learns with a full posterior over its weights; `pipeline` is the same model as River sees it, held by a law."""

    def __init__(
        self,
        inputs: tuple[str, ...] = DEFAULT_INPUTS,
        offset: str = OFFSET,
        name: str = KALMAN,
        options: Mapping[str, float] | None = None,
    ) -> None:
        self.name = name
        self.inputs = ModelInputs(inputs)
        self.offset = offset
        self._offset_column = FEATURE_INDEX[offset]
        self._offset_sum = 0.0
        self._offset_count = 0.0
        chosen = options_of(KALMAN, options)
        self.core = KalmanCore(len(inputs), chosen["prior_variance"], chosen["intercept_variance"], chosen["clip"])

    @staticmethod
    def pipeline(inputs: tuple[str, ...] = DEFAULT_INPUTS, offset: str = OFFSET) -> compose.Pipeline:
        """Return the model as a River pipeline over dicts of features."""
        chosen = options_of(KALMAN)
        classifier = KalmanLogisticRegression(
            chosen["prior_variance"], chosen["intercept_variance"], clip=chosen["clip"], offset=offset
        )
        return InputSelector(inputs, (offset,)) | classifier

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Learn a block of feature rows in order."""
        offsets = features[:, self._offset_column].astype(np.float64)
        rows = zip(self.inputs.of_block(features), churned.tolist(), offsets.tolist(), weight.tolist(), strict=True)
        for values, label, offset, importance in rows:
            self.core.learn(values, float(label), offset, importance, None)
            self._offset_sum += offset * importance
            self._offset_count += importance

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row."""
        return linear_probabilities(self._export(), self.inputs, features)

    def export(self) -> LearnedWeights:
        """Return what a scorer needs."""
        return self._export(tuple(self.core.covariance.ravel().tolist()))

    def _export(self, covariance: tuple[float, ...] = ()) -> LearnedWeights:
        return LearnedWeights(
            mean=tuple(self.core.mean.tolist()),
            inverse_scale=tuple(self.core.inverse_scale().tolist()),
            weights=tuple(self.core.weights[1:].tolist()),
            intercept=float(self.core.weights[0]),
            clip=self.core.clip,
            offset=self.offset,
            offset_mean=self._offset_sum / self._offset_count if self._offset_count else 0.0,
            covariance=covariance,
        )

    def dump(self) -> ModelState:
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

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned."""
        core, width = self.core, len(self.inputs.names)
        core.count, core.mean, core.squares = (np.array(numbers_of(state, key)) for key in ("count", "mean", "squares"))
        core.weights = np.array(numbers_of(state, "weights"))
        core.covariance = np.array(numbers_of(state, "covariance")).reshape(width + 1, width + 1)
        self._offset_sum, self._offset_count = numbers_of(state, "offset")


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> KalmanModel:
    """Return the default model, or the one that sees orders alone."""
    own = ORDER_MODEL_INPUTS if name == KALMAN_ORDERS else DEFAULT_INPUTS
    return KalmanModel(inputs or own, name=name, options=options)
