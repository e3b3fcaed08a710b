"""AdaGrad on one array of weights (Duchi, Hazan and Singer 2011), for models whose gradients are written by hand."""

import numpy as np

from stream_app.learning.zoo.types import Vector

_EDGE = 1e-8


class AdaGrad:
    """Weights and their sums of squared gradients.

    Parameters
    ----------
    start
        Initial weights, any shape.
    rate
        Step on a weight's first gradient.
    l2
        Share of a weight that is added to its gradient.
    """

    def __init__(self, start: Vector, rate: float, l2: float) -> None:
        self.weights = start
        self.squares: Vector = np.zeros_like(start)
        self.rate = rate
        self.l2 = l2

    def step(self, gradient: Vector) -> None:
        """Go one step down."""
        full = gradient + self.l2 * self.weights
        self.squares += full * full
        self.weights -= self.rate * full / (np.sqrt(self.squares) + _EDGE)

    def dump(self) -> list[float]:
        """Return weights and squares as numbers; the inverse is `load`."""
        return [*self.weights.ravel().tolist(), *self.squares.ravel().tolist()]

    def load(self, numbers: list[float]) -> None:
        """Take over what `dump` returned. Raises ValueError when it is of another shape."""
        shape, size = self.weights.shape, self.weights.size
        if len(numbers) != 2 * size:
            raise ValueError(f"{size} weights have {2 * size} numbers in a checkpoint, got {len(numbers)}")
        self.weights = np.array(numbers[:size]).reshape(shape)
        self.squares = np.array(numbers[size:]).reshape(shape)
