"""Which records of a partition were delivered, which are done, and so how far offsets may be committed.

Chunks may be finished in any order (a chunk of refused records is done before an older one that still waits for a
lagging topic); what may be committed is where the unbroken run of finished chunks ends. Nothing is ever guessed from
gaps between offsets: a compacted topic has them, and a lost record would look the same.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec


class SourcePartition(NamedTuple):
    """A partition of a source topic. Equal to, and hashing like, Kafka clients' own (topic, partition) tuples."""

    topic: str
    partition: int


class Delivery(msgspec.Struct, eq=False):
    """One chunk on its way through the worker: offsets `first` to `last`, both included."""

    source: SourcePartition
    first: int
    last: int
    records: int
    size: int
    """Bytes of keys and values."""
    done: bool = False
    open: bool = True
    """False once it was dropped: finishing it then means nothing."""


class OffsetLedger:
    """Deliveries and what follows from their ends. One per consumer; not thread-safe."""

    def __init__(self) -> None:
        self._open: dict[SourcePartition, deque[Delivery]] = {}
        self._reached: dict[SourcePartition, int] = {}
        self._held: Counter[SourcePartition] = Counter()
        self.held_records = 0
        self.held_bytes = 0

    def deliver(self, source: SourcePartition, first: int, last: int, records: int, size: int) -> Delivery:
        """Note that a chunk goes to the stream.

        Raises
        ------
        ValueError
            It does not lie behind everything that is under way in its partition.
        """
        waiting = self._open.setdefault(source, deque())
        if last < first or (waiting and first <= waiting[-1].last):
            raise ValueError(f"chunk {first}..{last} of {source} does not follow {waiting[-1].last if waiting else ''}")
        delivery = Delivery(source, first, last, records, size)
        waiting.append(delivery)
        self._held[source] += records
        self.held_records += records
        self.held_bytes += size
        return delivery

    def finish(self, delivery: Delivery) -> bool:
        """Note that all records of a chunk are processed and their effects durable; False if it was dropped before."""
        if not delivery.open or delivery.done:
            return False
        delivery.done = True
        self._held[delivery.source] -= delivery.records
        self.held_records -= delivery.records
        self.held_bytes -= delivery.size
        waiting = self._open[delivery.source]
        while waiting and waiting[0].done:
            oldest = waiting.popleft()
            oldest.open = False
            self._reached[delivery.source] = oldest.last + 1
        return True

    def held_of(self, source: SourcePartition) -> int:
        """Return how many records of this partition are delivered and not done."""
        return self._held[source]

    def committable(self, source: SourcePartition) -> int | None:
        """Return the offset that may be committed (of the next record to read), None if nothing was finished yet."""
        return self._reached.get(source)

    def sources(self) -> Iterator[SourcePartition]:
        """Go through the partitions of which something may be committed."""
        yield from self._reached

    def drop(self) -> None:
        """Forget what is under way, as before a seek: it will be read again. What was finished stays committable."""
        for waiting in self._open.values():
            for delivery in waiting:
                delivery.open = False
        self._open.clear()
        self._held.clear()
        self.held_records = 0
        self.held_bytes = 0

    def forget(self, sources: Iterable[SourcePartition]) -> None:
        """Forget partitions that went to another owner, finished chunks included."""
        for source in sources:
            for delivery in self._open.pop(source, ()):
                delivery.open = False
                if not delivery.done:
                    self.held_records -= delivery.records
                    self.held_bytes -= delivery.size
            self._held.pop(source, None)
            self._reached.pop(source, None)
