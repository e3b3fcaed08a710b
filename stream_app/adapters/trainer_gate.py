"""Lets a feeder wait until workers and trainer have taken in all that was fed: history then is learned as it happened.

Fed at full speed, a year of history is scored by models that have seen little of it. The gate closes an event-day at a
time: workers process everything before midnight, time passes up to midnight in every partition (by tick records, which
are in the log like everything else), the trainer learns the labels that came due, and the workers serve what it
published. What is known of all that stands on the topics: partition records, and the positions on model snapshots.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.adapters.feeding import Feeder, FeedError
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.core.times import from_ms
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.settings import Settings
from stream_app.wire.partition_record import (
    ENVELOPE_BYTES,
    PARTITION_KEY,
    PartitionRecord,
    SourcePosition,
    decode_partition_record,
)

PATIENCE_SECONDS = 300.0
_POLL_MS = 50
_READ = (*CUSTOMER_TOPICS, Topic.REROUTED)
_LEARNED = (Topic.TRAINING, Topic.POPULATION)
_NOWHERE = SourcePosition(0, 0)


class TrainerGate:
    """Waits for workers and trainer; an async context manager.

    Parameters
    ----------
    settings
        Brokers, topics, partition count; the event clock.
    feeder
        What feeds; it is flushed before each wait.
    patience_seconds
        How long to wait while nothing moves: neither a position or the event time of a partition, nor how far the
        trainer has learned. A day of a large shop may take longer than that; a process that is started again and again
        moves nothing.
    """

    def __init__(self, settings: Settings, feeder: Feeder, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._settings = settings
        self._feeder = feeder
        self._patience_seconds = patience_seconds
        self._registry = ModelRegistry()
        self._snapshots = settings.topic(Topic.SNAPSHOTS)
        self._records: dict[int, PartitionRecord] = {}
        self._passed_ms = 1
        self._moves = 0
        self._follower = AIOKafkaConsumer(
            **client_arguments(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        # Has the workers' group and never joins it: it only asks what they have committed.
        self._group = AIOKafkaConsumer(**client_arguments(settings), group_id=settings.app_id, enable_auto_commit=False)

    async def pass_to(self, at_ms: int) -> None:
        """Let event time pass to a moment behind everything fed so far, and return when the newest model is served.

        Raises
        ------
        FeedError
            Workers or trainer do not get on; the message says who, and what to do.
        """
        await self._tick(self._passed_ms)
        fed = await self._ends((*_READ, Topic.TICKS))
        await self._until(lambda: self._processed(fed), "the workers have not processed what was fed: is one running?")
        self._passed_ms = at_ms
        await self._tick(at_ms)
        fed = await self._ends((*_READ, Topic.TICKS))
        await self._until(lambda: self._processed(fed, at_ms), "the workers do not let event time pass: see their logs")
        learned = await self._ends(_LEARNED)
        await self._until(
            lambda: self._published(learned),
            "the trainer has not published what it was given: is it running, and is STREAM_APP_SNAPSHOT_SECONDS small?",
        )
        # The ticks of this wait move positions themselves, and say nothing of the model.
        refused = "the workers do not serve the newest model: see their logs for a refusal"
        await self._until(self._served, refused, is_renewed=False)

    async def __aenter__(self) -> Self:
        settings = self._settings
        await self._follower.start()
        try:
            await self._group.start()
            changelog = [TopicPartition(settings.changelog_topic, number) for number in range(settings.partitions)]
            snapshots = [TopicPartition(self._snapshots, number) for number in await self._numbers(self._snapshots)]
            self._follower.assign([*changelog, *snapshots])
            await self._follower.seek_to_end(*changelog)
            await self._follower.seek_to_beginning(*snapshots)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_consumer(self._follower)
        await stop_consumer(self._group)

    async def _tick(self, at_ms: int) -> None:
        value = json.dumps({"timestamp": from_ms(at_ms).isoformat()}).encode()
        record_ms = min(at_ms, time.time_ns() // 1_000_000)
        for number in range(self._settings.partitions):
            await self._feeder.send(Topic.TICKS, str(number), value, record_ms, partition=number)
        await self._feeder.flush()

    async def _ends(self, roles: tuple[Topic, ...]) -> dict[tuple[Topic, int], int]:
        """Return where the topics end now, empty partitions left out."""
        places = {
            TopicPartition(name, number): role
            for role in roles
            for name in [self._settings.topic(role)]
            for number in await self._numbers(name)
        }
        ends = await self._group.end_offsets(list(places))
        return {(places[place], place.partition): end for place, end in ends.items() if end}

    async def _numbers(self, topic: str) -> list[int]:
        # What the consumer knows by itself is from when it connected: a topic made just before can be missing there.
        cluster = await self._group._client.fetch_all_metadata()  # noqa: SLF001 - there is no public way
        return sorted(cluster.partitions_for_topic(topic) or ())

    async def _processed(self, fed: Mapping[tuple[Topic, int], int], at_ms: int = 0) -> bool:
        """Say whether every partition has come so far. What was refused or re-published only the commits tell."""
        if len(self._records) < self._settings.partitions:
            return False
        if any(record.memory.frontier_ms < at_ms for record in self._records.values()):
            return False
        missing = [
            TopicPartition(self._settings.topic(role), number)
            for (role, number), end in fed.items()
            if number not in self._records
            or self._records[number].positions.get(role.value, _NOWHERE).next_offset < end
        ]
        committed = [await self._group.committed(place) for place in missing]
        roles = {self._settings.topic(role): role for role, _ in fed}
        return all(
            (done or 0) >= fed[roles[place.topic], place.partition]
            for place, done in zip(missing, committed, strict=True)
        )

    async def _published(self, learned: Mapping[tuple[Topic, int], int]) -> bool:
        if not learned:
            return True
        positions = json.loads(self._learned() or "{}")
        return all(positions.get(role.value, {}).get(str(number), 0) >= end for (role, number), end in learned.items())

    async def _served(self) -> bool:
        wanted = self._registry.choice(self._settings.horizon_days, self._settings.pinned_model).version
        if not wanted or all(record.memory.model_version == wanted for record in self._records.values()):
            return True
        # A worker notes its model with the next batch: give it one.
        await self._tick(self._passed_ms)
        return False

    async def _until(self, is_met: Callable[[], Awaitable[bool]], complaint: str, *, is_renewed: bool = True) -> None:
        deadline, moves = time.monotonic() + self._patience_seconds, self._moves
        while not await is_met():
            if is_renewed and self._moves != moves:
                deadline, moves = time.monotonic() + self._patience_seconds, self._moves
            fetched = await self._follower.getmany(timeout_ms=_POLL_MS)
            for records in fetched.values():
                for record in records:
                    self._take(record)
            if time.monotonic() > deadline:
                raise FeedError(f"nothing has moved for {self._patience_seconds:.0f} s: {complaint}")
            await asyncio.sleep(0)

    def _take(self, record: ConsumerRecord) -> None:
        if record.topic == self._snapshots:
            before = self._learned()
            self._registry.apply(record.key, record.value, record.headers, record.timestamp)
            self._moves += self._learned() != before
        elif record.key == PARTITION_KEY and record.value is not None:
            known = self._records.get(record.partition)
            told = decode_partition_record(memoryview(record.value)[ENVELOPE_BYTES:])
            self._records[record.partition] = told
            self._moves += known is None or _reached(known) != _reached(told)

    def _learned(self) -> str:
        """Return how far the trainer had read for its newest model, as JSON; empty before the first."""
        newest = self._registry.snapshots.get(self._registry.pointer("served", self._settings.horizon_days))
        return newest.positions if newest is not None else ""


def _reached(record: PartitionRecord) -> tuple[int, Mapping[str, SourcePosition]]:
    return record.memory.frontier_ms, record.positions
