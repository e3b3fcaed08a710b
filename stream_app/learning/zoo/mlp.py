"""A small network: one hidden layer of rectifiers beside a linear path, learned row by row.

logit = b + w x + o max(H x + h, 0). The output weights o begin at 0, so it starts as logistic regression and bends
where the data ask for it.
"""

from collections.abc import Mapping

import numpy as np

from stream_app.learning.scorer import bounded_sigmoid, sigmoid
from stream_app.learning.zoo.bent import BentModel
from stream_app.learning.zoo.descent import AdaGrad
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of


class Perceptron(BentModel):
    """Weights of the linear path (intercept last), hidden layer (inputs + 1, units) and output."""

    form = "hidden"

    def __init__(self, name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> None:
        super().__init__(name, inputs, options)
        width, units = len(self.inputs.names), int(options["hidden"])
        random = np.random.default_rng(int(options["seed"]))
        rate, l2 = options["rate"], options["l2"]
        self.hidden = AdaGrad(random.normal(0.0, np.sqrt(2.0 / (width + 1)), (width + 1, units)), rate, l2)
        self.output = AdaGrad(np.zeros(units), rate, l2)

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        extended = np.append(row, 1.0)
        activity = np.maximum(extended @ self.hidden.weights, 0.0)
        logit = float(extended @ self.linear.weights + activity @ self.output.weights)
        error = importance * (bounded_sigmoid(logit) - float(label))
        back = error * self.output.weights * (activity > 0.0)
        self.linear.step(error * extended)
        self.output.step(error * activity)
        self.hidden.step(np.multiply.outer(extended, back))

    def _probabilities(self, block: Vector) -> Vector:
        extended = np.concatenate((block, np.ones((len(block), 1))), axis=1)
        activity = np.maximum(extended @ self.hidden.weights, 0.0)
        return sigmoid(extended @ self.linear.weights + activity @ self.output.weights)

    def _arrays(self) -> tuple[float, ...]:
        return (*self.hidden.weights.ravel().tolist(), *self.output.weights.tolist())

    def _dump(self) -> ModelState:
        return {"linear": self.linear.dump(), "hidden": self.hidden.dump(), "output": self.output.dump()}

    def _load(self, state: ModelState) -> None:
        self.linear.load(numbers_of(state, "linear"))
        self.hidden.load(numbers_of(state, "hidden"))
        self.output.load(numbers_of(state, "output"))


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> Perceptron:
    """Return the network."""
    return Perceptron(name, inputs, options)
