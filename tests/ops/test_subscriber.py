"""The reference subscriber: once each, never the expired, nothing lost when the service behind is down."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.subscriber import ID_HEADER, SIGNATURE_HEADER, Desk, Done, Webhook, parse, signature
from stream_app.cli.main import main
from stream_app.core.effects import Output
from stream_app.core.events import FeedbackEvent
from stream_app.core.outputs import Intervention
from stream_app.core.times import to_ms
from stream_app.core.topics import Topic
from stream_app.decisions.types import Act
from stream_app.settings import Settings
from stream_app.wire.encode import EncodePolicy, encode
from tests.support.decisions import Decided, decider, point

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
SECRET = b"shared"


def interventions(count: int) -> list[Intervention]:
    run = Decided(decider())
    number = 0
    while len(run.those(Act)) < count:
        run.on([point(customer_id=f"c{number}", at_ms=to_ms(NOON))])
        number += 1
    return [act.intervention for act in run.those(Act)]


def record(intervention: Intervention, *, structured: bool = False) -> bytes:
    value = encode(
        Output(Topic.INTERVENTIONS, intervention.customer_id, intervention), EncodePolicy(structured=structured)
    ).value
    assert value is not None
    return value


class Receiver:
    """A service behind a webhook that answers as told, and remembers what it got."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.requests.append((dict(self.headers), body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def done(tmp_path: Path) -> Iterator[Done]:
    kept = Done(tmp_path / "done.sqlite")
    yield kept
    kept.close()


class Told:
    """Remembers what was delivered."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    def deliver(self, intervention: Intervention, _body: bytes) -> None:
        self.ids.append(intervention.intervention_id)


def test_each_is_delivered_once_also_over_a_restart(tmp_path: Path) -> None:
    one, two = interventions(2)
    told, reports = Told(), list[FeedbackEvent]()
    for value in ([record(one), record(one)], [record(one), record(two, structured=True)]):
        done = Done(tmp_path / "done.sqlite")
        desk = Desk(told, done, tmp_path / "dead.jsonl", reports.append)
        for each in value:
            desk.handle(each, NOON)
        done.close()
    assert told.ids == [one.intervention_id, two.intervention_id]
    assert [(r.intervention_id, r.kind, r.channel) for r in reports] == [
        (i.intervention_id, "sent", i.channel) for i in (one, two)
    ]


def test_the_expired_are_dropped_unless_the_data_make_the_time(done: Done, tmp_path: Path) -> None:
    (one,) = interventions(1)
    late = one.expires_at + timedelta(seconds=1)
    told = Told()
    wall = Desk(told, done, tmp_path / "dead.jsonl", lambda _: None)
    wall.handle(record(one), late)
    assert (wall.tally.expired, told.ids) == (1, [])
    reports: list[FeedbackEvent] = []
    Desk(told, done, tmp_path / "dead.jsonl", reports.append, expires=False).handle(record(one), late)
    assert told.ids == [one.intervention_id]
    assert reports[0].timestamp == one.decided_at


def test_what_cannot_be_read_or_delivered_is_kept_with_its_reason(done: Done, tmp_path: Path) -> None:
    (one,) = interventions(1)
    dead = tmp_path / "dead.jsonl"
    with Receiver(410) as receiver:
        desk = Desk(Webhook(receiver.url), done, dead, lambda _: None)
        for value in (b"{", None, b"\xff", record(one)):
            desk.handle(value, NOON)
    assert desk.tally.dead == 4
    lines = [json.loads(line) for line in dead.read_text().splitlines()]
    assert lines[-1]["id"] == one.intervention_id
    assert lines[-1]["reason"] == "HTTP 410"
    assert parse(lines[-1]["value"].encode())[0] == one
    assert one.intervention_id not in done


def test_a_busy_service_is_tried_again_with_growing_patience_and_a_valid_signature(done: Done, tmp_path: Path) -> None:
    (one,) = interventions(1)
    waits: list[float] = []
    with Receiver(503, 429) as receiver:
        webhook = Webhook(receiver.url, SECRET, backoff_seconds=0.5, sleep=waits.append)
        Desk(webhook, done, tmp_path / "dead.jsonl", lambda _: None).handle(record(one), NOON)
    assert waits == [0.5, 1.0]
    assert len(receiver.requests) == 3
    headers, body = receiver.requests[-1]
    assert headers[SIGNATURE_HEADER] == signature(SECRET, body)
    assert headers[SIGNATURE_HEADER] != signature(b"other", body)
    assert headers[ID_HEADER] == one.intervention_id
    assert one.intervention_id in done


def test_a_service_that_stays_away_ends_in_dead_letters(done: Done, tmp_path: Path) -> None:
    (one,) = interventions(1)
    with Receiver() as receiver:
        url = receiver.url
    desk = Desk(Webhook(url, attempts=2, sleep=lambda _: None), done, tmp_path / "dead.jsonl", lambda _: None)
    desk.handle(record(one), NOON)
    assert desk.tally.dead == 1
    assert "at each of 2 attempts" in (tmp_path / "dead.jsonl").read_text()


def test_a_webhook_is_an_http_address() -> None:
    with pytest.raises(ValueError, match="http or https"):
        Webhook("file:///etc/passwd")


async def put(settings: Settings, values: list[bytes]) -> None:
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for value in values:
            await producer.send_and_wait(settings.topic(Topic.INTERVENTIONS), value, key=b"c")


async def feedback(settings: Settings, count: int) -> list[Any]:
    topic = settings.topic(Topic.FEEDBACK)
    consumer = AIOKafkaConsumer(topic, **client_arguments(settings), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        found: list[Any] = []
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [(record.key, json.loads(record.value)) for record in records]
        return found
    finally:
        await consumer.stop()


@pytest.mark.kafka
def test_the_command_delivers_from_kafka_and_reports_back(
    kafka_settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    run_command: Callable[..., int],
) -> None:
    one, two = interventions(2)
    asyncio.run(put(kafka_settings, [record(one), record(two), record(one)]))
    for name in ("bootstrap", "topic_interventions", "topic_intervention_feedback"):
        monkeypatch.setenv(f"STREAM_APP_{name.upper()}", getattr(kafka_settings, name))
    monkeypatch.setenv("STREAM_APP_DATA_DIR", str(tmp_path))

    assert run_command("subscribe", "--group", kafka_settings.app_id, "--idle-seconds", "4") == 0

    printed = capsys.readouterr().out
    assert f"{one.action} to {one.customer_id} by {one.channel}" in printed
    assert "2 delivered, 1 repeated, 0 expired, 0 to" in printed
    told = asyncio.run(feedback(kafka_settings, 2))
    assert {(key.decode(), body["intervention_id"], body["kind"]) for key, body in told} == {
        (each.customer_id, each.intervention_id, "sent") for each in (one, two)
    }


@pytest.fixture
def run_command() -> Callable[..., int]:
    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        return int(str(end.value.code or 0))

    return run
