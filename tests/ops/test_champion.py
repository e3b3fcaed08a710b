import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.cli.main import main
from stream_app.core.effects import Output
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import encode
from stream_app.worker.snapshots import READING, read_registry
from tests.support.observed import examples_of, shop_rows
from tests.support.trainers import trainer_of

_ROWS, _LABELS = shop_rows(60)


@pytest.fixture
def settings(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_EVENTS", kafka_settings.topic_model_events)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_SNAPSHOTS", kafka_settings.topic_model_snapshots)
    return kafka_settings.model_copy(update={"challengers": ("adagrad",)})


@pytest.fixture
def call(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run `stream-app champion ...`: the JSON that it printed, and its exit code."""

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as end:
            main(["champion", *arguments, "--json"])
        out, err = capsys.readouterr()
        return (json.loads(out) if out else err), int(str(end.value.code or 0))

    del settings
    return run


async def produce(settings: Settings) -> None:
    async with AIOKafkaProducer(**client_arguments(settings), linger_ms=5) as producer:
        for example in examples_of(_ROWS, _LABELS):
            await producer.send(settings.topic(Topic.TRAINING), encode(Output(Topic.TRAINING, "c", example)).value)
        await producer.flush()


async def served(settings: Settings) -> str:
    registry = ModelRegistry()
    consumer = AIOKafkaConsumer(settings.topic(Topic.SNAPSHOTS), **client_arguments(settings), **READING)
    try:
        await read_registry(consumer, registry, 15)
    finally:
        await consumer.stop()
    version = registry.choice(settings.horizon_days, "").version
    return registry.load(version, b"", settings.horizon_days).model if version else ""


@pytest.mark.kafka
async def test_a_promotion_and_a_rollback_on_a_broker_over_a_restart(
    settings: Settings, call: Callable[..., Any]
) -> None:
    await produce(settings)
    async with trainer_of(settings):
        promoted, code = await asyncio.to_thread(call, "promote", "adagrad", "--by", "ann", "--why", "trial")
        assert code == 0
        assert (promoted["answer"]["kind"], promoted["answer"]["champion"]) == ("promoted", "adagrad")
        assert await served(settings) == "adagrad"
        refused, code = await asyncio.to_thread(call, "promote", "oracle", "--by", "ann")
        assert code == 1
        assert "cannot serve" in refused["answer"]["reason"]

    async with trainer_of(settings):
        back, code = await asyncio.to_thread(call, "rollback", "--by", "bob", "--why", "too many coupons")
        assert code == 0
        assert (back["answer"]["former"], back["answer"]["champion"]) == ("adagrad", "kalman")
        assert await served(settings) == "kalman"

    told, _ = await asyncio.to_thread(call, "history")
    assert [(event["kind"], event["by"]) for event in told] == [
        ("requested", "ann"),
        ("promoted", "ann"),
        ("requested", "ann"),
        ("refused", "ann"),
        ("requested", "bob"),
        ("rolled_back", "bob"),
    ]
    state, _ = await asyncio.to_thread(call, "show")
    assert state["champion"] == "kalman"


@pytest.mark.kafka
async def test_the_card_tells_of_the_running_system(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for topic in (Topic.CUSTOMERS, Topic.INTERVENTIONS, Topic.TRAINING):
        monkeypatch.setenv(f"STREAM_APP_TOPIC_{topic.value.replace('-', '_').upper()}", settings.topic(topic))
    await produce(settings)
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for number in range(40):
            body = {"customer_id": f"c{number}", "attributes": {"region": "north" if number % 2 else "south"}}
            key, value = f"c{number}".encode(), json.dumps(body).encode()
            await producer.send_and_wait(settings.topic(Topic.CUSTOMERS), value, key=key)
    async with trainer_of(settings), asyncio.timeout(30):
        while not await served(settings):
            pass  # reading the topic takes its time

    def card(*arguments: str) -> str:
        file = tmp_path / "card"
        with pytest.raises(SystemExit) as end:
            main(["model", "card", "--attribute", "region", "--out", str(file), *arguments])
        assert not end.value.code
        return file.read_text()

    told = json.loads(await asyncio.to_thread(card, "--json"))
    assert told["data"]["labels_read"] == 60
    assert told["data"]["profiles"] == 40
    assert told["quality"][0]["name"] == "all"
    assert {group["group"] for group in told["fairness"]["groups"]} == {"north", "south", "undeclared"}
    assert "# Model card: kalman-h30-" in await asyncio.to_thread(card)


@pytest.mark.kafka
async def test_without_a_trainer_a_request_waits_and_is_answered_later(
    settings: Settings, call: Callable[..., Any]
) -> None:
    await produce(settings)
    asked, code = await asyncio.to_thread(call, "promote", "adagrad", "--by", "ann", "--wait", "0")
    assert (asked["answer"], code) == (None, 0)

    async with trainer_of(settings):
        async with asyncio.timeout(30):
            while await served(settings) != "adagrad":
                pass  # reading the topic takes its time
