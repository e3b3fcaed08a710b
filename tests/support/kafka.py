"""Brokers, logs and workers for tests: the real ones, with topics of each test's own."""

import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker
from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.adapters.metrics import Metrics
from stream_app.adapters.stores import MemoryStore
from stream_app.core.events import CustomerRecord
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS, MINUTE_MS, to_ms
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.engine.shard import DictStore, Shard
from stream_app.settings import Settings
from stream_app.wire.decode import decode
from stream_app.wire.partition import partition_of
from stream_app.wire.state_codec import decode_state, encode_state
from stream_app.worker.aligner import UNBOUNDED, Aligner, Item
from stream_app.worker.changelog import Changelog
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.publisher import Publisher
from stream_app.worker.restoring import Restored, Restorer
from stream_app.worker.run import Worker, build_worker, running
from stream_app.worker.source_topics import ALIGNED
from tests.support import logs
from tests.support.probe import GroupProbe

PATIENCE_SECONDS = 150.0
LONGEST_LOOK_SECONDS = 30.0
"""What one look and the pause after it may take; more is time in which this process did not run."""

Broker = EmbeddedBroker | ApacheKafka | None
"""What the session started; None for a given bootstrap."""

NewSettings = Callable[..., Settings]


class Raw(NamedTuple):
    """A record to feed."""

    role: Topic
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


def raw(event: CustomerRecord) -> Raw:
    value = event.model_dump_json().encode()
    return Raw(logs.topic_of(event), event.customer_id.encode(), value, to_ms(event.timestamp))


