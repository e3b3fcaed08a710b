"""Reads the topics that the page shows, as a consumer without a group: a page never moves anyone's offsets."""

import asyncio
import logging
from collections.abc import Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_app.adapters.clients import client_arguments
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.dashboard.board import Board
from stream_app.dashboard.rates import RateMeter
from stream_app.settings import Settings

OUTPUTS = (
    Topic.SCORES,
    Topic.WARNINGS,
    Topic.INTERVENTIONS,
    Topic.SUPPRESSED,
    Topic.DEAD_LETTERS,
    Topic.TRAINING,
    Topic.SNAPSHOTS,
)
STORY_INPUTS = (Topic.PRODUCTS, Topic.CUSTOMERS, Topic.ORDERS, Topic.REVIEWS, Topic.FEEDBACK)
"""Read on request only: what customers did belongs into their stories, but a busy shop's orders are many."""

WHOLE = frozenset({Topic.SCORES, Topic.TRAINING, Topic.PRODUCTS})
"""Read from the beginning: where every customer stands, what quality is computed from, what products are called."""

HISTORY_RECORDS = 20_000
"""How many of the latest records of every other topic's partition are read at the start."""

POLL_MS = 300
POLL_RECORDS = 4_000
FLOW_SECONDS = 1.0
RETRY_SECONDS = 2.0

_log = logging.getLogger(__name__)


class Tail:
    """Keeps a board up to date from the broker until it is cancelled."""

    def __init__(self, settings: Settings, board: Board, *, inputs: bool) -> None:
        self._settings = settings
        self._board = board
        roles = (*OUTPUTS, *STORY_INPUTS) if inputs else OUTPUTS
        self._roles = {settings.topic(role): role for role in roles}
        self.waiting_for: tuple[str, ...] = ()
        """Topics that do not exist yet."""

    async def run(self) -> None:
        """Read until cancelled.

        Raises
        ------
        aiokafka.errors.KafkaError
            The broker refused, or could not be reached at the start.
        """
        consumer = AIOKafkaConsumer(
            **client_arguments(self._settings),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            client_id=f"{self._settings.app_id}-dashboard",
        )
        await consumer.start()
        try:
            await self._wait_for_topics(consumer)
            consumer.subscribe(list(self._roles))
            await self._skip_the_far_past(consumer)
            while True:
                for partition, records in (
                    await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                ).items():
                    role = self._roles[partition.topic]
                    for record in records:
                        self._board.apply(role, record.key, record.value, record.headers, record.timestamp)
        finally:
            await consumer.stop()

    async def _wait_for_topics(self, consumer: AIOKafkaConsumer) -> None:
        while missing := sorted(set(self._roles) - await consumer.topics()):
            if tuple(missing) != self.waiting_for:
                _log.warning("waiting for topics %s: `stream-app topics create` makes them", ", ".join(missing))
            self.waiting_for = tuple(missing)
            await asyncio.sleep(RETRY_SECONDS)
        self.waiting_for = ()

    async def _skip_the_far_past(self, consumer: AIOKafkaConsumer) -> None:
        while not consumer.assignment():  # noqa: ASYNC110 - aiokafka assigns in the background and tells nobody
            await asyncio.sleep(0.05)
        ends = await consumer.end_offsets(list(consumer.assignment()))
        begins = await consumer.beginning_offsets(list(consumer.assignment()))
        for partition, end in ends.items():
            far = self._roles[partition.topic] not in WHOLE
            start = max(begins[partition], end - HISTORY_RECORDS) if far else begins[partition]
            consumer.seek(partition, start)


class Flow:
    """How many events come in, and how many still wait for the worker; read from offsets, never from the events."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.meter = RateMeter()
        self.rate = 0.0
        self.lag: int | None = None

    async def run(self) -> None:
        """Read offsets every second until cancelled.

        Raises
        ------
        aiokafka.errors.KafkaError
            The broker refused, or could not be reached at the start.
        """
        # With the worker's group name but assigned by hand: it reads what the group committed and never joins it.
        consumer = AIOKafkaConsumer(
            **client_arguments(self._settings),
            group_id=self._settings.app_id,
            enable_auto_commit=False,
            client_id=f"{self._settings.app_id}-dashboard-flow",
        )
        await consumer.start()
        try:
            names = [self._settings.topic(role) for role in CUSTOMER_TOPICS]
            while not set(names) <= await consumer.topics():  # noqa: ASYNC110 - only the broker knows, and is asked
                await asyncio.sleep(RETRY_SECONDS)
            partitions = [TopicPartition(name, index) for name in names for index in range(self._settings.partitions)]
            consumer.assign(partitions)
            consumer.pause(*partitions)
            clock = asyncio.get_running_loop().time
            while True:
                ends = await consumer.end_offsets(partitions)
                self.rate = self.meter.read(sum(ends.values()), clock())
                committed = [await consumer.committed(partition) for partition in partitions]
                known = any(offset is not None for offset in committed)
                self.lag = sum(ends.values()) - sum(offset or 0 for offset in committed) if known else None
                await asyncio.sleep(FLOW_SECONDS)
        finally:
            await consumer.stop()

    def summary(self) -> Mapping[str, object]:
        """Return rate, total and lag, ready for JSON."""
        history = list(self.meter.history)
        return {"rate": round(self.rate, 1), "total": self.meter.count, "lag": self.lag, "history": history}
