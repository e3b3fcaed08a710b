"""Rows that wait until a chunk is full: what is learned by chunk must not depend on how rows were cut into blocks."""

from typing import NamedTuple

import numpy as np

from stream_app.learning.zoo.types import Labels, Vector


class Chunk(NamedTuple):
    """Rows to be learned together."""

    rows: Vector
    churned: Labels
    weight: Vector


class Waiting:
    """Takes rows in one by one and hands them out in chunks.

    Parameters
    ----------
    width
        Of a row.
    size
        Rows of a chunk.
    """

    def __init__(self, width: int, size: int) -> None:
        self._width = width
        self._size = size
        self._held: list[tuple[Vector, bool, float]] = []

    def add(self, row: Vector, churned: bool, weight: float) -> Chunk | None:
        """Take a row in; return the chunk that it filled, or None."""
        self._held.append((row, churned, weight))
        if len(self._held) < self._size:
            return None
        held, self._held = self._held, []
        return Chunk(
            np.array([row for row, _, _ in held], dtype=np.float64),
            np.array([churned for _, churned, _ in held], dtype=np.bool_),
            np.array([weight for _, _, weight in held], dtype=np.float64),
        )

    def dump(self) -> list[float]:
        """Return what waits as numbers; the inverse is `load`."""
        return [
            number for row, churned, weight in self._held for number in (*row.tolist(), float(churned), float(weight))
        ]

    def load(self, numbers: list[float]) -> None:
        """Take over what `dump` returned."""
        rows = np.array(numbers).reshape(-1, self._width + 2)
        self._held = [(row[:-2], bool(row[-2]), float(row[-1])) for row in rows]
