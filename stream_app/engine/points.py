"""Points in time at which a customer is scored: collected while events are folded, concluded in blocks."""

from stream_app.core.facts import Facts
from stream_app.core.state import CustomerState, Observation


class Point:
    """One customer at one moment, with everything that a later conclusion may look at."""

    __slots__ = (
        "at_ms",
        "customer_id",
        "facts",
        "frontier_ms",
        "mark",
        "observation",
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
        self.mark = mark
        """Which purchases of others product picks may know of."""


class Block:
    """Points that wait to be scored together. Scores do not depend on which points share a block."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.rows: list[list[float]] = []
        self.customers: set[str] = set()

    def add(self, point: Point, row: list[float]) -> None:
        """Append a point with its raw feature row."""
        self.points.append(point)
        self.customers.add(point.customer_id)
        self.rows.append(row)

    def take(self) -> tuple[list[Point], list[list[float]]]:
        """Empty the block and return what was in it."""
        points, rows = self.points, self.rows
        self.points, self.rows, self.customers = [], [], set()
        return points, rows
