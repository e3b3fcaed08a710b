"""What rows go through before a model learns them: standardising as they come, and whole numbers of repeats."""

from typing import Final

import numpy as np

from stream_app.learning.zoo.types import Vector

CLIP: Final = 5.0
"""Standardised inputs are cut at plus and minus this."""
_LEAST_RELATIVE_VARIANCE = 1e-9
"""An input whose variance is below this share of its square has not varied: it is 0."""


class RunningScaler:
    """Mean and variance of `width` inputs (West 1979: one pass, weighted)."""

    def __init__(self, width: int) -> None:
        self.count = 0.0
        self.mean: Vector = np.zeros(width)
        self.squares: Vector = np.zeros(width)
        """Weighted sums of squared deviations."""

    def learn(self, values: Vector, importance: float) -> None:
        """Take one row in."""
        self.count += importance
        deviation = values - self.mean
        self.mean += deviation * (importance / max(self.count, 1e-300))
        self.squares += importance * deviation * (values - self.mean)

    def inverse_scale(self) -> Vector:
        """Return 1 / standard deviation per input, 0 where nothing has varied."""
        variance = self.squares / max(self.count, 1e-300)
        varied = variance > _LEAST_RELATIVE_VARIANCE * (1.0 + self.mean * self.mean)
        return np.where(varied, 1.0 / np.sqrt(np.where(varied, variance, 1.0)), 0.0)

    def transform(self, values: Vector) -> Vector:
        """Return one row or a block (n, width) as clipped deviations in units of the standard deviation."""
        scaled: Vector = np.clip((values - self.mean) * self.inverse_scale(), -CLIP, CLIP)
        return scaled

    def dump(self) -> list[float]:
        """Return the scaler as numbers; the inverse is `load`."""
        return [self.count, *self.mean.tolist(), *self.squares.tolist()]

    def load(self, numbers: list[float]) -> None:
        """Take over what `dump` returned. Raises ValueError when it is of another width."""
        width = len(self.mean)
        if len(numbers) != 1 + 2 * width:
            raise ValueError(f"a scaler of {width} inputs has {1 + 2 * width} numbers, got {len(numbers)}")
        self.count = numbers[0]
        self.mean, self.squares = np.array(numbers[1 : 1 + width]), np.array(numbers[1 + width :])


class Repeats:
    """Turns importances into whole numbers of repeats, for models that know no weights: what is cut off is carried on.

    The sum of the repeats is never more than one away from the sum of the importances.
    """

    def __init__(self) -> None:
        self.carried = 0.5
        """Begins at one half, so that ordinary rows, of importance 1, are learned once, whatever rounding does."""

    def of(self, importance: float) -> int:
        """Return how often a row is to be learned."""
        self.carried += importance
        times = int(self.carried)
        self.carried -= times
        return times
