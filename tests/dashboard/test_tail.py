"""The readers on a real broker: what was there before, what comes after, and that nobody's offsets move."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.adapters.topics_admin import create_topics
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.dashboard.board import Board
from stream_app.dashboard.tail import Flow, Tail
from stream_app.settings import Settings

pytestmark = pytest.mark.kafka

SCORE = (
    b'{"customer_id":"%s","event_time":"2026-03-01T12:00:00Z","probability":0.7,"horizon_days":30,"tier":"high",'
    b'"cold_start":false,"model_version":"m1"}'
)


@asynccontextmanager
async def reading(reader: Tail | Flow) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(reader.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(happened: Callable[[], bool], task: "asyncio.Task[None]") -> None:
    """Wait until something is so; the test's own time limit ends it, and a reader that failed says why."""
    while not happened():
        if task.done():
            task.result()
        await asyncio.sleep(0.05)


async def send(settings: Settings, topic: Topic, *records: tuple[bytes, bytes]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap)
    await producer.start()
    for key, value in records:
        await producer.send_and_wait(settings.topic(topic), value, key=key)
    await producer.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Any:
    with EmbeddedBroker(tmp_path / "broker") as broker:
        yield Settings(bootstrap=broker.bootstrap, partitions=3, topic_churn_scores="shop.scores")


async def test_the_board_shows_what_was_there_and_what_comes(settings: Settings) -> None:
    create_topics(settings)
    await send(settings, Topic.SCORES, *((b"c%d" % one, SCORE % b"c%d" % one) for one in range(5)))
    board = Board()

    async with reading(Tail(settings, board, inputs=True)) as task:
        await until(lambda: board.census.counts()["high"] == 5, task)
        await send(settings, Topic.SCORES, (b"later", SCORE % b"later"))
        await until(lambda: board.census.counts()["high"] == 6, task)

    assert board.unreadable == 0


async def test_it_waits_for_topics_that_do_not_exist_yet(settings: Settings) -> None:
    board = Board()
    tail = Tail(settings, board, inputs=False)

    async with reading(tail) as task:
        await until(lambda: "shop.scores" in tail.waiting_for, task)
        create_topics(settings)
        await send(settings, Topic.SCORES, (b"c1", SCORE % b"c1"))
        await until(lambda: board.census.counts()["high"] == 1, task)

    assert tail.waiting_for == ()


async def test_the_flow_counts_events_and_moves_no_offsets(settings: Settings) -> None:
    create_topics(settings)
    await send(settings, Topic.ORDERS, *((b"c%d" % one, b"{}") for one in range(7)))
    flow = Flow(settings)

    async with reading(flow) as task:
        await until(lambda: flow.meter.count == 7, task)

    assert flow.lag is None, "no worker has committed anything"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap, group_id=settings.app_id, enable_auto_commit=False
    )
    await consumer.start()
    places = [TopicPartition(settings.topic(role), number) for role in CUSTOMER_TOPICS for number in range(3)]
    committed = [await consumer.committed(place) for place in places]
    await consumer.stop()
    assert committed == [None] * len(places)
