"""The report reads matured decisions from their topic, each once, and says where one is none."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.cli.main import main
from stream_app.core.effects import Output
from stream_app.core.topics import Topic
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.wire.encode import encode, to_json
from tests.support.decision_shop import CATALOGUE, HOLDOUT, outcomes
from tests.support.observed import examples_of, shop_rows

Call = Callable[..., Any]


@pytest.fixture
def call(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `stream-app ...` in this process: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_DECISION_OUTCOMES", kafka_settings.topic_decision_outcomes)
    monkeypatch.setenv("STREAM_APP_TOPIC_TRAINING_EXAMPLES", kafka_settings.topic_training_examples)
    monkeypatch.setenv("STREAM_APP_HOLDOUT_SHARE", str(HOLDOUT))

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


async def put(settings: Settings, values: list[bytes], topic: Topic = Topic.OUTCOMES) -> None:
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for value in values:
            await producer.send(settings.topic(topic), value, key=b"c")
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


@pytest.mark.kafka
def test_groups_are_compared_where_attributes_are_named(
    call: Call, kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    matured = [
        outcome.model_copy(update={"groups": {"gender": "ab"[number % 2]}, "offer": 5.0})
        for number, outcome in enumerate(outcomes(prior_snapshot(CATALOGUE), 600, 1))
    ]
    asyncio.run(put(kafka_settings, [to_json(each) for each in matured]))
    rows, labels = shop_rows(2_000)
    told = [
        msgspec.structs.replace(
            each, kind=1, arm=1, contacts=number % 2, stay_propensity=0.5, groups={"gender": "ab"[number % 2]}
        )
        for number, each in enumerate(examples_of(rows, labels))
    ]
    asyncio.run(
        put(kafka_settings, [encode(Output(Topic.TRAINING, "0", each)).value or b"" for each in told], Topic.TRAINING)
    )

    code, printed, _ = call("report", "--json")
    assert (code, json.loads(printed)["fairness"]) == (0, None)

    monkeypatch.setenv("STREAM_APP_FAIRNESS_ATTRIBUTES", '["gender"]')
    code, printed, complaint = call("report", "--json")
    (attribute,) = json.loads(printed)["fairness"]["attributes"]
    assert {each["group"]: each["contact_rate"]["estimate"] for each in attribute["groups"]} == {"a": 0.0, "b": 1.0}
    assert sum(each["offers"] for each in attribute["groups"]) == sum(each.sent for each in matured)
    assert code == 1
    assert "gender: a is contacted less often than b" in complaint

    code, printed, _ = call("report")
    assert code == 1
    assert "contact rate, a against b: 0.00 (0.00 to" in printed

    asyncio.run(put(kafka_settings, [b"{}"], Topic.TRAINING))
    code, _, complaint = call("report")
    assert code == 2
    assert f"partition 0, offset {len(told)}: no training example" in complaint
