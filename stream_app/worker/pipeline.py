"""The data path: chunks in, micro-batches through the engine, effects out, in the one order in which nothing is lost.

Per micro-batch: process; send all outputs but interventions, and dead letters, and await them; write the changelog
(states and the partition record with the encoded interventions) and await it; send the interventions and await them;
finish the chunks, so that their offsets may be committed. Whatever goes wrong ends the process with nothing
acknowledged, and the next owner does it again: deduplicated by the states, the interventions with the same ids and
bytes from the outbox.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder, record_effects
from stream_app.core.topics import Topic
from stream_app.decisions.types import Decider
from stream_app.engine.engine import Engine
from stream_app.learning.scorer import Scorer
from stream_app.worker.aligner import records_in
from stream_app.worker.batches import Batch, Batcher, Share
from stream_app.worker.intake import Intake, Source
from stream_app.worker.offsets import SourcePartition
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.owned import Owned, Work
from stream_app.worker.ownership import Ownership
from stream_app.worker.publisher import Publisher

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
BUFFERED_IDLE_SECONDS = 0.01
"""How soon to look again while something waits in the merge: whether a topic still lags is seen only by looking."""

BUSY_WAIT_SHARE = 0.05
"""How much of the time spent on batches counts as waiting for a topic that lags: a worker that works a backlog off
leaves its consumer little time to fetch, and giving up then would apply a month of orders before the clicks."""

POINTS_AT_ONCE = 500
"""Points of several partitions that are scored in one block, roughly: more do not make a point cheaper."""


class ChunkSource(Protocol):
    """What the pipeline needs of the consumer."""

    def taken(self, chunk: Any) -> bool:
        """Note that a chunk was handed over; False if it is stale and must not be processed."""
        ...

    def finish(self, chunk: Any) -> None:
        """Note that a chunk is processed and its effects durable."""
        ...

    def lags(self, source: SourcePartition) -> bool:
        """Tell whether the log is known to hold records that were not handed over."""
        ...

    def held(self) -> tuple[int, int]:
        """Return records and bytes that were fetched and are not done."""
        ...


class CoPartitioningError(RuntimeError):
    """A source partition came without its customers' partition."""


