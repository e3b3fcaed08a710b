"""Points in time at which a customer is scored: collected while events are folded, concluded in blocks."""

from typing import NamedTuple

from stream_app.core.effects import Effects
from stream_app.core.facts import Facts
from stream_app.core.state import CustomerState, Observation
from stream_app.engine.shard import Shard

NEVER_MS = 1 << 62


class Point:
    """One customer at one moment, with everything that a later conclusion may look at."""

    __slots__ = (
        "at_ms",
        "customer_id",
        "facts",
        "frontier_ms",
        "mark",
        "observation",
        "scored_ms",
        "state",
        "traceparent",
        "trigger",
    )

    def __init__(
        self,
        customer_id: str,
        state: CustomerState,
        at_ms: int,
        frontier_ms: int,
        trigger: str,
        facts: Facts,
        observation: Observation | None,
        traceparent: str,
        mark: int,
    ) -> None:
        self.customer_id = customer_id
        self.state = state
        self.at_ms = at_ms
        self.frontier_ms = frontier_ms
        self.trigger = trigger
        self.facts = facts
        self.observation = observation
        self.traceparent = traceparent
        self.scored_ms = at_ms if observation is not None else frontier_ms
        """The moment that the score is for. What comes late is scored as of now; an observation at its own time."""
        self.mark = mark
        """Which purchases of others product picks may know of."""


class Block:
    """Points that wait to be scored together. Scores do not depend on which points share a block."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.rows: list[list[float]] = []
        self.customers: set[str] = set()
        self.settle_by_ms = NEVER_MS
        """Event time may not pass this before the block is concluded: a retry may come due then."""

    def add(self, point: Point, row: list[float], retry_ms: int = 0) -> None:
        """Append a point with its raw feature row, and when its decision may be tried again (0: it is not)."""
        self.points.append(point)
        self.customers.add(point.customer_id)
        self.rows.append(row)
        if retry_ms and retry_ms < self.settle_by_ms:
            self.settle_by_ms = retry_ms

    def take(self) -> tuple[list[Point], list[list[float]]]:
        """Empty the block and return what was in it."""
        points, rows = self.points, self.rows
        self.points, self.rows, self.customers, self.settle_by_ms = [], [], set(), NEVER_MS
        return points, rows


class Folded(NamedTuple):
    """What was folded into a shard, with the points that wait for their conclusion."""

    shard: Shard
    block: Block
    effects: Effects
    """Of these entries; the conclusion adds to them."""
