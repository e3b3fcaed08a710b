"""Gaussian naive Bayes on arrays, with Platt scaling: inputs that say the same twice make it far too sure."""

from collections.abc import Mapping

import numpy as np

from stream_app.learning.scorer import sigmoid
from stream_app.learning.zoo.rows import RowModel
from stream_app.learning.zoo.scaling import RunningScaler
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of

_LEAST_VARIANCE = 0.01
"""Of a standardised input within one class: what is constant so far may vary yet."""
_PRIOR_COUNT = 1.0


class NaiveBayes(RowModel):
    """One mean and variance for every class and input."""

    def __init__(self, name: str, inputs: tuple[str, ...] | None) -> None:
        super().__init__(name, inputs, calibrated=True)
        width = len(self.inputs.names)
        self.classes = (RunningScaler(width), RunningScaler(width))
        """Sums over stayers and churners."""

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        self.classes[label].learn(row, importance)

    def _probabilities(self, block: Vector) -> Vector:
        stayed, churned = (self._log_density(one, block) for one in self.classes)
        counts = [one.count + _PRIOR_COUNT for one in self.classes]
        return sigmoid(churned - stayed + np.log(counts[1] / counts[0]))

    def _log_density(self, one: RunningScaler, block: Vector) -> Vector:
        variance = (one.squares + _PRIOR_COUNT) / (one.count + _PRIOR_COUNT)
        variance = np.maximum(variance, _LEAST_VARIANCE)
        terms = (block - one.mean) ** 2 / variance + np.log(variance)
        density: Vector = -0.5 * np.add.reduce(terms, axis=1)
        return density

    def _dump(self) -> ModelState:
        return {"stayed": self.classes[0].dump(), "churned": self.classes[1].dump()}

    def _load(self, state: ModelState) -> None:
        self.classes[0].load(numbers_of(state, "stayed"))
        self.classes[1].load(numbers_of(state, "churned"))


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> NaiveBayes:
    """Return Gaussian naive Bayes."""
    del options
    return NaiveBayes(name, inputs)
