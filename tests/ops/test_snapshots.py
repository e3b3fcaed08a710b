import asyncio
import hashlib
from collections.abc import Sequence

import pytest
from aiokafka import AIOKafkaConsumer
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import (
    ModelRecord,
    ModelRefusedError,
    ModelRegistry,
    pointer_record,
    snapshot_record,
    tombstone,
)
from stream_app.core.topics import Topic
from stream_app.learning.scorer import Scorer
from stream_app.settings import Settings
from stream_app.worker.churn_pupil import publication_of
from stream_app.worker.snapshots import READING, SnapshotFollower, read_registry
from stream_app.worker.trainer_publish import ModelPublisher
from tests.support.models import published, send, snapshot


def fold(records: Sequence[ModelRecord]) -> ModelRegistry:
    registry = ModelRegistry()
    for number, record in enumerate(records):
        registry.apply(record.key, record.value, record.headers, number)
    return registry


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=20))
def test_the_newest_pointer_wins_and_every_version_named_can_be_loaded(versions: list[str]) -> None:
    registry = fold([record for version in versions for record in published(version)])

    assert registry.choice(30, "") == (versions[-1], "trainer")
    assert {registry.load(version, b"", 30).version for version in versions} == set(versions)
    assert list(registry.snapshots)[-1] == versions[-1]


def test_setting_stands_above_pin_and_pin_above_trainer() -> None:
    registry = fold([*published("a"), pointer_record("pinned", 30, "b"), *published("c")])

    assert registry.choice(30, "") == ("b", "pin")
    assert registry.choice(30, "x") == ("x", "setting")
    assert registry.choice(60, "") == ("", "nobody")
    unpinned = pointer_record("pinned", 30, "")
    registry.apply(unpinned.key, unpinned.value, [], 9)
    assert registry.choice(30, "") == ("c", "trainer")


def test_headers_of_others_and_null_values_hinder_nothing() -> None:
    snapshot_of_a, pointer = published("a")
    headers = [("trace", None), ("odd", b"\xff"), *snapshot_of_a.headers, ("positions", None)]
    registry = ModelRegistry()
    registry.apply(snapshot_of_a.key, snapshot_of_a.value, headers, 1)
    registry.apply(pointer.key, pointer.value, [("trace", None)], 2)

    assert registry.load(registry.choice(30, "").version, b"", 30).version == "a"
    assert registry.snapshots["a"].digest == snapshot_of_a.headers[0][1].decode()
    assert registry.snapshots["a"].positions == ""


@pytest.mark.parametrize(
    ("key", "horizon_days", "code"),
    [(b"", 30, "missing"), (b"", 60, "horizon"), (b"secret", 30, "invalid"), (b"", 30, "damaged")],
)
def test_what_does_not_fit_is_refused_by_its_reason(key: bytes, horizon_days: int, code: str) -> None:
    records = published("a")
    if code == "damaged":
        assert records[0].value is not None
        records[0] = records[0]._replace(value=records[0].value.replace(b"0.5", b"0.9"))
    if code == "missing":
        records.append(tombstone("ekf", "a"))
    registry = fold(records)

    with pytest.raises(ModelRefusedError) as refusal:
        registry.load("a", key, horizon_days)

    assert refusal.value.code == code


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_foreign_records_do_no_harm(key: bytes, value: bytes) -> None:
    registry = fold([*published("a"), ModelRecord(b"x" + key, value, []), ModelRecord(b"served/nonsense", value, [])])

    assert registry.choice(30, "").version == "a"


def test_a_signed_snapshot_is_accepted_with_its_key_only() -> None:
    record = snapshot_record(snapshot("a"), b"key")
    assert record.value is not None
    assert record.headers == [("sha256", hashlib.sha256(record.value).hexdigest().encode())]
    registry = fold([record])

    assert registry.load("a", b"key", 30).intercept == 0.5
    with pytest.raises(ModelRefusedError, match="STREAM_APP_MODEL_KEY"):
        registry.load("a", b"other", 30)


class Served:
    """Notes the versions handed over, and lets a test wait for one."""

    def __init__(self) -> None:
        self.versions: list[str] = []
        self._changed = asyncio.Event()

    def __call__(self, scorer: Scorer) -> None:
        self.versions.append(scorer.version)
        self._changed.set()

    async def until(self, version: str) -> None:
        async with asyncio.timeout(30):
            while version not in self.versions[-1:]:
                self._changed.clear()
                await self._changed.wait()


