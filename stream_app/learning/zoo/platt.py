"""Turning margins into probabilities as the stream goes: Platt scaling, learned on margins from before each label.

p = sigmoid(slope * margin + shift), both weights under a Gaussian prior and learned by an extended Kalman filter, as in
`stream_app.learning.kalman` (Platt 1999 fits the same two numbers in batch). A margin is taken before its example moves
the model, otherwise the calibration would believe what the model has just been told.
"""

import numpy as np

from stream_app.learning.scorer import bounded_sigmoid, sigmoid
from stream_app.learning.zoo.types import Vector

_SLOPE_VARIANCE = 25.0
"""Wide, because a margin has no unit."""
_SHIFT_VARIANCE = 1.0
_LEAST_CURVATURE = 0.01


class PlattScaling:
    """Slope and shift with their covariance. Before anything was learned it is the identity on the logit scale."""

    def __init__(self) -> None:
        self._weights: Vector = np.array([1.0, 0.0])
        self._covariance: Vector = np.diag([_SLOPE_VARIANCE, _SHIFT_VARIANCE])

    @property
    def slope(self) -> float:
        """What a margin is multiplied with; never negative, since a higher margin may not mean less churn."""
        return max(float(self._weights[0]), 0.0)

    @property
    def shift(self) -> float:
        """What is added."""
        return float(self._weights[1])

    def learn(self, margin: float, label: float, importance: float) -> None:
        """Take in one margin, as it was before its example was learned, and its label."""
        row = np.array([margin, 1.0])
        probability = bounded_sigmoid(float(row @ self._weights))
        curvature = max(probability * (1.0 - probability), _LEAST_CURVATURE)
        reach = self._covariance @ row
        gain = importance / (1.0 + importance * curvature * float(reach @ row))
        self._weights += (gain * (label - probability)) * reach
        self._covariance -= np.multiply.outer((gain * curvature) * reach, reach)

    def probabilities(self, margins: Vector) -> Vector:
        """Return P(churn) for margins."""
        return sigmoid(self.slope * margins + self.shift)

    def dump(self) -> list[float]:
        """Return the scaling as numbers; the inverse is `load`."""
        return [*self._weights.tolist(), *self._covariance.ravel().tolist()]

    def load(self, numbers: list[float]) -> None:
        """Take over what `dump` returned."""
        self._weights = np.array(numbers[:2])
        self._covariance = np.array(numbers[2:]).reshape(2, 2)
