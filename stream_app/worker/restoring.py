"""The fold of one changelog partition: which states and which partition record count.

Rules, each for one way in which an owner can fail:

* States count once their batch's partition record follows: the owner may have died in the middle of a batch that
  needed more than one record batch. Compaction may have removed older partition records; any later one closes all that
  is before it.
* Once an owner of a higher epoch has written, whatever an owner of a lower one writes is ignored: it was paused, lost
  the partition and woke up.
* Of the rest the later record wins, as Kafka's compaction has it.
"""

import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from stream_app.adapters.stores import Checkpoint, PartitionStore
from stream_app.core.partition import PartitionState
from stream_app.wire.partition_record import (
    ENVELOPE_BYTES,
    OUTBOX,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    decode_outbox_parts,
    decode_partition_record,
    encode_partition_record,
    read_envelope,
)

logger = logging.getLogger(__name__)


class Restored(NamedTuple):
    """What is known of a partition when its changelog has been read."""

    record: PartitionRecord
    epoch: int
    """Highest epoch that wrote; 0: nobody ever did."""
    next_offset: int
    """Where the changelog ended."""
    unfinished: tuple[str, ...]
    """Customers of a batch that its owner did not finish: the next owner must write what counts of them again."""


class Restorer:
    """Reads one partition's changelog into a store.

    Parameters
    ----------
    store
        Empty, or as its checkpoint says.
    """

    def __init__(self, store: PartitionStore) -> None:
        self.store = store
        self._tail: dict[str, bytes | None] = {}
        self._epoch = 0
        self._record_value: bytes | None = None
        self._outbox: list[bytes] = []
        self._outbox_of = (0, 0)
        self.next_offset = 0
        self.records = 0
        self.ignored = 0
        known = store.checkpoint()
        if known is not None:
            self._record_value = known.partition_record
            self._epoch = read_envelope(known.partition_record).epoch
            self.next_offset = known.next_offset

    @property
    def epoch(self) -> int:
        """Highest epoch read so far."""
        return self._epoch

    def begin_counting(self) -> None:
        """Count records from here on: what was read so far was read before anybody waited for it."""
        self.records = self.ignored = 0

    def take(self, records: Iterable[Any]) -> None:
        """Fold records (aiokafka's ConsumerRecords) of this partition, in the order of the log.

        Raises
        ------
        ChangelogFormatError
            A value that no owner of this release or an older one can have written.
        """
        tail = self._tail
        closed_at = -1
        for record in records:
            self.records += 1
            self.next_offset = record.offset + 1
            key, value = record.key, record.value
            if value is None:
                tail[key.decode()] = None
                continue
            kind, epoch, sequence = read_envelope(value)
            if epoch < self._epoch:
                self.ignored += 1
                continue
            self._epoch = epoch
            if kind == STATE:
                tail[key.decode()] = value[ENVELOPE_BYTES:]
            elif kind == OUTBOX:
                if self._outbox_of != (epoch, sequence):
                    self._outbox_of, self._outbox = (epoch, sequence), []
                self._outbox.append(value[ENVELOPE_BYTES:])
            elif key == PARTITION_KEY:
                self.store.load(tail)
                tail.clear()
                self._record_value = value
                closed_at = record.offset
                if self._outbox:
                    self._record_value = self._with_outbox(value, (epoch, sequence))
        if closed_at >= 0 and self._record_value is not None:
            self.store.commit(Checkpoint(self._record_value, closed_at + 1))

    def _with_outbox(self, value: bytes, batch: tuple[int, int]) -> bytes:
        """Return a partition record with the outbox parts of its batch in it; those of another batch were sent."""
        parts, self._outbox = self._outbox, []
        if self._outbox_of != batch:
            return value
        record = decode_partition_record(memoryview(value)[ENVELOPE_BYTES:])
        if record.outbox_parts != len(parts):
            return value
        whole = msgspec.structs.replace(record, outbox=decode_outbox_parts(parts), outbox_parts=0)
        return value[:ENVELOPE_BYTES] + encode_partition_record(whole)

    def finish(self, end_offset: int) -> Restored:
        """Return what counts, the log having been read to `end_offset`.

        It may go on: whoever wrote an unfinished batch may still close it, and then its states count.
        """
        self.next_offset = max(self.next_offset, end_offset)
        unfinished = tuple(self._tail)
        if self._record_value is None:
            record = PartitionRecord(memory=PartitionState())
        else:
            record = decode_partition_record(memoryview(self._record_value)[ENVELOPE_BYTES:])
        return Restored(record, self._epoch, self.next_offset, unfinished)


def restorer_of(number: int, store: PartitionStore, end_offset: int) -> Restorer:
    """Return the fold of a partition's changelog that goes on where its store ends.

    Parameters
    ----------
    number
        Of the partition, for the log.
    store
        As it was left. If it knows more than the changelog holds, it is of another changelog, and is cleared.
    end_offset
        Where the changelog ends.
    """
    known = store.checkpoint()
    if known is not None and known.next_offset > end_offset:
        logger.warning(
            "partition %d: the local store knows the changelog up to %d, but it ends at %d: it was deleted and "
            "created again, and the local store is thrown away",
            number,
            known.next_offset,
            end_offset,
        )
        store.clear()
    return Restorer(store)
