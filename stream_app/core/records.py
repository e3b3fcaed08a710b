"""What enters the engine: decoded records with their place in the log.

They hold no cycles, and a worker buffers many of them: the garbage collector need not know them (`gc=False`).
"""

import msgspec

from stream_app.core.events import Click, CustomerEntry
from stream_app.core.topics import Topic


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where a record first stood: it survives re-publication through `rerouted` in headers.

    `epoch` is the source epoch, a setting that is raised when a topic was re-created and its offsets began anew.
    """

    topic: Topic
    partition: int
    offset: int
    epoch: int = 0


class Record(msgspec.Struct, frozen=True, gc=False):
    """One valid record about one customer; `event` is None for a tombstone on `customers` (erase the customer)."""

    position: Position
    customer_id: str
    at_ms: int
    """Event time."""
    event: CustomerEntry | None
    recorded_at_ms: int = 0
    """The Kafka record timestamp, or 0 where there is none."""
    traceparent: str = ""


class ClickRun(msgspec.Struct, frozen=True, gc=False):
    """Clicks of one customer that stand one behind the other in a topic: as many records, in one piece.

    Offsets follow each other without a gap, event times never decrease, and none has a traceparent. At least two.
    """

    position: Position
    """Of the first."""
    customer_id: str
    clicks: list[Click]
    times_ms: list[int]
    """Event time of each."""

    @property
    def at_ms(self) -> int:
        """Event time of the first."""
        return self.times_ms[0]

    @property
    def last_ms(self) -> int:
        """Event time of the last."""
        return self.times_ms[-1]

    def record(self, index: int) -> Record:
        """Return one of the clicks as a record of its own."""
        first = self.position
        position = Position(first.topic, first.partition, first.offset + index, first.epoch)
        return Record(position, self.customer_id, self.times_ms[index], self.clicks[index])

    def part(self, first: int, end: int) -> "ClickRun | Record":
        """Return the clicks from index `first` up to `end`."""
        if end - first == 1:
            return self.record(first)
        whole = self.position
        position = Position(whole.topic, whole.partition, whole.offset + first, whole.epoch)
        return ClickRun(position, self.customer_id, self.clicks[first:end], self.times_ms[first:end])


class TimePassed(msgspec.Struct, frozen=True, gc=False):
    """A record from `ticks`: nothing happened up to `at_ms`, and time moves on."""

    at_ms: int


Entry = Record | ClickRun | TimePassed
