"""Taking a partition over: restore, claim it with a new epoch, send the former owner's outbox again.

The claim is itself a changelog batch. If it does not come to stand where our reading ended, a former owner wrote in
between: what it wrote is read too, and the claim repeated. From then on readers ignore that owner.
"""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.adapters.stores import Checkpoint, PartitionStore
from stream_app.engine.engine import Engine
from stream_app.wire.partition_record import STATE, PendingSend, SourcePosition, read_envelope
from stream_app.worker.aligner import Aligner
from stream_app.worker.changelog import Changelog
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.owned import Owned
from stream_app.worker.publisher import Publisher, WrittenRange
from stream_app.worker.restoring import Restored, Restorer, restorer_of
from stream_app.worker.standbys import Standbys

logger = logging.getLogger(__name__)


class FencedError(RuntimeError):
    """Another worker has taken this partition over while this one was paused or cut off: this one must end at once."""


class SourceRecreatedError(RuntimeError):
    """A source topic ends before what was processed of it: it was deleted and created again."""


class Ownership:
    """Restores and claims partitions, and watches that nobody else writes to their changelog.

    Parameters
    ----------
    engine
        Opens the shards.
    changelog, publisher
        Where to read and write.
    open_store
        Makes the store of a partition.
    standbys
        Copies to begin with instead, where there are.
    new_aligner
        Makes the merge of a partition.
    to_outgoing
        An outbox entry as it is sent.
    metrics
        Where recovery is counted.
    """

    def __init__(
        self,
        engine: Engine,
        changelog: Changelog,
        publisher: Publisher,
        open_store: Callable[[int], PartitionStore],
        standbys: Standbys,
        new_aligner: Callable[[], Aligner],
        to_outgoing: Callable[[PendingSend], Outgoing],
        metrics: Recorder,
    ) -> None:
        self._engine = engine
        self._changelog = changelog
        self._publisher = publisher
        self._open_store = open_store
        self._standbys = standbys
        self._new_aligner = new_aligner
        self._to_outgoing = to_outgoing
        self._metrics = metrics

    async def take_over(self, partitions: Iterable[int]) -> dict[int, Owned]:
        """Restore partitions and claim them.

        Raises
        ------
        ChangelogError, ChangelogFormatError, PublishError
            The changelog cannot be read, understood or written.
        """
        begun = time.monotonic()
        numbers = sorted(partitions)
        if not numbers:
            return {}
        # Before the ends are asked: a copy that reads on could know more than they say.
        copies = {number: self._standbys.hand_over(number) for number in numbers}
        restorers = {number: copy for number, copy in copies.items() if copy is not None}
        warm = len(restorers)
        try:
            ends = await self._changelog.ends(numbers)
            for number in numbers:
                if number not in restorers:
                    restorers[number] = restorer_of(number, self._open_store(number), ends[number])

            def fold(number: int, records: Sequence[Any]) -> None:
                restorers[number].take(records)

            starts = {number: restorer.next_offset for number, restorer in restorers.items()}
            await self._changelog.read(starts, ends, fold)
            taken = {}
            for number, restorer in restorers.items():
                taken[number] = await self._claim(number, restorer, restorer.finish(ends[number]))
        except BaseException:
            # Another rebalance may have come in between; whoever takes them over next must be able to open them.
            for restorer in restorers.values():
                restorer.store.close()
            raise
        self._tell(taken, restorers, warm, time.monotonic() - begun)
        return taken

    async def still_ours(self, kept: Mapping[int, Owned]) -> set[int]:
        """Return which partitions nobody else has written to since our last batch."""
        if not kept:
            return set()
        ends = await self._changelog.ends(list(kept))
        return {number for number, owned in kept.items() if ends[number] == owned.next_offset}

    async def write(self, owned: Owned, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Write a batch of an owned partition; afterwards it is durable, and nobody else owns the partition.

        Raises
        ------
        FencedError
            A worker with the same or a higher epoch has written.
        PublishError
            The batch could not be written.
        """
        expected = owned.next_offset
        written = await self._changelog.write(owned.partition, records)
        owned.next_offset = written.next_offset
        if written.first_offset != expected or not written.is_unbroken:
            await self._look_at_foreign(owned, expected, written.next_offset)
        owned.store.commit(Checkpoint(owned.closing, written.next_offset))
        owned.sequence += 1

    def _tell(self, taken: Mapping[int, Owned], restorers: Mapping[int, Restorer], warm: int, seconds: float) -> None:
        """Report what restoring cost: how fast it was, and how much of what was read was still true."""
        records = sum(restorer.records for restorer in restorers.values())
        customers = sum(len(owned.store) for owned in taken.values())
        speed, per_customer = records / max(seconds, 1e-9), records / max(customers, 1)
        self._metrics.observe("recovery_seconds", seconds)
        self._metrics.gauge("recovery_records_per_second", speed)
        self._metrics.gauge("recovery_records_per_customer", per_customer)
        logger.info(
            "restored",
            extra=fields(
                partitions=len(taken),
                warm=warm,
                records=records,
                customers=customers,
                ignored=sum(restorer.ignored for restorer in restorers.values()),
                records_per_second=round(speed),
                records_per_customer=round(per_customer, 2),
                seconds=seconds,
            ),
        )

    async def _claim(self, number: int, restorer: Restorer, restored: Restored) -> Owned:
        owned: Owned | None = None
        sequence = 0
        # What an earlier try of this claim wrote may be older than what the former owner wrote in between; and what
        # that owner wrote behind our first try does not count for any reader, but may be what compaction keeps.
        unsettled: set[str] = set()
        tries = _Tries()
        while True:
            store = restorer.store
            shard = self._engine.open_shard(number, store, restored.record.memory)
            positions: dict[str, SourcePosition] = dict(restored.record.positions)
            owned = Owned(number, store, shard, self._new_aligner(), positions)
            owned.epoch, owned.sequence = restored.epoch + 1, sequence
            unsettled.update(restored.unfinished)
            for customer_id in sorted(unsettled):
                store.touch(customer_id)
            unknown = tuple(customer_id for customer_id in sorted(unsettled) if customer_id not in store)
            batch = owned.changelog_batch(restored.record.outbox, unknown)
            written = await self._changelog.write(number, batch)
            if written.first_offset == restored.next_offset and written.is_unbroken:
                break
            logger.warning("partition %d: its former owner still wrote while it was taken over", number)
            sequence += 1
            tries.note(written, (owned.epoch, owned.sequence))

            def fold(_: int, records: Sequence[Any]) -> None:
                restorer.take(record for record in records if tries.counts(record, unsettled))

            span = ({number: restored.next_offset}, {number: written.next_offset})
            await self._changelog.read(*span, fold)
            restored = restorer.finish(written.next_offset)
        owned.next_offset = written.next_offset
        owned.sequence += 1
        owned.store.commit(Checkpoint(owned.closing, owned.next_offset))
        if restored.record.outbox:
            await self._publisher.send(self._to_outgoing(pending) for pending in restored.record.outbox)
            self._metrics.count("outbox_resends", len(restored.record.outbox))
        return owned

    async def _look_at_foreign(self, owned: Owned, start: int, end: int) -> None:
        """Find out who else wrote: a newer owner ends us; what an older one wrote is written over."""
        foreign: list[str] = []

        def fold(_: int, records: Sequence[Any]) -> None:
            for record in records:
                if record.value is None:
                    continue
                _, epoch, sequence = read_envelope(record.value)
                if epoch > owned.epoch or (epoch == owned.epoch and sequence != owned.sequence):
                    raise FencedError(
                        f"Partition {owned.partition} belongs to another worker (epoch {epoch}, ours is "
                        f"{owned.epoch}): "
                        "this one was paused or cut off for longer than the group's session timeout. It ends without "
                        "acknowledging anything; started again, it joins the group like any other."
                    )
                if epoch < owned.epoch:
                    foreign.append(record.key.decode(errors="replace"))

        await self._changelog.read({owned.partition: start}, {owned.partition: end}, fold)
        if foreign:
            self._metrics.count("foreign_changelog_records", len(foreign))
            logger.warning(
                "partition %d: %d changelog records of a former owner are written over", owned.partition, len(foreign)
            )
            for customer_id in foreign:
                owned.store.touch(customer_id)


class _Tries:
    """Where the tries of a claim came to stand, and what of others still counts beside them."""

    def __init__(self) -> None:
        self._written: list[WrittenRange] = []
        self._batches: set[tuple[int, int]] = set()

    def note(self, written: WrittenRange, batch: tuple[int, int]) -> None:
        """Remember a try, and the epoch and sequence that it was written with."""
        self._written.append(written)
        self._batches.add(batch)

    def counts(self, record: Any, unsettled: set[str]) -> bool:
        """Tell whether a record is another owner's and counts; a customer whose record does not is to be written."""
        if any(one.is_unbroken and one.first_offset <= record.offset < one.next_offset for one in self._written):
            return False
        if record.value is None:
            return True
        kind, epoch, sequence = read_envelope(record.value)
        if (epoch, sequence) in self._batches:
            return False
        claimed = min(claimed for claimed, _ in self._batches)
        if epoch < claimed and record.offset > self._written[0].first_offset:
            if kind == STATE:
                unsettled.add(record.key.decode())
            return False
        return True
