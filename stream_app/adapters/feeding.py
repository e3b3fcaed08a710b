"""Putting many records on topics quickly and in order, and remembering how far one got."""

import asyncio
import json
import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.core.topics import Topic
from stream_app.settings import ENV_PREFIX, Settings
from stream_app.wire.partition import partition_of

_LINGER_MS = 20
_BATCH_BYTES = 256 * 1024
_FLUSH_RECORDS = 20_000


class FeedError(RuntimeError):
    """Records could not be put on their topics; the message says what to do."""


class Feeder:
    """Sends records with murmur2 placement, batched per partition, in the order of the calls; an async context manager.

    Parameters
    ----------
    settings
        Brokers and topic names.

    Raises
    ------
    FeedError
        When a topic does not exist.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: Any = None
        self._partitions: dict[Topic, int] = {}
        self._batches: dict[tuple[Topic, int], Any] = {}
        self._unsent = 0
        self._in_flight: list[asyncio.Future[Any]] = []

    async def __aenter__(self) -> Self:
        self._producer = AIOKafkaProducer(
            acks="all",
            enable_idempotence=False,  # the embedded broker has no idempotent producers; events deduplicate by their id
            linger_ms=_LINGER_MS,
            max_batch_size=_BATCH_BYTES,
            **client_arguments(self._settings),
        )
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.flush()
        finally:
            await self._producer.stop()

    async def send(
        self,
        topic: Topic,
        key: str | None,
        value: bytes | None,
        record_ms: int,
        partition: int | None = None,
        headers: Sequence[tuple[str, bytes | None]] = (),
    ) -> None:
        """Take one record; it is on its way soon, and acknowledged when `flush` returns.

        Parameters
        ----------
        topic
            Role of the topic.
        key
            Customer or product id; None: no key, placed by its value.
        value
            The record's bytes; None: a tombstone.
        record_ms
            Kafka timestamp in milliseconds.
        partition
            None: where murmur2 of the key says.
        headers
            Record headers.
        """
        encoded = None if key is None else key.encode("utf-8")
        if partition is None:
            count = self._partitions.get(topic) or await self._count_partitions(topic)
            partition = partition_of(encoded if encoded is not None else value or b"", count)
        place, given = (topic, partition), list(headers)
        batch = self._batches.get(place)
        if batch is None:
            batch = self._batches[place] = self._producer.create_batch()
        if batch.append(key=encoded, value=value, timestamp=record_ms, headers=given) is None:
            await self._dispatch(place)
            batch = self._batches[place] = self._producer.create_batch()
            if batch.append(key=encoded, value=value, timestamp=record_ms, headers=given) is None:
                # Larger than a whole batch: the ordinary way bounds it by the broker's limit, and names it if refused.
                name = self._settings.topic(topic)
                future = await self._producer.send(
                    name, value, encoded, partition=partition, timestamp_ms=record_ms, headers=given
                )
                self._in_flight.append(future)
        self._unsent += 1
        if self._unsent >= _FLUSH_RECORDS:
            await self.flush()

    async def flush(self) -> None:
        """Wait until every record taken so far is acknowledged by the broker."""
        for place in list(self._batches):
            await self._dispatch(place)
        if self._in_flight:
            # Not gather, which would cancel the sends when this wait is cancelled: they may be waited for again.
            done, _ = await asyncio.wait(self._in_flight)
            self._in_flight.clear()
            for sent in done:
                sent.result()
        self._unsent = 0

    async def _dispatch(self, place: tuple[Topic, int]) -> None:
        batch = self._batches.pop(place, None)
        if batch is None or not batch.record_count():
            return
        topic, partition = place
        self._in_flight.append(await self._producer.send_batch(batch, self._settings.topic(topic), partition=partition))

    async def _count_partitions(self, topic: Topic) -> int:
        name = self._settings.topic(topic)
        # Asking the producer for an unknown topic's partitions would wait for its creation, or cause it.
        known = await self._producer.client.fetch_all_metadata()
        partitions = known.partitions_for_topic(name)
        if not partitions:
            raise FeedError(
                f"there is no topic {name} on {self._settings.bootstrap}: run `stream-app topics create`, "
                f"or set {ENV_PREFIX}TOPIC_{topic.value.replace('-', '_').upper()} to what it is called"
            )
        self._partitions[topic] = len(partitions)
        return len(partitions)


class FeedPosition:
    """How many records of a given feed were acknowledged, kept in a small file that is replaced atomically.

    Parameters
    ----------
    folder
        Where positions are kept.
    identity
        What makes this feed this feed: its files, their sizes, topic, preset and brokers.
    """

    def __init__(self, folder: Path, identity: Sequence[str]) -> None:
        self._folder = folder
        self._identity = list(identity)
        digest = sha256("\0".join(identity).encode()).hexdigest()[:16]
        self.path = folder / f"feed-{digest}.json"

    def load(self) -> int:
        """Return the number of records to skip; 0 where nothing was kept."""
        try:
            kept = json.loads(self.path.read_bytes())
        except (FileNotFoundError, ValueError):
            return 0
        return int(kept["acknowledged"]) if isinstance(kept, dict) and kept.get("feed") == self._identity else 0

    def save(self, acknowledged: int) -> None:
        """Keep the number of acknowledged records."""
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".tmp")
        with draft.open("w") as file:
            json.dump({"acknowledged": acknowledged, "feed": self._identity}, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)

    def clear(self) -> None:
        """Forget: the feed is done."""
        self.path.unlink(missing_ok=True)
