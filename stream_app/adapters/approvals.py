"""Decisions in mode `approve`: who waits, who approved, who refused, all read from the topics themselves.

A proposal is a suppressed intervention with the reason `approval` that carries the whole intervention. It is approved
when the intervention stands on its topic (headers tell by whom), and refused when a suppressed intervention with the
reason `rejected` answers it. So there is no further store, and the audit trail has the retention of the topics.
"""

from collections.abc import Sequence
from datetime import datetime

import msgspec
import orjson
from aiokafka import AIOKafkaProducer, ConsumerRecord

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.topic_reading import read_topics
from stream_app.core.effects import Output
from stream_app.core.hashing import stable_id
from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.core.times import iso, to_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import encode

APPROVED_BY = "stream-app-approved-by"
APPROVED_AT = "stream-app-approved-at"
WAITING_REASON = "approval"
REJECTED_REASON = "rejected"
_CLOUDEVENT_ID = "ce_id"
_MARKS = (b'"' + WAITING_REASON.encode() + b'"', b'"' + REJECTED_REASON.encode() + b'"')

Headers = Sequence[tuple[str, bytes | None]]


class Answer(msgspec.Struct, frozen=True):
    """What became of a proposal."""

    verdict: str
    """approved or rejected."""
    by: str
    at: str
    detail: str = ""


class ApprovalDesk:
    """All proposals and answers that the topics tell of, in the order of the topic."""

    def __init__(self) -> None:
        self.proposals: dict[str, SuppressedIntervention] = {}
        """By intervention id."""
        self._answers: dict[str, Answer] = {}

    def take_suppressed(self, value: bytes | None) -> None:
        """Take in one record of suppressed-interventions; others than proposals and rejections are passed over."""
        if value is None or not any(mark in value for mark in _MARKS):
            return
        told = SuppressedIntervention.model_validate(orjson.loads(value))
        if told.reason == WAITING_REASON and told.proposal is not None:
            self.proposals[told.proposal.intervention_id] = told
        elif told.reason == REJECTED_REASON:
            by, _, why = told.detail.partition(": ")
            answer = Answer("rejected", by.removeprefix("Rejected by "), iso(to_ms(told.event_time)), why)
            self._answers[told.suppression_id] = answer

    def take_sent(self, headers: Headers, value: bytes | None) -> None:
        """Take in one record of interventions; only approved ones have something to say here."""
        found = {name: text.decode("utf-8") for name, text in headers if text is not None}
        if APPROVED_BY not in found:
            return
        # Binary CloudEvents carry their id in a header, structured ones in the value.
        identity = found.get(_CLOUDEVENT_ID) or (orjson.loads(value)["id"] if value else "")
        self._answers[identity] = Answer("approved", found[APPROVED_BY], found.get(APPROVED_AT, ""))

    def answer(self, intervention_id: str) -> Answer | None:
        """Return what became of a proposal, None while it waits."""
        return self._answers.get(intervention_id) or self._answers.get(rejection_id(intervention_id))

    def waiting(self, now: datetime | None) -> list[Intervention]:
        """Return the proposals without an answer that have not expired at `now` (None: the data's time is not ours)."""
        found = []
        for intervention_id, told in self.proposals.items():
            proposal = told.proposal
            if proposal is None or self.answer(intervention_id) is not None:
                continue
            if now is None or proposal.expires_at > now:
                found.append(proposal)
        return found


def rejection_id(intervention_id: str) -> str:
    """Return the id of the record that refuses a proposal: one, however often it is refused."""
    return stable_id("sup", intervention_id, REJECTED_REASON)


def rejection_of(told: SuppressedIntervention, by: str, why: str, now: datetime) -> SuppressedIntervention:
    """Return the record that refuses a proposal."""
    if told.proposal is None:
        raise ValueError(f"{told.suppression_id} proposes nothing")
    return told.model_copy(
        update={
            "suppression_id": rejection_id(told.proposal.intervention_id),
            "event_time": now,
            "reason": REJECTED_REASON,
            "detail": f"Rejected by {by}: {why}",
            "proposal": None,
        }
    )


async def read_desk(settings: Settings) -> ApprovalDesk:
    """Read both topics to their present ends; raises what `read_topics` does."""
    desk = ApprovalDesk()

    def take(topic: Topic, record: ConsumerRecord) -> None:
        if topic is Topic.SUPPRESSED:
            desk.take_suppressed(record.value)
        else:
            desk.take_sent(record.headers, record.value)

    await read_topics(settings, (Topic.SUPPRESSED, Topic.INTERVENTIONS), take)
    return desk


async def approve(settings: Settings, told: SuppressedIntervention, by: str, now: datetime) -> None:
    """Send a proposed intervention, with who approved it and when in its headers.

    Its id is the proposal's, so that a subscriber that gets it twice acts once.
    """
    if told.proposal is None:
        raise ValueError(f"{told.suppression_id} proposes nothing")
    audit = ((APPROVED_BY, by.encode("utf-8")), (APPROVED_AT, iso(to_ms(now)).encode()))
    await _send(settings, Output(Topic.INTERVENTIONS, told.customer_id, told.proposal), audit)


async def reject(settings: Settings, told: SuppressedIntervention, by: str, why: str, now: datetime) -> None:
    """Record that a proposal is refused."""
    await _send(settings, Output(Topic.SUPPRESSED, told.customer_id, rejection_of(told, by, why, now)), ())


async def _send(settings: Settings, output: Output, audit: tuple[tuple[str, bytes], ...]) -> None:
    encoded = encode(output, settings.encode_policy())
    async with AIOKafkaProducer(**client_arguments(settings), acks="all") as producer:
        await producer.send_and_wait(
            settings.topic(encoded.topic), encoded.value, key=encoded.key, headers=[*encoded.headers, *audit]
        )
