"""What enters the engine: decoded records with their place in the log.

They hold no cycles, and a worker buffers many of them: the garbage collector need not know them (`gc=False`).
"""

import msgspec

from stream_app.core.events import CustomerEntry
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


class TimePassed(msgspec.Struct, frozen=True, gc=False):
    """A record from `ticks`: nothing happened up to `at_ms`, and time moves on."""

    at_ms: int


Entry = Record | TimePassed
