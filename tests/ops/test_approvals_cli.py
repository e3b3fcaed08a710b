"""Proposals are read from the topics, answered once, and the answers stay readable."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_app.adapters.approvals import ApprovalDesk, approval_of, rejection_of
from stream_app.adapters.clients import client_arguments
from stream_app.cli.main import main
from stream_app.core.effects import Output
from stream_app.core.outputs import SuppressedIntervention
from stream_app.core.times import to_ms
from stream_app.core.topics import Topic
from stream_app.decisions.types import Suppress
from stream_app.settings import Settings
from stream_app.wire.encode import encode, to_json
from tests.support.decisions import Decided, decider, point
from tests.support.logs import feedback

NOW = datetime(2024, 10, 4, 12, tzinfo=UTC)
Call = Callable[..., Any]


def proposals(count: int, at: datetime = NOW) -> list[SuppressedIntervention]:
    run = Decided(decider(mode_override="approve"))
    number = 0
    found: list[SuppressedIntervention] = []
    while len(found) < count:
        run.on([point(customer_id=f"c{number}", at_ms=to_ms(at))])
        number += 1
        found = [each.suppressed for each in run.those(Suppress) if each.suppressed.proposal is not None]
    return found


def identity(told: SuppressedIntervention) -> str:
    assert told.proposal is not None
    return told.proposal.intervention_id


def test_the_desk_knows_what_waits_and_what_was_answered() -> None:
    waiting, approved, rejected = proposals(3)
    desk = ApprovalDesk()
    for told in (waiting, approved, rejected, rejection_of(rejected, "Ada", "too dear: really", NOW)):
        desk.take_suppressed(to_json(told))
    desk.take_suppressed(None)
    for by in ("Bob", "Cyd"):
        desk.take_feedback(to_json(approval_of(approved, by, NOW, event_clock=False)))
    desk.take_feedback(to_json(feedback("c1", to_ms(NOW))))
    desk.take_feedback(None)

    assert [each.intervention_id for each in desk.waiting(NOW)] == [identity(waiting)]
    assert desk.waiting(NOW + timedelta(days=400)) == []
    refusal, approval = desk.answer(identity(rejected)), desk.answer(identity(approved))
    assert refusal is not None
    assert approval is not None
    assert (refusal.verdict, refusal.by, refusal.detail) == ("rejected", "Ada", "too dear: really")
    assert (approval.verdict, approval.by) == ("approved", "Bob")


def test_a_record_that_cannot_be_read_is_counted_and_hinders_nothing() -> None:
    told, later = proposals(2)
    desk = ApprovalDesk()
    newer = json.dumps({**json.loads(to_json(told)), "a_field_to_come": 1}).encode()
    for value in (to_json(told)[:-1], newer, b'"approval"', b'"rejected" \xff', b'{"reason": "rejected"}'):
        desk.take_suppressed(value)
    desk.take_suppressed(b"{")  # nothing that a desk is about
    desk.take_suppressed(to_json(later))
    assert desk.unreadable == 5
    assert [each.intervention_id for each in desk.waiting(NOW)] == [identity(later)]


def test_feedback_that_is_none_approves_nothing_and_hinders_nothing() -> None:
    (proposal,) = proposals(1)
    desk = ApprovalDesk()
    desk.take_suppressed(to_json(proposal))
    approval = to_json(approval_of(proposal, "Bob", NOW, event_clock=False))
    nameless = {name: value for name, value in json.loads(approval).items() if name != "customer_id"}
    for invalid in (json.dumps(nameless).encode(), approval[:-1], b'"approved"', b'"approved" \xff'):
        desk.take_feedback(invalid)
        assert desk.answer(identity(proposal)) is None
    desk.take_feedback(approval)

    told = desk.answer(identity(proposal))
    assert told is not None
    assert told.by == "Bob"


@pytest.fixture
def call(kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run `stream-app approvals ...` in this process: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("STREAM_APP_BOOTSTRAP", kafka_settings.bootstrap)
    monkeypatch.setenv("STREAM_APP_TOPIC_INTERVENTION_FEEDBACK", kafka_settings.topic_intervention_feedback)
    monkeypatch.setenv("STREAM_APP_TOPIC_SUPPRESSED_INTERVENTIONS", kafka_settings.topic_suppressed_interventions)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["approvals", *arguments])
        out, err = capsys.readouterr()
        return int(str(end.value.code or 0)), out, err

    return run


async def put(settings: Settings, told: list[SuppressedIntervention]) -> None:
    async with AIOKafkaProducer(**client_arguments(settings)) as producer:
        for each in told:
            record = encode(Output(Topic.SUPPRESSED, each.customer_id, each))
            await producer.send_and_wait(settings.topic(Topic.SUPPRESSED), record.value, key=record.key)
        other = to_json(feedback("c1", to_ms(NOW)))
        await producer.send_and_wait(settings.topic(Topic.FEEDBACK), other, key=b"c1")


async def answers_sent(settings: Settings) -> list[Any]:
    topic = settings.topic(Topic.FEEDBACK)
    consumer = AIOKafkaConsumer(topic, **client_arguments(settings), auto_offset_reset="earliest", group_id=None)
    await consumer.start()
    try:
        found: list[Any] = []
        while len(found) < 2:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


@pytest.mark.kafka
def test_a_proposal_is_answered_once_with_who_answered(call: Call, kafka_settings: Settings) -> None:
    first, second, third = proposals(3, at=datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0))
    asyncio.run(put(kafka_settings, [first, second, third]))

    listed = json.loads(call("list", "--json")[1])
    assert [row["id"] for row in listed] == [identity(first), identity(second), identity(third)]
    assert call("approve", identity(first), "--by", "Ada") == (0, "1 approved by Ada: workers send them\n", "")
    assert call("reject", identity(second), "--by", "Bob", "--why", "too dear")[0] == 0
    code, _, complaint = call("approve", identity(first), identity(third), "nobody", "--by", "Cyd")
    assert code == 1
    assert "already approved by Ada" in complaint
    assert "nobody: no such proposal" in complaint

    assert [row["id"] for row in json.loads(call("list", "--json")[1])] == [identity(third)]
    answers = {row["id"]: (row["verdict"], row["by"]) for row in json.loads(call("list", "--answered", "--json")[1])}
    assert answers == {identity(first): ("approved", "Ada"), identity(second): ("rejected", "Bob")}
    told = json.loads(asyncio.run(answers_sent(kafka_settings))[-1].value)
    assert (told["kind"], told["intervention_id"], told["detail"]) == ("approved", identity(first), "Ada")
    assert told["customer_id"] == first.customer_id
