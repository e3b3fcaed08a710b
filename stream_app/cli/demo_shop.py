"""The demo's shop: simulated days at a steady pace into Kafka, and customers who react to what they are sent."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pydantic import ValidationError

from stream_app.adapters.clients import client_arguments
from stream_app.core.outputs import Intervention
from stream_app.core.times import DAY_MS, to_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.simulation import Shop, ShopConfig, SimulatedEvent

CUSTOMERS = 450
DAYS = 500
VISITS_PER_ORDER = 5.0
"""Fewer than real shops have: the embedded broker holds everything in memory."""

LINGER_MS = 20


class DemoShop:
    """A simulated shop whose last day is yesterday, so that no event ever lies in the future.

    Parameters
    ----------
    settings
        Where to send.
    seed
        One seed, one shop.
    days_per_second
        How fast its time passes.
    today
        The present.
    """

    def __init__(self, settings: Settings, *, seed: int, days_per_second: float, today: datetime) -> None:
        self._settings = settings
        self._days_per_second = days_per_second
        start = today.astimezone(UTC).date() - timedelta(days=DAYS)
        self._shop = Shop(
            ShopConfig(customers=CUSTOMERS, days=DAYS, seed=seed, start=start, visits_per_order=VISITS_PER_ORDER)
        )
        self._start_ms = to_ms(datetime(start.year, start.month, start.day, tzinfo=UTC))
        self.sent = 0
        self.reactions = 0
        self.over = False

    async def run(self) -> None:
        """Live until the last day is over; cancel to close the shop earlier."""
        async with self._producer() as producer, self._interventions() as interventions:
            opened = time.monotonic()
            for event in self._shop.events():
                due = opened + (event.at_ms - self._start_ms) / DAY_MS / self._days_per_second
                ahead = due - time.monotonic()
                if ahead > 0.02:  # noqa: PLR2004 - shorter waits cost more than they smooth
                    await self._react(interventions)
                    await asyncio.sleep(ahead)
                await self._send(producer, event)
            await producer.flush()
            self.over = True

    async def _send(self, producer: AIOKafkaProducer, event: SimulatedEvent) -> None:
        key = event.key.encode() if event.key is not None else None
        topic = self._settings.topic(event.topic)
        await producer.send(topic, event.value, key=key, timestamp_ms=min(event.at_ms, int(time.time() * 1000)))
        self.sent += 1

    async def _react(self, interventions: AIOKafkaConsumer) -> None:
        for records in (await interventions.getmany(timeout_ms=0)).values():
            for record in records:
                try:
                    intervention = Intervention.model_validate_json(record.value)
                except ValidationError:  # someone else's record: a shop is no judge of contracts
                    continue
                self.reactions += self._shop.react_to(intervention)

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        producer = AIOKafkaProducer(**client_arguments(self._settings), linger_ms=LINGER_MS)
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def _interventions(self) -> AsyncIterator[AIOKafkaConsumer]:
        topic = self._settings.topic(Topic.INTERVENTIONS)
        consumer = AIOKafkaConsumer(topic, **client_arguments(self._settings), auto_offset_reset="earliest")
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()
