"""`stream-app replay`: the engine and the learner over files; everything counted, nothing lost, a second run equal."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.assembly import engine_of
from stream_app.cli.main import main
from stream_app.core.times import DAY_MS, iso
from stream_app.core.topics import Topic
from stream_app.engine import replay as replaying
from stream_app.engine.replay import Replay, SourceRecord
from stream_app.learning.learner import Learner
from stream_app.settings import Settings

T0 = 1_767_225_600_000


def order(customer: int, day: float, number: int) -> dict[str, Any]:
    return {
        "event_id": f"e{customer}-{number}",
        "customer_id": f"c{customer}",
        "order_id": f"o{customer}-{number}",
        "amount": 10.0 + customer,
        "timestamp": iso(T0 + int(day * DAY_MS)),
    }


def shop(customers: int = 40, days: int = 90) -> list[dict[str, Any]]:
    """Return a shop in which customer n orders every n + 3 days."""
    events = [
        order(customer, day + customer / 50, number)
        for customer in range(customers)
        for number, day in enumerate(range(0, days, customer + 3))
    ]
    return sorted(events, key=lambda event: str(event["timestamp"]))


def file_of(folder: Path, *lines: bytes, name: str = "orders.jsonl") -> Path:
    path = folder / name
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


def dumped(events: list[dict[str, Any]]) -> list[bytes]:
    return [json.dumps(event).encode() for event in events]


def replayed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["replay", *arguments, "--json"])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    report: dict[str, Any] = json.loads(out)
    return report


def test_a_second_run_repeats_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(file_of(tmp_path, *dumped(shop()), name="orders.jsonl.gz"))
    first = replayed(capsys, path)

    assert first == replayed(capsys, path)
    assert first["records"] == first["events"] == len(shop())
    assert first["customers"] == 40
    assert first["dead_letters"] == 0
    assert sum(first["tiers"].values()) == 40
    assert first["examples"] > 100
    assert first["snapshots"] > 10
    assert first["metrics"]["all_examples"] == first["learner"]["learned"]
    assert first["model"] != "prior"


def test_the_result_does_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(chunk_records: int) -> dict[str, Any]:
        monkeypatch.setattr(replaying, "CHUNK_RECORDS", chunk_records)
        settings = Settings(clock="event")
        replay = Replay(engine_of(settings, partitions=1), Learner(30), settings.decode_limits())
        replay.run(SourceRecord(Topic.ORDERS, None, line) for line in dumped(shop()))
        return replay.report()

    assert run(1) == run(7) == run(2_000)


def test_the_prior_learns_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replayed(capsys, str(file_of(tmp_path, *dumped(shop(10)))), "--model", "prior")

    assert (report["model"], report["snapshots"], report["metrics"]) == ("prior", 0, {})


def test_bad_lines_cost_one_dead_letter_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = shop(10)
    good = dumped(events)
    bad = {
        "not_json": b"not json",
        "out_of_range": json.dumps(events[0] | {"event_id": "x", "amount": -1}).encode(),
        "unknown_currency": json.dumps(events[0] | {"event_id": "x", "currency": "EURO"}).encode(),
        "missing_field": b"{}",
        "bad_encoding": b"\xff\xfe",
        "far_future": json.dumps(events[0] | {"event_id": "x", "timestamp": "2199-01-01T00:00:00Z"}).encode(),
    }
    mixed = [*good[:50], *bad.values(), *good[50:]]
    clean = replayed(capsys, str(file_of(tmp_path, *good)))
    report = replayed(capsys, str(file_of(tmp_path, *mixed)))

    assert report["dead_letters_by_reason"] == dict.fromkeys(sorted(bad), 1)
    assert report["first_fault_by_reason"]["not_json"]["number"] == 51
    assert report["events"] == len(good)
    for kept in ("customers", "tiers", "scores", "examples", "last_event", "metrics"):
        assert report[kept] == clean[kept]


def test_a_repeated_event_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = dumped(shop(10))
    once = replayed(capsys, str(file_of(tmp_path, *lines)))
    twice = replayed(capsys, str(file_of(tmp_path, *(line for line in lines for _ in range(2)))))

    assert twice["duplicates"] == len(lines)
    for kept in ("events", "tiers", "scores", "interventions", "metrics"):
        assert twice[kept] == once[kept]


def test_time_can_be_let_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(file_of(tmp_path, *dumped(shop(10))))
    still, advanced = replayed(capsys, path), replayed(capsys, path, "--advance-to", "2026-12-01")

    assert advanced["event_time_reached"] == "2026-12-01T00:00:00.000Z"
    assert advanced["examples"] > still["examples"]


def test_outputs_are_written_as_they_would_stand_on_their_topics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_APP_ACTIONS_MODE", "live")
    monkeypatch.setenv("STREAM_APP_UNKNOWN_CONSENT", "allow")
    out = tmp_path / "outputs.jsonl"
    report = replayed(capsys, str(file_of(tmp_path, *dumped(shop()))), "--out", str(out))
    written = [json.loads(line) for line in out.read_bytes().splitlines()]

    by_topic = {topic: sum(record["topic"] == topic for record in written) for topic in Topic}
    assert by_topic[Topic.INTERVENTIONS] == report["interventions"] > 0
    assert by_topic[Topic.SCORES] == report["scores"]
    assert by_topic[Topic.TRAINING] == 0
    assert all(record["value"]["customer_id"] == record["key"] for record in written if record["value"])


def test_an_empty_file_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay", str(file_of(tmp_path, b""))])

    assert ended.value.code == 1


def test_the_text_report_tells_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", str(file_of(tmp_path, *dumped(shop(10)), b"broken"))])
    out = capsys.readouterr().out

    assert "1 dead letters: not_json 1" in out
    assert "customers by tier: low" in out
    assert "10 customers" in out


@pytest.mark.data
def test_real_clicks_and_orders_are_all_taken(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [str(data_dir / "rees46_sample" / name) for name in ("clickstream.jsonl.gz", "orders.jsonl.gz")]
    report = replayed(capsys, *files)

    assert (report["records"], report["events"], report["dead_letters"]) == (17_634, 17_634, 0)
    assert report["records_by_topic"] == {"clickstream": 17_434, "orders": 200}


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(1200)  # a minute or two of work, on a machine that may be busy with other things
def test_every_order_of_a_real_shop_is_taken(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = replayed(capsys, str(data_dir / "cdnow" / "orders.jsonl.gz"), "--model", "prior")

    assert (report["records"], report["customers"], report["dead_letters"]) == (69_659, 23_570, 0)
