"""Points in time at which a customer is scored: collected while events are folded, concluded in blocks."""

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import Effects
from stream_app.core.facts import Facts
from stream_app.core.features import RAW_WIDTH
from stream_app.core.state import CustomerState, Observation
from stream_app.engine.shard import Shard

NEVER_MS = 1 << 62

_numbers = Struct(f"{RAW_WIDTH}d").pack


class Point(msgspec.Struct, gc=False, eq=False):
    """One customer at one moment, with everything that a later conclusion may look at."""

    customer_id: str
    state: CustomerState
    at_ms: int
    frontier_ms: int
    trigger: str
    facts: Facts
    observation: Observation | None
    traceparent: str
    mark: int
    """Which purchases of others product picks may know of."""
    scored_ms: int
    """The moment that the score is for. What comes late is scored as of now; an observation at its own time."""


class Block:
    """Points that wait to be scored together. Scores do not depend on which points share a block."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._rows: list[bytes] = []
        """Raw feature rows as an array holds them: half the time of making one from lists, and little memory."""
        self.customers: set[str] = set()
        self.settle_by_ms = NEVER_MS
        """Event time may not pass this before the block is concluded: a retry may come due then."""

    def add(self, point: Point, row: list[float], retry_ms: int = 0) -> None:
        """Append a point with its raw feature row, and when its decision may be tried again (0: it is not)."""
        self.points.append(point)
        self.customers.add(point.customer_id)
        self._rows.append(_numbers(*row))
        if retry_ms and retry_ms < self.settle_by_ms:
            self.settle_by_ms = retry_ms

    def take(self) -> tuple[list[Point], list[bytes]]:
        """Empty the block and return what was in it: points, and their raw rows for `raw_of`."""
        points, rows = self.points, self._rows
        self.points, self._rows, self.customers, self.settle_by_ms = [], [], set(), NEVER_MS
        return points, rows


def raw_of(rows: Iterable[bytes]) -> NDArray[np.float64]:
    """Return the raw rows of blocks as one array."""
    return np.frombuffer(b"".join(rows)).reshape(-1, RAW_WIDTH)


class Folded(NamedTuple):
    """What was folded into a shard, with the points that wait for their conclusion."""

    shard: Shard
    block: Block
    effects: Effects
    """Of these entries; the conclusion adds to them."""
