"""What a consumer group has left to do and what its workers have written, asked over one connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Self, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.settings import Settings
from stream_app.worker.source_topics import ALIGNED

ATTEMPTS = 100
PAUSE_SECONDS = 0.3
_Answer = TypeVar("_Answer")


class GroupProbe:
    """Asks the broker about one app; connects anew whenever the broker was away.

    Parameters
    ----------
    settings
        The app's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: Any = None
        self._admin: Any = None
        self._sources = [
            TopicPartition(settings.topic(role), number) for role in ALIGNED for number in range(settings.partitions)
        ]
        self._changelog = [TopicPartition(settings.changelog_topic, number) for number in range(settings.partitions)]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def lags(self) -> dict[int, int]:
        """Return how many records of each partition number, over all its topics, the group has not committed."""

        async def ask() -> dict[int, int]:
            committed = await self._admin.list_consumer_group_offsets(self._settings.app_id)
            ends = await self._consumer.end_offsets(self._sources)
            lags = dict.fromkeys(range(self._settings.partitions), 0)
            for place, end in ends.items():
                known = committed.get(place)
                lags[place.partition] += end - max(0, known.offset if known is not None else 0)
            return lags

        return await self._persistently(ask)

    async def written(self) -> int:
        """Return how many records the changelog ever got."""

        async def ask() -> int:
            return sum((await self._consumer.end_offsets(self._changelog)).values())

        return await self._persistently(ask)

    async def _persistently(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        for _ in range(ATTEMPTS):
            try:
                await self._connect()
                return await ask()
            except (KafkaError, OSError):
                await self._disconnect()
                await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"the broker does not answer after {ATTEMPTS} attempts")

    async def _connect(self) -> None:
        if self._admin is None:
            self._consumer = AIOKafkaConsumer(**client_arguments(self._settings), enable_auto_commit=False)
            await self._consumer.start()
            self._admin = AIOKafkaAdminClient(**client_arguments(self._settings))
            await self._admin.start()

    async def _disconnect(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        if admin is not None:
            with contextlib.suppress(KafkaError, OSError):
                await admin.close()
        if consumer is not None:
            await stop_consumer(consumer)


async def records_of(
    settings: Settings, topic: str, starts: dict[int, int] | None = None
) -> AsyncIterator[tuple[int, list[Any]]]:
    """Yield partition and records of a topic, poll by poll, up to its end now; `starts` is moved on to that end.

    Parameters
    ----------
    settings
        Where the broker is.
    topic
        Name on the broker.
    starts
        First offset to read, by partition; absent: the beginning.
    """
    consumer = AIOKafkaConsumer(
        **client_arguments(settings), auto_offset_reset="earliest", enable_auto_commit=False, fetch_max_wait_ms=50
    )
    await consumer.start()
    try:
        numbers = await _partitions_of(consumer, topic)
        places = {TopicPartition(topic, number) for number in numbers}
        consumer.assign(list(places))
        ends = await consumer.end_offsets(list(places))
        for place in places:
            consumer.seek(place, (starts or {}).get(place.partition, 0))
        while pending := [place for place in places if await consumer.position(place) < ends[place]]:
            for place, batch in (await consumer.getmany(*pending, timeout_ms=200)).items():
                wanted = [record for record in batch if record.offset < ends[place]]
                if wanted:
                    yield place.partition, wanted
        if starts is not None:
            starts.update((place.partition, end) for place, end in ends.items())
    finally:
        await stop_consumer(consumer)


async def _partitions_of(consumer: AIOKafkaConsumer, topic: str) -> list[int]:
    for _ in range(ATTEMPTS):
        consumer._client.add_topic(topic)
        await consumer._client.force_metadata_update()
        found = consumer.partitions_for_topic(topic)
        if found:
            return sorted(found)
        await asyncio.sleep(PAUSE_SECONDS)
    raise AssertionError(f"no topic {topic}")
