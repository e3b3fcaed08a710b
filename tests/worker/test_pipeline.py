"""The pipeline's own part: how long the merge waits for a topic while the worker is busy."""

from collections.abc import Iterable, Sequence
from typing import Any

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.stores import MemoryStore
from stream_app.core.partition import PartitionState
from stream_app.core.records import Position, Record
from stream_app.core.topics import Topic
from stream_app.wire.decode import DecodeLimits
from stream_app.wire.encode import EncodePolicy
from stream_app.worker.aligner import Aligner, Item
from stream_app.worker.batches import Batcher, BatchPolicy
from stream_app.worker.intake import Intake, Source
from stream_app.worker.offsets import SourcePartition
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.owned import Owned, Work
from stream_app.worker.pipeline import BUSY_WAIT_SHARE, Pipeline
from tests.support.engines import build_engine

CLICKS, ORDERS = Source(Topic.CLICKSTREAM, "clickstream", 0), Source(Topic.ORDERS, "orders", 1)
WAIT_MS = 500


class LaggingClicks:
    """A consumer whose log holds clicks that do not come."""

    finished = 0

    def taken(self, chunk: Any) -> bool:
        return bool(chunk)

    def finish(self, chunk: Any) -> None:
        self.finished += bool(chunk)

    def lags(self, source: SourcePartition) -> bool:
        return source.topic == CLICKS.name

    def held(self) -> tuple[int, int]:
        return 0, 0


class Writer:
    """Publisher and ownership that accept everything."""

    async def send(self, records: Iterable[Outgoing]) -> None:
        list(records)

    async def write(self, owned: Owned, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        assert owned.partition == 0
        assert records


class Polled:
    """As much of a ConsumerRecord as is looked at."""

    timestamp = 1


def waiting_pipeline() -> tuple[Pipeline, LaggingClicks]:
    """Return a pipeline with one order that the merge holds back for the clicks."""
    engine, metrics = build_engine(), Metrics("worker")
    intake = Intake(DecodeLimits(), 1, "rerouted", "dead", 1_000, metrics)
    batcher = Batcher(engine, intake, BatchPolicy(10, EncodePolicy(), 0, None), lambda role: role.value, metrics)
    writer: Any = Writer()
    pipeline = Pipeline(engine, [CLICKS, ORDERS], intake, batcher, writer, writer, metrics, lambda: 0)
    consumer, store = LaggingClicks(), MemoryStore()
    pipeline.attach(consumer)
    shard = engine.open_shard(0, store, PartitionState(population={}))
    owned = pipeline.owned[0] = Owned(0, store, shard, Aligner(2, WAIT_MS), {})
    work = Work("chunk", ORDERS)
    work.remaining = 1
    erased = Record(Position(Topic.CUSTOMERS, 0, 0), "ada", 1_000, None)
    owned.aligner.push(1, [Item(1_000, 1, 0, erased, (Polled(),), work, 1_000)])
    return pipeline, consumer


async def test_time_spent_on_batches_hardly_counts_as_waiting_for_a_topic() -> None:
    pipeline, consumer = waiting_pipeline()
    assert not await pipeline._cycle(0.0)
    busy_seconds = 0.9 * WAIT_MS / 1000 / BUSY_WAIT_SHARE
    pipeline._busy_seconds = busy_seconds
    assert not await pipeline._cycle(busy_seconds)
    assert await pipeline._cycle(busy_seconds + 0.2 * WAIT_MS / 1000)
    assert consumer.finished == 1


async def test_however_busy_the_worker_is_a_topic_is_given_up_in_the_end() -> None:
    pipeline, consumer = waiting_pipeline()
    assert not await pipeline._cycle(0.0)
    pipeline._busy_seconds = 1.1 * WAIT_MS / 1000 / BUSY_WAIT_SHARE
    assert await pipeline._cycle(pipeline._busy_seconds)
    assert consumer.finished == 1
