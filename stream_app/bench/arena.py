"""Where contenders meet: topics on one broker, a backlog of events that all of them read, and preloaded states."""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.topics_admin import create_topics, plan_topics
from stream_app.bench.population import Population
from stream_app.bench.workload import TOPICS, Event, EventStream, Workload, customer_key, customer_partitions
from stream_app.core.topics import Topic
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    encode_partition_record,
    envelope,
)

BATCH_BYTES = 512 << 10
MAX_IN_FLIGHT = 64
_FIRST_EPOCH = 1


class Loaded(NamedTuple):
    """What was written, and how long it took."""

    records: int
    bytes: int
    seconds: float


class BulkWriter:
    """Writes pre-encoded records as fast as one process can: one record batch after the other for each partition.

    Parameters
    ----------
    settings
        Brokers.
    """

    def __init__(self, settings: Settings) -> None:
        self._producer: Any = AIOKafkaProducer(
            acks=1, max_batch_size=BATCH_BYTES, max_request_size=1_000_000, linger_ms=0, **client_arguments(settings)
        )
        self._builders: dict[tuple[str, int], Any] = {}
        self._in_flight: list[Any] = []
        self.records = 0
        self.bytes = 0

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is left and disconnect."""
        await self.flush()
        await self._producer.stop()

    async def add(self, topic: str, partition: int, key: bytes, value: bytes, timestamp_ms: int) -> None:
        """Take one record."""
        place = (topic, partition)
        builder = self._builders.get(place)
        if builder is None:
            builder = self._builders[place] = self._producer.create_batch()
        if builder.append(key=key, value=value, timestamp=timestamp_ms) is None:
            await self._send(place)
            builder = self._builders[place] = self._producer.create_batch()
            builder.append(key=key, value=value, timestamp=timestamp_ms)
        self.records += 1
        self.bytes += len(value)

    async def flush(self) -> None:
        """Send all that was taken, and wait until the broker has it."""
        for place in list(self._builders):
            await self._send(place)
        await self._settle(0)

    async def push(self) -> None:
        """Send all that was taken without waiting for the broker's answer."""
        for place in list(self._builders):
            await self._send(place)
        self._in_flight = [future for future in self._in_flight if not future.done() or future.result() is None]

    async def _send(self, place: tuple[str, int]) -> None:
        builder = self._builders.pop(place)
        self._in_flight.append(await self._producer.send_batch(builder, place[0], partition=place[1]))
        if len(self._in_flight) > MAX_IN_FLIGHT:
            await self._settle(MAX_IN_FLIGHT // 2)

    async def _settle(self, leave: int) -> None:
        while len(self._in_flight) > leave:
            await self._in_flight.pop(0)


class Arena:
    """One benchmark's topics on one broker.

    Parameters
    ----------
    bootstrap
        The broker.
    workload
        What is fed.
    folder
        For contenders' local files.
    name
        Prefix of all topics and groups; this process's id is added, so that two benchmarks can share a broker.
    clock
        "event" for a backlog, "wall" for a live feed.
    changes
        Settings of the contenders that differ from the benchmark's, by name.
    """

    def __init__(
        self,
        bootstrap: str,
        workload: Workload,
        folder: Path,
        name: str,
        clock: str = "event",
        changes: Mapping[str, str] | None = None,
    ) -> None:
        self.bootstrap = bootstrap
        self.workload = workload
        self.folder = folder
        self.name = f"{name}-{os.getpid()}"
        self.clock = clock
        self.changes = dict(changes or {})
        self._population: Population | None = None

    def values(self, app_id: str) -> dict[str, Any]:
        """Return the settings of one contender by name: shared inputs, everything else its own."""
        topics = {
            "topic_" + role.value.replace("-", "_"): f"{self.name if role in TOPICS else app_id}-{role.value}"
            for role in Topic
        }
        return {
            "bootstrap": self.bootstrap,
            "app_id": app_id,
            "partitions": self.workload.partitions,
            "clock": self.clock,
            "actions_mode": "live",
            "unknown_consent": "allow",
            "pinned_model": "prior",
            "data_dir": str(self.folder / app_id),
            "metrics_host": "127.0.0.1",
            "metrics_port": 0,
            "api_port": 0,
            "log_format": "json",
            **topics,
            **self.changes,
        }

    def settings(self, app_id: str) -> Settings:
        """Return the settings of one contender."""
        return Settings(_env_file=None, **self.values(app_id))

    def environment(self, app_id: str) -> dict[str, str]:
        """Return the same as environment variables, for a process."""
        return {ENV_PREFIX + name.upper(): str(value) for name, value in self.values(app_id).items()}

    def input_names(self) -> set[str]:
        """Return the names of the topics that all contenders read."""
        return {f"{self.name}-{role.value}" for role in TOPICS}

    def population(self) -> Population:
        """Return the preloaded customers."""
        if self._population is None:
            workload = self.workload
            self._population = Population(self.settings(self.name), workload.seed, workload.start_ms)
        return self._population

    def create_topics(self, app_id: str) -> None:
        """Create what one contender needs; the shared inputs with the first of them."""
        create_topics(self.settings(app_id))

    async def delete_topics(self, app_id: str, *, inputs: bool = False) -> None:
        """Delete what one contender used, by name prefix; with `inputs` the shared inputs as well."""
        settings = self.settings(app_id)
        keep = set() if inputs else self.input_names()
        admin = AIOKafkaAdminClient(**client_arguments(settings))
        await admin.start()
        try:
            existing = set(await admin.list_topics())
            own = {plan.name for plan in plan_topics(settings)}
            wanted = {name for name in existing if name in own or app_id in name} - keep
            if wanted:
                await admin.delete_topics(sorted(wanted))
        finally:
            await admin.close()

    async def feed(self, count: int) -> Loaded:
        """Write the backlog."""
        return await self._write(EventStream(self.workload, count))

    async def preload(self, app_id: str) -> Loaded:
        """Write every customer's state, and each partition's record, to a worker's changelog, as a worker would."""
        begun = time.monotonic()
        settings, workload, population = self.settings(app_id), self.workload, self.population()
        writer = BulkWriter(settings)
        await writer.start()
        try:
            prefix, topic = envelope(STATE, _FIRST_EPOCH, 0), settings.changelog_topic
            partitions = customer_partitions(workload.customers, workload.partitions).tolist()
            for index, partition in enumerate(partitions):
                key = customer_key(index)
                value = prefix + population.state(key.decode())
                await writer.add(topic, partition, key, value, workload.start_ms)
            closing = envelope(PARTITION, _FIRST_EPOCH, 0) + encode_partition_record(
                PartitionRecord(population.memory())
            )
            for partition in range(workload.partitions):
                await writer.add(topic, partition, PARTITION_KEY, closing, workload.start_ms)
        finally:
            await writer.stop()
        return Loaded(writer.records, writer.bytes, time.monotonic() - begun)

    async def _write(self, events: Iterable[Event]) -> Loaded:
        begun = time.monotonic()
        writer = BulkWriter(self.settings(self.name))
        await writer.start()
        names = [f"{self.name}-{role.value}" for role in TOPICS]
        try:
            for event in events:
                await writer.add(names[event.topic], event.partition, event.key, event.value, event.at_ms)
        finally:
            await writer.stop()
        return Loaded(writer.records, writer.bytes, time.monotonic() - begun)
