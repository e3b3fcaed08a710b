"""Sends what pupils publish: the content first, the pointer to it last, each awaited."""

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.model_registry import (
    POSITIONS_HEADER,
    ModelRecord,
    ModelRefusedError,
    ModelRegistry,
    tombstone,
)
from stream_app.adapters.policy_versions import POLICIES
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.worker.pupils import Publication
from stream_app.worker.snapshots import READING, read_started

KEPT_SNAPSHOTS = 20
MAX_SNAPSHOT_BYTES = 1_000_000
"""Kafka's own default for the largest record of a topic, less its frame."""


class ModelPublisher:
    """An idempotent producer for `model-snapshots`. A failed send raises: the caller lets it end the process.

    Parameters
    ----------
    settings
        Brokers, topic name and HMAC key.
    kept
        Versions that stay on the topic, to pin or roll back to; a pinned one stays besides.
    """

    def __init__(self, settings: Settings, kept: int = KEPT_SNAPSHOTS) -> None:
        self._kept = kept
        self._settings = settings
        self._key = settings.model_key.get_secret_value().encode()
        self._arguments = client_arguments(settings)
        self._client_id = f"{settings.app_id}-models"
        self._producer: AIOKafkaProducer | None = None
        self._reader: AIOKafkaConsumer | None = None
        self._registry = ModelRegistry()

    async def publish(self, publication: Publication, positions: Mapping[str, Mapping[int, int]] | None = None) -> int:
        """Send a publication's records in order, then tombstones for the oldest; return its bytes.

        Parameters
        ----------
        publication
            What to send.
        positions
            Up to which offsets of the trainer's topics it has learned: noted on every record, so that whoever feeds
            can wait for the trainer.

        Raises
        ------
        ValueError
            If a record is too large for the topic.
        aiokafka.errors.KafkaError
            If the brokers do not acknowledge; what was not pointed to is served by nobody.
        """
        sizes = [len(record.value or b"") for record in publication.records]
        if max(sizes, default=0) > MAX_SNAPSHOT_BYTES:
            raise ValueError(f"{publication.version} has {max(sizes):,} bytes, a record holds {MAX_SNAPSHOT_BYTES:,}")
        noted = [(POSITIONS_HEADER, json.dumps(positions or {}).encode())]
        for record in publication.records:
            await self._send(record._replace(headers=[*record.headers, *noted]))
        if publication.horizon_days is not None:
            for model, version in await self._surplus(publication.horizon_days):
                await self._send(tombstone(model, version))
        if any(record.key.startswith(f"{POLICIES}/".encode()) for record in publication.records):
            for record in (await self._read()).policies.surplus():
                await self._send(record)
        return sum(sizes)

    async def _surplus(self, horizon_days: int) -> list[tuple[str, str]]:
        """Return model and version of what is to leave the topic: of this horizon, old, and not pinned.

        Asked of the topic itself, because it may hold what an earlier trainer published, and pins are set by people.
        Read once from its beginning, and then on.
        """
        registry = await self._read()
        ours = [
            stored for version, stored in registry.snapshots.items() if self._horizon(registry, version) == horizon_days
        ]
        pointed = {registry.pointer("pinned", horizon_days), registry.pointer("served", horizon_days)}
        return [(stored.model, stored.version) for stored in ours[: -self._kept] if stored.version not in pointed]

    async def _read(self) -> ModelRegistry:
        if self._reader is None:
            self._reader = AIOKafkaConsumer(self._settings.topic(Topic.SNAPSHOTS), **self._arguments, **READING)
            await self._reader.start()
        await read_started(self._reader, self._registry)
        return self._registry

    def _horizon(self, registry: ModelRegistry, version: str) -> int | None:
        try:
            return registry.load(version, self._key, None).horizon_days
        except ModelRefusedError:
            return None

    async def send(self, record: ModelRecord) -> None:
        """Send one record and await its acknowledgement."""
        await self._send(record)

    async def __aenter__(self) -> Self:
        producer = AIOKafkaProducer(
            **self._arguments,
            acks="all",
            enable_idempotence=True,
            client_id=self._client_id,
            max_request_size=MAX_SNAPSHOT_BYTES + 10_000,
        )
        await producer.start()
        self._producer = producer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        producer, self._producer = self._producer, None
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()
        if producer is not None:
            await producer.stop()

    async def _send(self, record: ModelRecord) -> None:
        assert self._producer is not None, "enter first"
        topic = self._settings.topic(record.topic)
        await self._producer.send_and_wait(topic, record.value, key=record.key, headers=record.headers)