def shop(seed: int, events: int, customers: int = 40, days: int = 120) -> list[Raw]:
    """A log of a shop that looks like one: mostly clicks, then orders and reviews, in event-time order."""
    chance = random.Random(seed)
    made: list[CustomerRecord] = []
    moments = sorted(chance.randrange(days * DAY_MS // MINUTE_MS) for _ in range(events))
    names = [f"customer-{number}" for number in range(customers)]
    for number, name in enumerate(names):
        made.append(logs.profile(name, logs.START_MS - (number + 1) * MINUTE_MS, profiling=None))
    for moment in moments:
        name, at_ms = chance.choice(names), logs.START_MS + moment * MINUTE_MS
        kind = chance.random()
        if kind < 0.75:
            made.append(logs.click(name, at_ms, f"c{len(made)}", kind=chance.choice(["product_view", "add_to_cart"])))
        elif kind < 0.92:
            made.append(logs.order(name, at_ms, f"o{len(made)}", amount=round(chance.uniform(5, 200), 2)))
        elif kind < 0.97:
            text = chance.choice(["Terrible, it broke", "Lovely, thank you", "It is a box"])
            made.append(logs.review(name, at_ms, text))
        else:
            made.append(logs.feedback(name, at_ms))
    return [raw(event) for event in made]


async def feed(settings: Settings, records: Iterable[Raw]) -> None:
    """Send records, each keyed and placed as it says, in order within each partition."""
    producer = AIOKafkaProducer(**client_arguments(settings), max_batch_size=500_000)
    await producer.start()
    try:
        # aiokafka's `send` refuses a record with neither key nor value; other clients send such, and so does this.
        await Publisher(producer).send(
            Outgoing(
                settings.topic(record.role),
                _place(settings, record),
                record.key,
                record.value,
                record.headers,
                record.timestamp_ms,
            )
            for record in records
        )
    finally:
        await producer.stop()


def _place(settings: Settings, record: Raw) -> int:
    if record.partition is not None:
        return record.partition
    assert record.key is not None, "say where a record without a key goes"
    return partition_of(record.key, settings.partitions)


async def read_all(settings: Settings, topic: str) -> list[Any]:
    """Return every record of a topic, partition by partition, in order."""
    consumer = AIOKafkaConsumer(**client_arguments(settings), auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    try:
        numbers = await _partitions(consumer, topic)
        places = [TopicPartition(topic, number) for number in numbers]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        found: dict[int, list[Any]] = defaultdict(list)
        while [place for place in places if await consumer.position(place) < ends[place]]:
            for place, batch in (await consumer.getmany(timeout_ms=200)).items():
                found[place.partition] += batch
        return [record for number in sorted(found) for record in found[number]]
    finally:
        await stop_consumer(consumer)


async def lag(settings: Settings) -> int:
    """Return how many records of the customer topics, `rerouted` and `ticks` the group has not committed."""
    consumer = AIOKafkaConsumer(**client_arguments(settings), group_id=settings.app_id, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [
            TopicPartition(settings.topic(role), number) for role in ALIGNED for number in range(settings.partitions)
        ]
        ends = await consumer.end_offsets(places)
        return sum([ends[place] - (await consumer.committed(place) or 0) for place in places])
    finally:
        await stop_consumer(consumer)


async def until(condition: Callable[[], Any], what: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Look again and again until a condition (it may be a coroutine function) holds; fail if it never does.

    Only time in which this process runs counts: somebody may have stopped it, to measure something else.
    """
    looked, waited = time.monotonic(), 0.0
    while True:
        met = condition()
        if asyncio.iscoroutine(met):
            met = await met
        if met:
            return
        waited += min(time.monotonic() - looked, LONGEST_LOOK_SECONDS)
        looked = time.monotonic()
        if waited > patience_seconds:
            raise AssertionError(f"after {patience_seconds:.0f} s still not: {what}")
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def worker_of(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Worker]:
    """A worker inside this process."""
    worker = await build_worker(settings, metrics if metrics is not None else Metrics("worker"))
    async with running(worker):
        yield worker
        if worker.failure.done() and worker not in _excused:
            raise worker.failure.result()


_excused: list[Worker] = []


def excuse(worker: Worker) -> None:
    """Say that a worker was meant to fail."""
    _excused.append(worker)


async def until_processed(settings: Settings, worker: Worker | None = None) -> None:
    """Wait until nothing lags; a worker of this process that fails meanwhile fails the test."""

    async def done() -> bool:
        if worker is not None and worker.failure.done():
            raise worker.failure.result()
        return await lag(settings) == 0

    await until(done, "lag is zero")


async def until_written(settings: Settings, records: int) -> None:
    """Wait until the changelog has got so many records since it was made: claims count, too."""
    async with GroupProbe(settings) as probe:

        async def done() -> bool:
            return await probe.written() >= records

        await until(done, f"{records} changelog records")


def home(record: Raw, settings: Settings) -> int:
    """Return the partition of a record."""
    return _place(settings, record)


async def assert_equals_pure(settings: Settings) -> None:
    """Law 2: states and partition memory are those of the engine alone."""
    await assert_equals(settings, await pure_states(settings))


async def assert_equals(settings: Settings, pure: dict[int, Shard]) -> None:
    """The changelog holds exactly the states and the partition memory of these shards."""
    for number, changed in (await restored_states(settings)).items():
        assert changed.restored.unfinished == ()
        expected = states_of(pure[number])
        assert changed.states == expected, _difference(changed.states, expected)
        kept, meant = changed.restored.record.memory, pure[number].memory
        differing = [name for name in kept.__struct_fields__ if getattr(kept, name) != getattr(meant, name)]
        assert not differing, [(name, getattr(kept, name), getattr(meant, name)) for name in differing]


def _difference(found: dict[str, bytes], expected: dict[str, bytes]) -> str:
    """Name the first customer and sub-state that differ."""
    if found.keys() != expected.keys():
        return f"customers {sorted(found.keys() ^ expected.keys())} are only on one side"
    name = next(name for name, encoded in expected.items() if found[name] != encoded)
    ours, theirs = decode_state(found[name]).parts(), decode_state(expected[name]).parts()
    return f"{name}: {[(part, ours[part], theirs[part]) for part in ours if ours[part] != theirs[part]]}"


async def assert_same_folds(settings: Settings, shards: Mapping[int, Shard] | None = None) -> None:
    """Law 1: every sub-state that a topic owns is the fold of that topic, as in the shards of an uninterrupted run."""
    pure = shards if shards is not None else await pure_states(settings)
    for number, changed in (await restored_states(settings)).items():
        expected = dict(pure[number].store.items())
        found = {name: decode_state(encoded) for name, encoded in changed.states.items()}
        assert found.keys() == expected.keys()
        for name, state in found.items():
            for part in ("sources", "orders", "clicks", "reviews", "profile", "contact"):
                assert getattr(state, part) == getattr(expected[name], part), (name, part)


async def process_all(settings: Settings) -> None:
    """Run a worker in this process until nothing lags."""
    async with worker_of(settings) as worker:

        async def done() -> bool:
            if worker.failure.done():
                raise worker.failure.result()
            return worker.pipeline.is_working and await lag(settings) == 0

        await until(done, "lag is zero")


class WorkerProcess:
    """`stream-app worker` as a process of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
        environment |= {
            f"STREAM_APP_{name.upper()}": text_of_setting(value) for name, value in settings if _is_set(settings, name)
        }
        with log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-c", "from stream_app.cli.main import main; main()", "worker"],
                env=environment,
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def terminate(self) -> int:
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(60)

    def wait(self) -> int:
        return self.child.wait(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait(10)


class Changed(NamedTuple):
    """What the changelog of one partition says."""

    states: dict[str, bytes]
    restored: Restored


async def restored_states(settings: Settings) -> dict[int, Changed]:
    """Read the changelog as a new owner would."""
    restorers = {number: Restorer(MemoryStore()) for number in range(settings.partitions)}
    producer = AIOKafkaProducer(**client_arguments(settings))
    changelog = Changelog(settings, Publisher(producer), Metrics("worker"))
    try:
        ends = await changelog.read(
            dict.fromkeys(restorers, 0), None, lambda number, batch: restorers[number].take(batch)
        )
    finally:
        await producer.stop()
    return {
        number: Changed(
            {name: encode_state(state) for name, state in restorer.store.items()}, restorer.finish(ends[number])
        )
        for number, restorer in restorers.items()
    }


async def pure_states(settings: Settings) -> dict[int, Shard]:
    """Run the engine, without Kafka, over what the input topics hold: the merge by heads of each partition."""
    engine = engine_of(settings)
    shards = {number: engine.open_shard(number, DictStore(), PartitionState()) for number in range(settings.partitions)}
    aligners = {number: Aligner(len(CUSTOMER_TOPICS), UNBOUNDED) for number in shards}
    for lane, role in enumerate(CUSTOMER_TOPICS):
        for record in await read_all(settings, settings.topic(role)):
            entry = decode(
                role,
                record.key,
                record.value,
                record.headers,
                record.partition,
                record.offset,
                record.timestamp,
                settings.decode_limits(),
            )
            if not isinstance(entry, Record):
                continue
            if record.key == entry.customer_id.encode():
                item = Item(entry.at_ms, lane, record.offset, entry, (record,), None, entry.at_ms)
                aligners[record.partition].push(lane, [item])
    for number, shard in shards.items():
        entries = [item.entry for item in aligners[number].release(10**9, (), 0).items]
        engine.process(shard, entries)
    return shards


def states_of(shard: Shard) -> dict[str, bytes]:
    return {name: encode_state(state) for name, state in shard.store.items()}


def interventions_by_id(records: Sequence[Any]) -> dict[bytes, set[bytes]]:
    """Return every payload that was sent under each intervention id."""
    payloads: dict[bytes, set[bytes]] = defaultdict(set)
    for record in records:
        payloads[dict(record.headers)["ce_id"]].add(record.value)
    return dict(payloads)


def text_of_setting(value: object) -> str:
    """Return a setting's value as the environment holds it."""
    if hasattr(value, "get_secret_value"):
        return str(value.get_secret_value())
    return json.dumps(value) if isinstance(value, tuple | dict) else str(value)


def _is_set(settings: Settings, name: str) -> bool:
    return name in settings.model_fields_set


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    found: Iterator[int] | None = None
    for _ in range(100):
        await consumer._client.force_metadata_update()
        consumer._client.add_topic(topic)
        found = consumer.partitions_for_topic(topic)
        if found:
            return sorted(found)
        await asyncio.sleep(0.05)
    raise AssertionError(f"no topic {topic}")


def total(metrics: Metrics, name: str) -> float:
    """Return a counter or gauge, summed over its labels."""
    page = metrics.page().decode()
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if re.match(rf"stream_app_{name}[ {{]", line)
    )
