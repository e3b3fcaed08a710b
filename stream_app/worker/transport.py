"""Batch delivery: a Faust transport that hands on one Faust message for each chunk of polled records.

Everything here overrides internals of faust-streaming 0.15.3 (pinned); tests/worker/test_transport_contract.py fails
when they change. What Faust keeps: the consumer thread, group membership, assignment, the commit timer, pausing and
resuming. What is replaced, and why:

* `getmany`: one message a chunk instead of a record, which is where stock Faust spends its time; raw records
  (`fetching`); fair over partitions; bounded by records and bytes instead of messages; and it never hands on records
  that were fetched before a seek (Faust compares the group's generation after the fetch returned, so that a slow fetch
  can slip stale records past it, and the records between are then taken for a gap and committed).
* `_drain_messages`: a poll is handed on as a whole. Faust makes four tasks a message, so that a rebalance can break off
  one that waits; they let whatever else is ready run in between, and at 10,000 events a second a poll was handed on
  for 40 ms while the next records lay fetched.
* `ack`, `_new_offset` and what feeds them: Faust infers what is done from gaps between offsets. `OffsetLedger` knows.
* `perform_seek`: never beside a fetch, and back to the beginning where nothing was committed yet: aiokafka leaves such
  a partition where it stands, behind records that a poll over a rebalance returned and nobody took.
* `wait_empty` and revocation: the pipeline first finishes the batch under way and drops the rest, which is read again.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

import faust
from faust.transport.consumer import CONSUMER_FETCHING
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream_app.worker.fetching import fetch_raw
from stream_app.worker.offsets import Delivery, OffsetLedger, SourcePartition

POLL_SECONDS = 1.0
NO_PARTITIONS_SECONDS = 0.02
"""How soon to look again whether there is anything to poll."""

FETCH_MIN_BYTES = 100_000
FETCH_WAIT_MS = 30
"""How much a fetch waits for at the broker, and how long at most. Many small fetches cost more than they bring: at
10,000 events a second, fetches for one byte took a quarter more CPU. A slow stream is read up to 30 ms later, and an
idle worker makes 33 small requests a second."""

FETCH_MOST_BYTES = 16 << 20
"""Of all partitions in one fetch: a backlog of a hundred partitions comes in pieces that the merge can begin with."""


class Chunk(NamedTuple):
    """The value of one Faust message: consecutive records of one partition."""

    delivery: Delivery
    records: list[Any]
    """As aiokafka decoded them (offset, timestamp, key, value, headers), oldest first."""
    seeks: int
    """How often the consumer had sought when this was fetched: a chunk from before a seek is stale."""


class ChunkPolicy(NamedTuple):
    """Bounds of what is fetched ahead."""

    chunk_records: int
    buffer_records: int
    buffer_bytes: int


class Quiescent(Protocol):
    """What must come to rest before partitions are given up."""

    async def quiesce(self) -> None:
        """Finish the batch under way, drop what is buffered, and take nothing until resumed."""
        ...


class BatchApp(faust.App):  # type: ignore[misc]
    """A Faust app whose consumer delivers chunks. Set `chunk_policy` and `quiescent` before it starts."""

    chunk_policy = ChunkPolicy(500, 50_000, 64 << 20)
    quiescent: Quiescent | None = None

    def _new_transport(self) -> "BatchTransport":
        return BatchTransport(self.conf.broker_consumer, self)


class BatchConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Faust's consumer thread, whose fetches wait at the broker for `FETCH_MIN_BYTES` or `FETCH_WAIT_MS`.

    Its polls bring raw records.
    """

    most_records: int | None = None
    """What the next poll may hand over; the rest of what was fetched waits for another one."""

    _assigned_theirs: Any = None
    _assigned: frozenset[TP] = frozenset()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_min_bytes = FETCH_MIN_BYTES  # noqa: SLF001 - Faust leaves it at one byte
        consumer._fetch_max_bytes = FETCH_MOST_BYTES  # noqa: SLF001 - Faust leaves it at 50 MiB
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # noqa: SLF001 - Faust passes a constant
        return consumer

    async def on_start(self) -> None:
        """Start the consumer, and let it fetch raw records before it has partitions."""
        await super().on_start()
        await fetch_raw(self._ensure_consumer())

    async def getmany(self, active_partitions: Mapping[TP, int], timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        """Poll once, for `most_records`, and of each partition for as many as is said."""
        self._ensure_consumer()._max_poll_records = self.most_records  # noqa: SLF001 - from where Faust takes it
        return await super().getmany(active_partitions, timeout)

    def assignment(self) -> frozenset[TP]:
        """Return the assigned partitions, made into Faust's once: its commit asks for all of them once for each."""
        assigned = self._ensure_consumer().assignment()
        if assigned is not self._assigned_theirs:
            self._assigned_theirs, self._assigned = assigned, frozenset(super().assignment())
        return self._assigned

    def wake(self) -> None:
        """End the poll under way; to be called in any thread."""
        if self._consumer is not None:
            self.thread_loop.call_soon_threadsafe(self._consumer._fetcher.wake)  # noqa: SLF001 - it is ours


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """The consumer of a `BatchApp`; see the module's description."""

    mundane_level = "debug"
    _n_acked: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ledger = OffsetLedger()
        self.seeks = 0
        self._undelivered: Counter[SourcePartition] = Counter()
        self._polled: dict[SourcePartition, tuple[int | None, int | None]] = {}
        self._ends: dict[SourcePartition, int] = {}
        self._fetching = asyncio.Lock()
        self._waits_for_room = False
        self._has_room = asyncio.Event()

    def _new_consumer_thread(self) -> BatchConsumerThread:
        return BatchConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 - Faust's signature
        """Poll once and yield the chunks, partition by partition in turn."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        async with self._fetching:
            seeks = self.seeks
            wanted, self._waits_for_room = self._wanted()
            self._has_room.clear()
            self._thread.most_records = self._room()
            if not wanted:
                records: Mapping[Any, list[Any]] = {}
            else:
                records = await self._getmany(wanted, timeout)
                self._note_positions()
            chunks = list(self._cut(records)) if records and seeks == self.seeks else []
        if not wanted and self._waits_for_room:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._has_room.wait(), timeout)
        elif not wanted:
            await asyncio.sleep(NO_PARTITIONS_SECONDS)
        for source, cut in chunks:
            if not self.flow_active or seeks != self.seeks or self.should_stop:
                return
            yield self._deliver(source, cut, seeks)

    def taken(self, chunk: Chunk) -> bool:
        """Note that the stream handed a chunk over; False if it is stale and must not be processed."""
        source = chunk.delivery.source
        if chunk.seeks != self.seeks or not chunk.delivery.open:
            return False
        self._undelivered[source] -= 1
        return True

    def finish(self, chunk: Chunk) -> None:
        """Note that all records of a chunk are processed and their effects durable; Faust's timer commits."""
        if self.ledger.finish(chunk.delivery):
            self._n_acked += 1
            self._look_again()

    def lags(self, source: SourcePartition) -> bool:
        """Tell whether the log is known to hold records of this partition that the stream has not handed over."""
        return self._undelivered[source] > 0 or self._has_more(source)

    def held(self) -> tuple[int, int]:
        """Return records and bytes that were fetched and are not done."""
        return self.ledger.held_records, self.ledger.held_bytes

    def polled_sources(self) -> list[SourcePartition]:
        """Return the partitions that were polled since the last seek."""
        return list(self._polled)

    def end_of(self, source: SourcePartition) -> int | None:
        """Return the newest known end of a partition's log."""
        return self._polled.get(source, (None, None))[1]

    def committed_of(self, source: SourcePartition) -> int | None:
        """Return what was committed by this consumer or found committed; None where nothing is."""
        offset: int | None = self._committed_offset[source]
        return offset

    async def perform_seek(self) -> None:
        """Go back to the committed offsets; what was fetched before is stale from here on."""
        self._look_again()
        async with self._fetching:
            await super().perform_seek()
            self.seeks += 1
            self.ledger.drop()
            self._undelivered.clear()
            self._polled.clear()

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go back to what is committed, or to the oldest record where nothing is."""
        committed: Mapping[TP, int] = await super().seek_to_committed()
        untouched = [tp for tp, offset in committed.items() if not offset and not self._is_changelog_tp(tp)]
        if untouched:
            await self._thread.seek_to_beginning(*untouched)
        return committed

    async def wait_empty(self) -> None:
        """Come to rest: after this nothing is under way, and all that was finished is committed."""
        await self._come_to_rest()
        await super().wait_empty()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit what is finished while the partitions are still ours, then let go of them."""
        await self._come_to_rest()
        await self.commit()
        self.ledger.forget(SourcePartition(*tp) for tp in revoked)
        await super().on_partitions_revoked(revoked)

    def ack(self, message: ConsumerMessage) -> bool:
        """Do nothing but satisfy Faust: chunks are finished by `finish`, in their own time."""
        message.acked = True
        self._unacked_messages.discard(message)
        return False

    async def _drain_messages(self, fetcher: Any) -> None:
        """Poll, and hand on, until the consumer or its fetcher is stopped.

        As Faust's: what waits to be handed on is dropped when the flow is suspended, and read again after the seek.
        """
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as Faust does
                # The watchdogs look at this flag.
                self.diag.set_flag(CONSUMER_FETCHING)
                polled = [message async for _, message in self.getmany(timeout=POLL_SECONDS)]
                if polled:
                    await self.wait_first(self._hand_on(polled), self.suspend_flow.wait())
                if self._commit_every is not None and self._n_acked >= self._commit_every:
                    self._n_acked = 0
                    await self.commit()
                self.diag.unset_flag(CONSUMER_FETCHING)
                # A poll that finds records ready never lets go of the loop.
                await asyncio.sleep(0)
        except (*self.consumer_stopped_errors, asyncio.CancelledError):
            if not self.app.should_stop:
                raise
        finally:
            self.diag.unset_flag(CONSUMER_FETCHING)

    async def _hand_on(self, polled: Sequence[ConsumerMessage]) -> None:
        for message in polled:
            if not self.flow_active or message.value.seeks != self.seeks or self.should_stop:
                return
            await self.callback(message)
            self._read_offset[message.tp] = message.offset

    async def _come_to_rest(self) -> None:
        if self.app.quiescent is not None:
            await self.app.quiescent.quiesce()
        self._unacked_messages.clear()

    def _look_again(self) -> None:
        """End a poll that leaves partitions out because enough of them was held."""
        if self._waits_for_room:
            self._waits_for_room = False
            self._has_room.set()
            self._thread.wake()

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        for source in self.ledger.sources():
            if topics is None or source.topic in topics or source in topics:
                yield TP(*source)

    def _new_offset(self, tp: TP) -> int | None:
        return self.ledger.committable(SourcePartition(*tp))

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Gaps say nothing about what is done; see `OffsetLedger`."""

    def _wanted(self) -> tuple[dict[TP, int], bool]:
        """Return how many records to poll of which partitions, and whether some have to wait for room in the buffer.

        Those whose logs hold more share the buffer evenly, so that orders of a month fetched ahead do not fill it
        before the clicks that the merge waits for: it would give up on them, partition after partition. Who holds half
        a share waits, lest polls come in tiny pieces.
        """
        changelogs = self.app.tables.changelog_topics
        policy, ledger = self.app.chunk_policy, self.ledger
        held_of, has_more = ledger.held_of, self._has_more
        held = {tp: held_of(tp) for tp in self._get_active_partitions() if tp.topic not in changelogs}
        lagging = [tp for tp in held if has_more(tp)]
        if ledger.held_records >= policy.buffer_records or ledger.held_bytes >= policy.buffer_bytes:
            # A partition of which nothing is held may always fetch: the merge could be waiting for just that one.
            limit = max(1, policy.chunk_records // max(1, len(lagging)))
            wanted = {tp: limit for tp, records in held.items() if not records}
        else:
            room = policy.buffer_records - ledger.held_records + sum(held[tp] for tp in lagging)
            share = max(1, room // max(1, len(lagging)))
            wanted = {tp: share - records for tp, records in held.items() if records <= share // 2}
        return wanted, len(wanted) < len(held)

    def _room(self) -> int:
        """Return how many records a poll may bring: what the buffer lacks, or one chunk."""
        policy = self.app.chunk_policy
        room: int = max(policy.chunk_records, policy.buffer_records - self.ledger.held_records)
        return room

    def _has_more(self, source: SourcePartition | TP) -> bool:
        """Tell whether the log is not known to have been read to its end."""
        position, highwater = self._polled.get(source, (None, None))
        return position is None or highwater is None or position < highwater

    def _note_positions(self) -> None:
        """Remember how far was fetched, at a moment when no fetch is under way: between polls positions are true."""
        subscription = self._thread._ensure_consumer()._subscription.subscription  # noqa: SLF001 - no public way tells position and highwater without asking the broker
        if subscription is None or subscription.assignment is None:
            return
        assignment, ends = subscription.assignment, self._ends
        for tp in assignment.tps:
            state = assignment.state_value(tp)
            position, end = state.position if state.has_valid_position else None, state.highwater
            # A broker that was killed begins with an older high watermark: what was known of the log stays true.
            if end is not None:
                end = ends[tp] = max(end, ends.get(tp, 0))
            self._polled[tp] = (position, end)

    def _cut(self, polled: Mapping[Any, list[Any]]) -> Iterator[tuple[SourcePartition, list[Any]]]:
        """Cut polled records into chunks, going round over the partitions."""
        size = self.app.chunk_policy.chunk_records
        lanes = []
        for tp, records in polled.items():
            source = SourcePartition(tp.topic, tp.partition)
            read = self._read_offset[TP(*source)]
            fresh = records
            if read is not None and records[0].offset < read:
                fresh = [record for record in records if record.offset >= read]
            cuts = [fresh[start : start + size] for start in range(0, len(fresh), size)]
            self._undelivered[source] += len(cuts)
            lanes.append([(source, cut) for cut in cuts])
        for turn in itertools.zip_longest(*lanes):
            yield from (chunk for chunk in turn if chunk is not None)

    def _deliver(self, source: SourcePartition, records: list[Any], seeks: int) -> tuple[TP, ConsumerMessage]:
        tp = TP(*source)
        newest = records[-1]
        size = sum([len(record.key or b"") + len(record.value or b"") for record in records])
        delivery = self.ledger.deliver(source, records[0].offset, newest.offset, len(records), size)
        return tp, ConsumerMessage(
            *source,
            newest.offset,
            timestamp=newest.timestamp / 1000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=Chunk(delivery, records, seeks),
            checksum=None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )


class BatchTransport(driver.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the chunk consumer."""

    Consumer = BatchConsumer
