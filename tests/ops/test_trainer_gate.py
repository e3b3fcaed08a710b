"""How long a feeder waits for workers: as long as they get on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.feeding import Feeder, FeedError
from stream_app.adapters.trainer_gate import TrainerGate
from stream_app.core.partition import PartitionState
from stream_app.settings import Settings
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    PartitionRecord,
    SourcePosition,
    encode_partition_record,
    envelope,
)

pytestmark = pytest.mark.kafka
STEP_SECONDS = 0.3
PATIENCE_SECONDS = 1.5
AT_MS = 1_000_000


@contextlib.asynccontextmanager
async def worker(settings: Settings, reached: Callable[[int], tuple[int, int]]) -> AsyncIterator[None]:
    """Write what a worker writes after each batch: by step, event time and how many ticks it has processed."""

    async def write() -> None:
        async with AIOKafkaProducer(**client_arguments(settings)) as producer:
            for step in range(1_000):
                frontier_ms, ticks = reached(step)
                positions = {"ticks": SourcePosition(0, ticks)}
                record = PartitionRecord(PartitionState(frontier_ms=frontier_ms, population={}), positions)
                value = envelope(PARTITION, 1, step) + encode_partition_record(record)
                await producer.send_and_wait(settings.changelog_topic, value, key=PARTITION_KEY, partition=0)
                await asyncio.sleep(STEP_SECONDS)  # how slow this worker is: what the test is about

    task = asyncio.create_task(write())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _pass(settings: Settings) -> None:
    async with Feeder(settings) as feeder, TrainerGate(settings, feeder, PATIENCE_SECONDS) as gate:
        await gate.pass_to(AT_MS)


async def test_a_slow_worker_that_gets_on_is_waited_for(kafka_settings: Settings) -> None:
    steps = int(2 * PATIENCE_SECONDS / STEP_SECONDS)

    async with worker(kafka_settings, lambda step: (min(step, steps) * AT_MS // steps, min(step, 2))):
        await _pass(kafka_settings)


async def test_one_that_is_started_again_and_again_is_not(kafka_settings: Settings) -> None:
    async with worker(kafka_settings, lambda _: (0, 0)):
        with pytest.raises(FeedError, match="nothing has moved for 2 s: the workers have not processed"):
            await _pass(kafka_settings)


async def test_nobody_at_all_is_told_of(kafka_settings: Settings) -> None:
    with pytest.raises(FeedError, match="is one running"):
        await _pass(kafka_settings)
