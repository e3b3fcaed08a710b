"""What this worker holds of a partition that it owns."""

from collections import deque
from typing import Any

from stream_app.adapters.stores import PartitionStore
from stream_app.engine.shard import Shard
from stream_app.wire.partition_record import (
    OUTBOX,
    OUTBOX_KEY,
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    PendingSend,
    SourcePosition,
    encode_outbox_parts,
    encode_partition_record,
    envelope,
)
from stream_app.worker.aligner import Aligner, Item
from stream_app.worker.intake import Source

OUTBOX_PART_BYTES = 256 << 10
"""A larger outbox is spread over records of its own, far below what a broker takes in one record."""


class Owned:
    """One partition: its states, its merge, and its place in the changelog.

    Parameters
    ----------
    partition
        Its number.
    store
        Its customers, restored.
    shard
        The engine's view of it.
    aligner
        Its merge of topics.
    positions
        How far each source was processed, by topic role.
    """

    def __init__(
        self,
        partition: int,
        store: PartitionStore,
        shard: Shard,
        aligner: Aligner,
        positions: dict[str, SourcePosition],
    ) -> None:
        self.partition = partition
        self.store = store
        self.shard = shard
        self.aligner = aligner
        self.positions = positions
        self.epoch = 0
        self.sequence = 0
        self.next_offset = 0
        """Where our next changelog batch must come to stand: elsewhere means that someone else writes."""
        self.closing = b""
        """The last partition record with its whole outbox, as a local store keeps it."""
        self.ready: deque[Item] = deque()
        """Released by the merge and not yet processed."""
        self.hold_ms: int | None = None
        self.seen_ms = 0
        """Largest event time processed, whether time was let so far or held."""
        self.active_at_seconds = 0.0
        """When something was last processed, on the steady clock: idle partitions get ticks."""

    def changelog_batch(
        self, outbox: tuple[PendingSend, ...], forgotten: tuple[str, ...] = ()
    ) -> list[tuple[bytes, bytes | None]]:
        """Return what to write for all that changed since the last batch: states, then the record that closes them.

        Parameters
        ----------
        outbox
            Interventions that are sent once this is written.
        forgotten
            Customers who must not exist: their states came from a batch that does not count.
        """
        prefix = envelope(STATE, self.epoch, self.sequence)
        records: list[tuple[bytes, bytes | None]] = [(customer_id.encode(), None) for customer_id in forgotten]
        records += [(customer_id.encode(), prefix + encoded) for customer_id, encoded in self.store.drain()]
        record = PartitionRecord(self.shard.memory, self.positions, outbox)
        head = envelope(PARTITION, self.epoch, self.sequence)
        self.closing = closing = head + encode_partition_record(record)
        parts = encode_outbox_parts(outbox, OUTBOX_PART_BYTES)
        if len(parts) > 1:
            prefix = envelope(OUTBOX, self.epoch, self.sequence)
            records += [(OUTBOX_KEY + b"%d" % number, prefix + part) for number, part in enumerate(parts)]
            short = PartitionRecord(self.shard.memory, self.positions, (), len(parts))
            closing = head + encode_partition_record(short)
        records.append((PARTITION_KEY, closing))
        return records

    def drop_buffered(self) -> None:
        """Forget what was taken in and not processed; it will be read again."""
        self.aligner.clear()
        self.ready.clear()
        self.hold_ms = None


class Work:
    """A chunk under way: done when every entry of it is."""

    __slots__ = ("chunk", "remaining", "source")

    def __init__(self, chunk: Any, source: Source) -> None:
        self.chunk = chunk
        self.source = source
        self.remaining = 0
