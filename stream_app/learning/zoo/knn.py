"""Nearest neighbours among the latest examples, on arrays: the share of churners among the closest, smoothed."""

from collections.abc import Mapping

import numpy as np

from stream_app.learning.zoo.rows import RowModel
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of

_BLOCK = 256
"""Rows whose distances are computed at once: memory stays bounded by this times the window."""


class NearestNeighbours(RowModel):
    """A ring of rows. Rows are kept as they were standardised when they came."""

    def __init__(self, name: str, inputs: tuple[str, ...] | None, neighbours: int, window: int) -> None:
        super().__init__(name, inputs)
        self.neighbours = neighbours
        self.rows: Vector = np.zeros((window, len(self.inputs.names)))
        self.labels: Vector = np.zeros(window)
        self.weights: Vector = np.zeros(window)
        self.learned = 0

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        at = self.learned % len(self.rows)
        self.rows[at], self.labels[at], self.weights[at] = row, float(label), importance
        self.learned += 1

    def _probabilities(self, block: Vector) -> Vector:
        known = min(self.learned, len(self.rows))
        if not known:
            return np.full(len(block), 0.5)
        return np.concatenate(
            [self._of_block(block[start : start + _BLOCK], known) for start in range(0, len(block), _BLOCK)]
        )

    def _of_block(self, block: Vector, known: int) -> Vector:
        rows, count = self.rows[:known], min(self.neighbours, known)
        distance = np.einsum("ij,ij->i", rows, rows) - 2.0 * block @ rows.T
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        weights = self.weights[nearest]
        # One neighbour of each kind is added, so that few neighbours do not make certainty.
        shares: Vector = ((weights * self.labels[nearest]).sum(axis=1) + 1.0) / (weights.sum(axis=1) + 2.0)
        return shares

    def _dump(self) -> ModelState:
        known = min(self.learned, len(self.rows))
        return {
            "learned": [float(self.learned)],
            "rows": self.rows[:known].ravel().tolist(),
            "labels": self.labels[:known].tolist(),
            "weights": self.weights[:known].tolist(),
        }

    def _load(self, state: ModelState) -> None:
        self.learned = int(numbers_of(state, "learned")[0])
        known = min(self.learned, len(self.rows))
        self.rows[:known] = np.array(numbers_of(state, "rows")).reshape(known, -1)
        self.labels[:known] = numbers_of(state, "labels")
        self.weights[:known] = numbers_of(state, "weights")


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> NearestNeighbours:
    """Return nearest neighbours in a window."""
    return NearestNeighbours(name, inputs, int(options["neighbours"]), int(options["window"]))
