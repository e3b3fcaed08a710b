"""A factorisation machine of second order (Rendle 2010) on standardised inputs.

logit = b + w x + sum over factors f of ((sum_i v_if x_i)^2 - sum_i v_if^2 x_i^2) / 2
"""

from collections.abc import Mapping

import numpy as np

from stream_app.learning.scorer import bounded_sigmoid, sigmoid
from stream_app.learning.zoo.bent import BentModel
from stream_app.learning.zoo.descent import AdaGrad
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of

_SPREAD = 0.01
"""Standard deviation of the factors at the start: at 0 they would stay there."""


class FactorisationMachine(BentModel):
    """Weights (intercept last) and factors (inputs, factors), each learned by AdaGrad."""

    form = "pairs"

    def __init__(self, name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> None:
        super().__init__(name, inputs, options)
        width, random = len(self.inputs.names), np.random.default_rng(int(options["seed"]))
        start = random.normal(0.0, _SPREAD, (width, int(options["factors"])))
        self.factors = AdaGrad(start, options["rate"], options["l2"])

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        sums = row @ self.factors.weights
        error = importance * (bounded_sigmoid(float(self._logits(row[np.newaxis])[0])) - float(label))
        squared = (row * row)[:, np.newaxis] * self.factors.weights
        self.linear.step(error * np.append(row, 1.0))
        self.factors.step(error * (np.multiply.outer(row, sums) - squared))

    def _logits(self, block: Vector) -> Vector:
        sums, squares = block @ self.factors.weights, (block * block) @ (self.factors.weights**2)
        pairs = 0.5 * np.add.reduce(sums * sums - squares, axis=1)
        logits: Vector = block @ self.linear.weights[:-1] + self.linear.weights[-1] + pairs
        return logits

    def _probabilities(self, block: Vector) -> Vector:
        return sigmoid(self._logits(block))

    def _arrays(self) -> tuple[float, ...]:
        return tuple(self.factors.weights.ravel().tolist())

    def _dump(self) -> ModelState:
        return {"linear": self.linear.dump(), "factors": self.factors.dump()}

    def _load(self, state: ModelState) -> None:
        self.linear.load(numbers_of(state, "linear"))
        self.factors.load(numbers_of(state, "factors"))


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> FactorisationMachine:
    """Return a factorisation machine."""
    return FactorisationMachine(name, inputs, options)