@pytest.mark.kafka
async def test_a_worker_starts_with_what_is_served_and_follows_pins_and_rollbacks(kafka_settings: Settings) -> None:
    await send(kafka_settings, [*published("v1"), *published("v2")])
    served, metrics = Served(), Metrics("worker")
    async with SnapshotFollower(kafka_settings, metrics, served) as follower:
        assert served.versions == ["v2"]
        following = asyncio.create_task(follower.run())
        await send(kafka_settings, published("v3"))
        await served.until("v3")
        await send(kafka_settings, [pointer_record("pinned", 30, "v1")])
        await served.until("v1")
        await send(kafka_settings, [*published("v4"), pointer_record("pinned", 30, "prior")])
        await served.until("prior")
        await send(kafka_settings, [pointer_record("pinned", 30, "")])
        await served.until("v4")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    page = metrics.page().decode()
    assert 'stream_app_model_info{horizon_days="30",version="v4"} 1.0' in page
    assert 'version="v3"' not in page
    assert 'stream_app_model_quality{measure="auc"} 0.75' in page


@pytest.mark.kafka
async def test_the_last_good_model_stays_when_a_newer_one_does_not_fit(kafka_settings: Settings) -> None:
    good, bad = published("good"), [snapshot_record(snapshot("bad", 60), b""), pointer_record("served", 30, "bad")]
    await send(kafka_settings, good)
    served, metrics = Served(), Metrics("worker")
    async with SnapshotFollower(kafka_settings, metrics, served) as follower:
        following = asyncio.create_task(follower.run())
        await send(kafka_settings, bad)
        await send(kafka_settings, published("better"))
        await served.until("better")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    assert served.versions == ["good", "better"]
    page = metrics.page().decode()
    assert "stream_app_snapshots_loaded_total 2.0" in page


@pytest.mark.kafka
async def test_with_a_key_an_unsigned_or_foreign_model_is_refused_and_the_last_good_one_stays(
    kafka_settings: Settings,
) -> None:
    settings = kafka_settings.model_copy(update={"model_key": SecretStr("ours")})
    served, metrics = Served(), Metrics("worker")
    async with ModelPublisher(settings) as publisher:
        await publisher.publish(publication_of(snapshot("good"), b"ours"))
        async with SnapshotFollower(settings, metrics, served) as follower:
            following = asyncio.create_task(follower.run())
            await send(settings, published("unsigned"))
            await publisher.publish(publication_of(snapshot("foreign"), b"theirs"))
            async with asyncio.timeout(30):
                while 'snapshots_refused_total{reason="invalid"}' not in metrics.page().decode():  # noqa: ASYNC110 - metrics cannot be waited for
                    await asyncio.sleep(0.05)
            assert follower.served_version == "good"
            await publisher.publish(publication_of(snapshot("better"), b"ours"))
            await served.until("better")
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    assert served.versions == ["good", "better"]


@pytest.mark.kafka
async def test_the_prior_serves_before_the_first_snapshot_and_when_pinned(kafka_settings: Settings) -> None:
    served = Served()
    async with SnapshotFollower(kafka_settings, Metrics("worker"), served) as follower:
        assert follower.served_version == "prior"
    await send(kafka_settings, published("v1"))
    pinned = kafka_settings.model_copy(update={"pinned_model": "prior", "model_key": SecretStr("")})
    async with SnapshotFollower(pinned, Metrics("worker"), served):
        pass

    assert served.versions == ["prior", "prior"]


@pytest.mark.kafka
async def test_a_pinned_version_that_is_missing_is_counted_and_the_prior_serves(kafka_settings: Settings) -> None:
    await send(kafka_settings, published("v1"))
    served, metrics = Served(), Metrics("worker")
    pinned = kafka_settings.model_copy(update={"pinned_model": "v9"})
    async with SnapshotFollower(pinned, metrics, served):
        pass

    assert served.versions == ["prior"]
    assert 'stream_app_snapshots_refused_total{reason="missing"} 1.0' in metrics.page().decode()


@pytest.mark.kafka
async def test_a_topic_that_never_shows_up_is_named_with_the_remedy(kafka_settings: Settings) -> None:
    elsewhere = kafka_settings.model_copy(update={"topic_model_snapshots": "not/a topic name"})

    with pytest.raises(RuntimeError, match="stream-app topics check"):
        async with SnapshotFollower(elsewhere, Metrics("worker"), Served(), patience_seconds=1):
            pass


@pytest.mark.kafka
async def test_old_versions_leave_the_topic_but_never_a_pinned_one(kafka_settings: Settings) -> None:
    await send(kafka_settings, [*published("v1"), *published("v2"), pointer_record("pinned", 30, "v2")])
    await send(kafka_settings, [snapshot_record(snapshot("other-horizon", 60), b"")])
    async with ModelPublisher(kafka_settings, kept=2) as publisher:
        for version in ("v3", "v4", "v5"):
            await publisher.publish(publication_of(snapshot(version), b""))
    registry = ModelRegistry()
    consumer = AIOKafkaConsumer(kafka_settings.topic(Topic.SNAPSHOTS), **client_arguments(kafka_settings), **READING)
    await read_registry(consumer, registry, 30)
    await consumer.stop()

    assert list(registry.snapshots) == ["v2", "other-horizon", "v4", "v5"]
    assert registry.choice(30, "") == ("v2", "pin")