class Pipeline:
    """Everything between chunk and acknowledgement, for all partitions that this worker owns.

    Parameters
    ----------
    engine
        Shared by all partitions.
    sources
        The topics that are read, by their names.
    intake, batcher, ownership, publisher
        Its stages.
    metrics
        Where batches are measured.
    now_ms
        Wall clock, for the age of interventions only.
    """

    def __init__(
        self,
        engine: Engine,
        sources: Iterable[Source],
        intake: Intake,
        batcher: Batcher,
        ownership: Ownership,
        publisher: Publisher,
        metrics: Recorder,
        now_ms: Callable[[], int],
    ) -> None:
        self._engine = engine
        self._sources = {source.name: source for source in sources}
        self._intake = intake
        self._batcher = batcher
        self._ownership = ownership
        self._publisher = publisher
        self._metrics = metrics
        self._now_ms = now_ms
        self._consumer: ChunkSource | None = None
        self._next_scorer: Scorer | None = None
        self._next_decider: Decider | None = None
        self._sides: list[Outgoing] = []
        self._empty: list[Work] = []
        self._resting = True
        self._stopping = False
        self._busy_seconds = 0.0
        self._cycle_lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self.owned: dict[int, Owned] = {}

    @property
    def is_working(self) -> bool:
        """True while partitions are restored and nothing is being handed over."""
        return not self._resting

    def attach(self, consumer: ChunkSource) -> None:
        """Say where chunks come from; before the first of them."""
        self._consumer = consumer

    def install(self, scorer: Scorer) -> None:
        """Serve another model from the next batch on."""
        self._next_scorer = scorer
        self._wake.set()

    def install_decider(self, decider: Decider) -> None:
        """Decide by another catalogue or policy from the next batch on."""
        self._next_decider = decider
        self._wake.set()

    def take(self, topic: str, partition: int, chunk: Any) -> None:
        """Take in one chunk. While resting, and if it is stale, it is dropped: it will be read again.

        Raises
        ------
        CoPartitioningError
            The partition's customers are not here.
        DeadLetterFloodError
            Too many records are bad.
        """
        assert self._consumer is not None
        if not self._consumer.taken(chunk) or self._resting:
            return
        source = self._sources[topic]
        owned = self.owned.get(partition)
        if owned is None and source.lane is not None:
            raise CoPartitioningError(
                f"{topic}/{partition} was assigned without the customers of partition {partition}: do all workers of "
                "this app id run the same release and settings?"
            )
        work = Work(chunk, source)
        known = owned.store if owned is not None else ()
        taken = self._intake.take(source, partition, chunk.records, known, work)
        self._sides += taken.sides
        work.remaining = records_in(taken.items)
        if owned is not None and source.lane is not None:
            owned.aligner.push(source.lane, taken.items)
        if not work.remaining:
            self._empty.append(work)
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`; raises whatever went wrong, with nothing of the batch acknowledged."""
        while not self._stopping:
            self._wake.clear()
            worked = False
            async with self._cycle_lock:
                begun = time.monotonic()
                if not self._resting:
                    worked = await self._cycle(begun)
                    self._busy_seconds += time.monotonic() - begun
            if worked:
                await asyncio.sleep(0)
                continue
            buffered = any(owned.aligner.buffered for owned in self.owned.values())
            try:
                async with asyncio.timeout(BUFFERED_IDLE_SECONDS if buffered else IDLE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Let `run` end after the batch under way."""
        self._stopping = True
        self._wake.set()

    async def quiesce(self) -> None:
        """Finish the batch under way, drop what is buffered, and take nothing until partitions are given again."""
        self._resting = True
        async with self._cycle_lock:
            for owned in self.owned.values():
                owned.drop_buffered()
            self._sides.clear()
            self._empty.clear()

    async def own(self, partitions: set[int]) -> None:
        """Take over what is new, let go of what is gone, keep the rest as it is, and begin to work.

        Raises
        ------
        ChangelogError, ChangelogFormatError, PublishError
            The changelog cannot be read, understood or written.
        """
        async with self._cycle_lock:
            for number in set(self.owned) - partitions:
                self._let_go(number)
            kept = await self._ownership.still_ours(self.owned)
            for number in set(self.owned) - kept:
                # Someone owned it in between: what we know of it is old.
                self._let_go(number)
            taken = await self._ownership.take_over(partitions - set(self.owned))
            self.owned |= taken
            self._metrics.gauge("partitions_owned", len(self.owned))
            logger.info(
                "owns",
                extra=fields(
                    partitions=",".join(str(number) for number in sorted(self.owned)),
                    kept=len(self.owned) - len(taken),
                    restored=len(taken),
                ),
            )
            self._resting = False
            self._wake.set()

    def close(self) -> None:
        """Let go of all partitions, as the process ends."""
        for number in list(self.owned):
            self._let_go(number)

    def idle_partitions(self, since_seconds: float) -> list[int]:
        """Return the owned partitions in which nothing was processed since a moment on the steady clock."""
        return [number for number, owned in self.owned.items() if owned.active_at_seconds < since_seconds]

    def _let_go(self, number: int) -> None:
        self.owned.pop(number).store.close()
        self._metrics.forget("watermark_timestamp_seconds", partition=str(number))

    async def _cycle(self, begun: float) -> bool:
        if self._next_scorer is not None:
            self._engine.install(self._next_scorer)
            self._next_scorer = None
        if self._next_decider is not None:
            self._engine.install_decider(self._next_decider)
            self._next_decider = None
        shares = []
        waited_ms = int((begun - self._busy_seconds * (1 - BUSY_WAIT_SHARE)) * 1000)
        for owned in list(self.owned.values()):
            share = self._prepare(owned, begun, waited_ms)
            if share is not None:
                shares.append(share)
                await asyncio.sleep(0)
        batches = []
        for together in _blocks(shares):
            self._batcher.conclude(together)
            for share in together:
                batches.append(self._batcher.close(share, self._now_ms()))
                await asyncio.sleep(0)
        # Taken only now: what came in between has its dead letters here, and its entries in this batch or a later one.
        sides, self._sides = self._sides, []
        empty, self._empty = self._empty, []
        if not (batches or sides or empty):
            return False
        await self._publisher.send([*sides, *(output for batch in batches for output in batch.outputs)])
        written = time.monotonic()
        await asyncio.gather(*(self._ownership.write(batch.owned, batch.changelog) for batch in batches))
        if batches:
            self._metrics.observe("changelog_seconds", time.monotonic() - written)
        interventions = [pending for batch in batches for pending in batch.interventions]
        if interventions:
            await self._publisher.send(self._batcher.to_outgoing(pending) for pending in interventions)
        self._finish(batches, empty, begun)
        return True

    def _prepare(self, owned: Owned, now_seconds: float, waited_ms: int) -> Share | None:
        if not owned.ready:
            assert self._consumer is not None
            lagging = {
                source.lane
                for source in self._sources.values()
                if source.lane is not None and self._consumer.lags(SourcePartition(source.name, owned.partition))
            }
            released = owned.aligner.release(self._batcher.limit, lagging, waited_ms)
            owned.ready.extend(released.items)
            owned.hold_ms = released.hold_ms
            for lane in released.given_up:
                self._metrics.count("alignment_waits_exceeded", topic=self._name_of_lane(lane))
        share = self._batcher.fold(owned)
        if share is not None:
            owned.active_at_seconds = now_seconds
        return share

    def _finish(self, batches: list[Batch], empty: list[Work], begun: float) -> None:
        assert self._consumer is not None
        now = time.monotonic()
        now_ms = self._now_ms()
        for work in empty:
            self._consumer.finish(work.chunk)
        for batch in batches:
            for work in batch.finished:
                self._consumer.finish(work.chunk)
            for effects in batch.effects:
                record_effects(self._metrics, effects)
            if batch.oldest_ms:
                self._metrics.observe("end_to_end_seconds", max(0, now_ms - batch.oldest_ms) / 1000)
            frontier_ms = batch.owned.shard.memory.frontier_ms
            self._metrics.gauge("watermark_timestamp_seconds", frontier_ms / 1000, partition=str(batch.owned.partition))
        self._metrics.observe("batch_seconds", now - begun)
        self._metrics.observe("batch_records", sum(batch.records for batch in batches))
        records, _ = self._consumer.held()
        self._metrics.gauge("buffered_records", records)

    def _name_of_lane(self, lane: int) -> str:
        return next(source.name for source in self._sources.values() if source.lane == lane)


def _blocks(shares: Iterable[Share]) -> Iterator[list[Share]]:
    """Group shares whose points are scored together: enough for a block, and not so many that nothing else gets on."""
    together: list[Share] = []
    points = 0
    for share in shares:
        together.append(share)
        points += share.open_points
        if points >= POINTS_AT_ONCE:
            yield together
            together, points = [], 0
    if together:
        yield together


def sources_of(names: dict[Topic, str], aligned: Iterable[Topic], foreign: Iterable[Topic]) -> list[Source]:
    """Return the sources of a pipeline: lanes in the order of `aligned`, and topics that are only re-published."""
    lanes = [Source(role, names[role], lane) for lane, role in enumerate(aligned)]
    return [*lanes, *(Source(role, names[role], None) for role in foreign)]
