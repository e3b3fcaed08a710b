"""Model snapshots for tests: made, published, sent."""

from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.model_registry import ModelRecord, pointer_record, snapshot_record
from stream_app.core.features import FEATURES_HASH
from stream_app.core.topics import Topic
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings


def snapshot(version: str, horizon_days: int = 30, intercept: float = 0.5) -> ModelSnapshot:
    return ModelSnapshot(
        version=version,
        model="ekf",
        horizon_days=horizon_days,
        features_hash=FEATURES_HASH,
        inputs=(),
        intercept=intercept,
        metrics={"auc": 0.75},
        trained_examples=12,
        trained_through_ms=86_400_000,
    )


def published(version: str, **changes: int) -> list[ModelRecord]:
    one = snapshot(version, **changes)
    return [snapshot_record(one, b""), pointer_record("served", one.horizon_days, version)]


async def send(settings: Settings, records: Sequence[ModelRecord]) -> None:
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for record in records:
            await producer.send_and_wait(
                settings.topic(Topic.SNAPSHOTS), record.value, key=record.key, headers=record.headers
            )
