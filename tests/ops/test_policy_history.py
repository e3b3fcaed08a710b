"""Policies over a broker: a history that is kept short, a rollback that workers follow, and a trail of who did what."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from stream_app.adapters.policy_versions import KEPT_VERSIONS, policy_records
from stream_app.cli.main import main
from stream_app.decisions.policy import CONTEXT, PolicySnapshot, prior_snapshot
from stream_app.settings import Settings
from stream_app.worker.policy_pupil import PolicyPupil
from stream_app.worker.pupils import Publication
from stream_app.worker.trainer_publish import ModelPublisher
from tests.support.decisions import SHIPPED

Call = Callable[..., Any]


@pytest.fixture
def call(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `stream-app policy ...`: the JSON it printed, or its exit code and what it complained of."""
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_SNAPSHOTS", kafka_settings.topic_model_snapshots)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_EVENTS", kafka_settings.topic_model_events)

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as end:
            main(["policy", *arguments])
        out, err = capsys.readouterr()
        if end.value.code:
            return int(str(end.value.code)), err
        return json.loads(out) if "--json" in arguments else out

    return run


def publish(settings: Settings, *versions: str) -> None:
    async def send() -> None:
        async with ModelPublisher(settings) as publisher:
            for version in versions:
                policy = PolicySnapshot(version, CONTEXT, prior_snapshot(SHIPPED).beliefs)
                await publisher.publish(Publication(version, policy_records(policy, b"")))

    asyncio.run(send())


@pytest.mark.kafka
def test_history_rollback_pin_and_release_are_followed_and_audited(call: Call, kafka_settings: Settings) -> None:
    assert call("history", "--json")["followed"] == "prior"
    assert call("rollback", "--by", "ada")[0] == 1
    publish(kafka_settings, *(f"learned-{number}" for number in range(KEPT_VERSIONS + 3)))
    newest = f"learned-{KEPT_VERSIONS + 2}"

    told = call("history", "--json")
    assert (told["followed"], told["chosen_by"]) == (newest, "trainer")
    assert [row["version"] for row in told["policies"]] == [f"learned-{n}" for n in range(3, KEPT_VERSIONS + 3)]

    before = f"learned-{KEPT_VERSIONS + 1}"
    assert call("rollback", "--by", "ada", "--why", "complaints", "--json")["followed"] == before
    assert call("rollback", "--by", "ada", "--json")["followed"] == f"learned-{KEPT_VERSIONS}"
    publish(kafka_settings, "learned-later")
    assert call("history", "--json")["chosen_by"] == "pin"
    assert call("pin", "learned-5", "--by", "bob", "--json")["followed"] == "learned-5"
    assert call("pin", "nowhere", "--by", "bob")[0] == 1
    assert call("pin")[0] == 2
    assert call("pin", "--release", "--by", "bob", "--json") | {"event": ""} == {
        "pinned": None,
        "followed": "learned-later",
        "event": "",
    }
    assert call("pin", "prior", "--by", "bob", "--json")["followed"] == "prior"

    events = call("history", "--json")["events"]
    assert [(event["kind"], event["policy"], event["by"]) for event in events] == [
        ("policy_rolled_back", before, "ada"),
        ("policy_rolled_back", f"learned-{KEPT_VERSIONS}", "ada"),
        ("policy_pinned", "learned-5", "bob"),
        ("policy_released", "learned-later", "bob"),
        ("policy_pinned", "prior", "bob"),
    ]
    former = [newest, before, f"learned-{KEPT_VERSIONS}", "learned-5", "learned-later"]
    assert [event["former"] for event in events] == former
    assert events[0]["reason"] == "complaints"
    assert "workers follow: prior (chosen by pin)" in call("history")


@pytest.mark.kafka
def test_both_ways_to_learn_have_a_history_and_each_can_be_saved(
    call: Call, kafka_settings: Settings, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send() -> None:
        async with ModelPublisher(kafka_settings) as publisher:
            for method in ("learned", "q_learning"):
                await publisher.publish(PolicyPupil.kind(kafka_settings, method).fresh().publication())

    asyncio.run(send())
    bandit, sequential = call("history", "--json")["policies"]
    assert (bandit["method"], sequential["method"]) == ("learned", "q_learning")
    file = tmp_path / "policy.json"
    assert bandit["version"] in call("fetch", str(file))
    monkeypatch.setenv("STREAM_APP_POLICY", "q_learning")
    assert sequential["version"] in call("fetch", str(file))
    assert bandit["version"] in call("fetch", str(file), "--version", bandit["version"])
    assert call("history", "--json")["followed"] == sequential["version"]
