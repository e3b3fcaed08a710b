import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from stream_app.adapters.model_registry import pointer_record, snapshot_record
from stream_app.cli.main import main
from stream_app.settings import Settings
from tests.support.models import published, send, snapshot

Call = Callable[..., Any]


@pytest.fixture
def call(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `stream-app model ...` in this process: the JSON it printed, or its exit code and what it complained of."""
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_MODEL_SNAPSHOTS", kafka_settings.topic_model_snapshots)

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as end:
            main(["model", *arguments])
        out, err = capsys.readouterr()
        if end.value.code:
            return int(str(end.value.code)), err
        return json.loads(out) if "--json" in arguments else out

    return run


def publish(settings: Settings, *versions: str) -> None:
    asyncio.run(send(settings, [record for version in versions for record in published(version)]))


@pytest.mark.kafka
def test_before_the_first_snapshot_the_prior_is_served(call: Call) -> None:
    assert call("list", "--json") == {"served": "prior", "chosen_by": "nobody", "snapshots": []}
    assert "no snapshot" in call("list")
    assert call("show")[0] == 1
    assert call("rollback")[0] == 1


@pytest.mark.kafka
def test_list_and_show_tell_versions_quality_and_who_is_served(call: Call, kafka_settings: Settings) -> None:
    publish(kafka_settings, "v1", "v2")
    foreign = snapshot("other-horizon", 60)
    asyncio.run(send(kafka_settings, [snapshot_record(foreign, b"")]))

    listed = call("list", "--json")

    assert (listed["served"], listed["chosen_by"]) == ("v2", "trainer")
    assert [row["version"] for row in listed["snapshots"]] == ["v1", "v2", "other-horizon"]
    assert listed["snapshots"][0]["metrics"] == {"auc": 0.75}
    assert ">" in call("list")
    assert call("show", "--json")["version"] == "v2"
    assert "trained_examples" in call("show", "v1")
    assert call("show", "v9")[0] == 1


@pytest.mark.kafka
def test_pin_release_and_rollback_move_what_is_served(call: Call, kafka_settings: Settings) -> None:
    publish(kafka_settings, "v1", "v2", "v3")

    assert call("rollback", "--json") == {"pinned": "v2", "served": "v2"}
    assert call("rollback", "--json") == {"pinned": "v1", "served": "v1"}
    assert call("rollback")[0] == 1
    publish(kafka_settings, "v4")
    assert call("list", "--json")["served"] == "v1"
    assert call("pin", "--release", "--json") == {"pinned": None, "served": "v4"}
    assert call("list", "--json")["chosen_by"] == "trainer"
    assert call("pin", "prior", "--json")["served"] == "prior"
    assert call("list", "--json")["chosen_by"] == "pin"


@pytest.mark.kafka
def test_what_workers_would_refuse_cannot_be_pinned(call: Call, kafka_settings: Settings) -> None:
    publish(kafka_settings, "v1")
    asyncio.run(send(kafka_settings, [snapshot_record(snapshot("other-horizon", 60), b"")]))

    assert call("pin", "other-horizon")[0] == 1
    assert call("pin", "nowhere")[0] == 1
    assert call("pin")[0] == 2
    assert call("pin", "v1", "--release")[0] == 2
    assert call("list", "--json")["chosen_by"] == "trainer"


@pytest.mark.kafka
def test_a_setting_above_the_pin_is_said(call: Call, kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(kafka_settings, "v1", "v2")
    monkeypatch.setenv("STREAM_APP_PINNED_MODEL", "v2")

    assert "STREAM_APP_PINNED_MODEL=v2 stands above pins" in call("pin", "v1")
    assert call("list", "--json")["chosen_by"] == "setting"


@pytest.mark.kafka
def test_each_horizon_has_pins_of_its_own(
    call: Call, kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_APP_EXTRA_HORIZONS_DAYS", "[60]")
    publish(kafka_settings, "v1", "v2")
    further = [snapshot_record(snapshot(name, 60), b"") for name in ("w1", "w2")]
    asyncio.run(send(kafka_settings, [*further, pointer_record("served", 60, "w2")]))

    assert call("rollback", "--horizon-days", "60", "--json") == {"pinned": "w1", "served": "w1"}
    assert call("list", "--horizon-days", "60", "--json")["served"] == "w1"
    assert call("list", "--json")["served"] == "v2"
    assert call("pin", "w2", "--horizon-days", "60", "--json")["served"] == "w2"
    assert call("pin", "v1", "--horizon-days", "60")[0] == 1
    assert call("pin", "--release", "--horizon-days", "60", "--json") == {"pinned": None, "served": "w2"}
    code, said = call("list", "--horizon-days", "90")
    assert (code, "choose 30, 60" in said) == (2, True)
