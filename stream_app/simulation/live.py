"""The shop live on Kafka: its events to the topics, and, when asked to respond, interventions back into the shop.

The closed loop is that of `Shop`: whoever receives an intervention calls `react`, and its feedback stands in the
stream. Here the receiver is a group-less consumer of the interventions topic that starts at its end.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.feeding import Feeder
from stream_app.core.times import DAY_MS, to_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.files import Progress
from stream_app.simulation.shop import Shop
from stream_app.wire.partition import librdkafka_partition_of

_SHOW_EVERY = 1_000
_BREATH_RECORDS = 200
_SHORTEST_SLEEP_SECONDS = 0.02


class ToldIntervention(msgspec.Struct):
    """What the shop needs of an intervention; all else is the messaging service's."""

    intervention_id: str
    customer_id: str
    action_kind: str
    channel: str
    event_time: str


class _Structured(msgspec.Struct):
    data: ToldIntervention


_decode_binary = msgspec.json.Decoder(ToldIntervention).decode
_decode_structured = msgspec.json.Decoder(_Structured).decode


def parse_intervention(value: bytes) -> ToldIntervention | None:
    """Return an intervention from a CloudEvent, binary or structured; None for what is neither."""
    try:
        return _decode_binary(value)
    except msgspec.DecodeError:
        pass
    try:
        return _decode_structured(value).data
    except msgspec.DecodeError:
        return None


@dataclass(slots=True)
class LiveReport:
    """What a live run did."""

    records: int = 0
    reacted: int = 0
    foreign: int = 0
    """Interventions that were for customers of another shop or could not be read."""


class LiveShop:
    """Runs a shop on Kafka.

    Parameters
    ----------
    settings
        Brokers and topic names.
    shop
        The shop; it is lived through once.
    days_per_second
        Pace in days of event time a second; None: as fast as the broker takes it.
    respond
        React to interventions, with feedback.
    """

    def __init__(self, settings: Settings, shop: Shop, *, days_per_second: float | None, respond: bool) -> None:
        self._settings = settings
        self._shop = shop
        self._days_per_second = days_per_second
        self._respond = respond
        self._listening_task: asyncio.Task[None] | None = None
        self.report = LiveReport()

    async def run(self, events: Iterable[SimulatedEvent], progress: Progress | None = None) -> LiveReport:
        """Send all events of the shop (its own, or spoiled ones); with `respond`, react while they go out.

        `events` must be drawn from the shop lazily, since reactions appear in it.
        """
        async with Feeder(self._settings) as feeder, self._listening():
            started, first_ms = time.monotonic(), self._shop.now_ms
            for event in events:
                if self._days_per_second is not None:
                    due = started + (event.at_ms - first_ms) / DAY_MS / self._days_per_second
                    if due - time.monotonic() > _SHORTEST_SLEEP_SECONDS:
                        await feeder.flush()
                        await asyncio.sleep(due - time.monotonic())
                await self._send(feeder, event)
                if self.report.records % _BREATH_RECORDS == 0:
                    await asyncio.sleep(0)  # lets interventions come in even at full speed
                    self._surface_failures()
                if progress is not None and self.report.records % _SHOW_EVERY == 0:
                    progress(self.report.records, event.at_ms)
            await feeder.flush()
        return self.report

    async def _send(self, feeder: Feeder, event: SimulatedEvent) -> None:
        partition = None
        if event.foreign_partition and event.key is not None:
            partition = librdkafka_partition_of(event.key.encode(), self._settings.partitions)
        record_ms = min(event.at_ms, time.time_ns() // 1_000_000)
        await feeder.send(event.topic, event.key, event.value, record_ms, partition)
        self.report.records += 1

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        if not self._respond:
            yield
            return
        consumer = AIOKafkaConsumer(
            self._settings.topic(Topic.INTERVENTIONS),
            group_id=None,
            auto_offset_reset="latest",
            **client_arguments(self._settings),
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        listening = self._listening_task = asyncio.create_task(self._listen(consumer))
        try:
            yield
            self._surface_failures()
        finally:
            self._listening_task = None
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await consumer.stop()

    def _surface_failures(self) -> None:
        """Raise what ended the listening: a shop that has gone deaf must not look like one that nobody talks to."""
        if self._listening_task is not None and self._listening_task.done():
            self._listening_task.result()

    async def _listen(self, consumer: Any) -> None:
        async for message in consumer:
            self.hear(message.value)

    def hear(self, value: bytes | None) -> None:
        """React to one record of the interventions topic; what is not for this shop is counted and left."""
        told = parse_intervention(value) if value else None
        at_ms = self._shop.now_ms
        if told is not None:
            at_ms = _event_ms(told.event_time, at_ms)
        if told is not None and self._shop.react(
            told.customer_id, told.intervention_id, told.action_kind, told.channel, at_ms
        ):
            self.report.reacted += 1
        else:
            self.report.foreign += 1


def _event_ms(text: str, otherwise: int) -> int:
    try:
        return to_ms(datetime.fromisoformat(text))
    except (ValueError, TypeError):
        return otherwise
