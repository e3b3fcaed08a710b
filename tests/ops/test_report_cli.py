"""The report reads matured decisions from their topic, each once, and says where one is none."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.cli.main import main
from stream_app.core.topics import Topic
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.wire.encode import to_json
from tests.support.decision_shop import CATALOGUE, HOLDOUT, outcomes

Call = Callable[..., Any]


@pytest.fixture
def call(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `stream-app ...` in this process: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_DECISION_OUTCOMES", kafka_settings.topic_decision_outcomes)
    monkeypatch.setenv("STREAM_APP_HOLDOUT_SHARE", str(HOLDOUT))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


async def put(settings: Settings, values: list[bytes]) -> None:
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for value in values:
            await producer.send(settings.topic(Topic.OUTCOMES), value, key=b"c")
        await producer.flush()


@pytest.mark.kafka
def test_the_report_reads_the_topic_and_repeats_count_once(call: Call, kafka_settings: Settings) -> None:
    told = [to_json(outcome) for outcome in outcomes(prior_snapshot(CATALOGUE), 600, 1)]
    asyncio.run(put(kafka_settings, [*told, *told[:100]]))

    code, printed, _ = call("report", "--json")

    report = json.loads(printed)
    assert code == 0
    assert report["customers"] == sum(json.loads(each)["act_number"] == 0 for each in told)
    assert {each["name"] for each in report["slices"]} >= {"all", "tier:high", "tier:critical", "action:coupon-10"}
    assert sum(rates["sent"] for rates in report["rates"].values()) == sum(json.loads(each)["sent"] for each in told)

    asyncio.run(put(kafka_settings, [b"{}"]))
    code, _, complaint = call("report")
    assert code == 2
    assert f"partition 0, offset {len(told) + 100}: no matured decision" in complaint
