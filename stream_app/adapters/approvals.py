"""Decisions in mode `approve`: who waits, who approved, who refused, all read from the topics themselves.

A proposal is a suppressed intervention with the reason `approval` that carries the whole intervention. An approval is a
record of its own among the feedback: the engine that owns the customer sends the proposal then, if the customer has not
withdrawn consent meanwhile, and counts the contact; the intervention says who approved it and when. A proposal is
refused when a suppressed intervention with the reason `rejected` answers it. So there is no further store, and the
audit trail has the retention of the topics.
"""

from datetime import datetime
from typing import Final

import msgspec
import orjson
from aiokafka import AIOKafkaProducer, ConsumerRecord

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.topic_reading import read_topics
from stream_app.core.effects import Output
from stream_app.core.events import FeedbackEvent
from stream_app.core.hashing import stable_id
from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.core.times import from_ms, iso, to_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import encode, to_json

APPROVED: Final = "approved"
WAITING_REASON = "approval"
REJECTED_REASON = "rejected"
_MARKS = (b'"' + WAITING_REASON.encode() + b'"', b'"' + REJECTED_REASON.encode() + b'"')
_APPROVED_MARK = b'"' + APPROVED.encode() + b'"'


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
        self.unreadable = 0
        """Records that look like proposals or rejections and are none: what they tell of is missing here."""

    def take_suppressed(self, value: bytes | None) -> None:
        """Take in one record of suppressed-interventions; others than proposals and rejections are passed over.

        One that cannot be read is counted: it may come from a newer version, and must not keep people from all others.
        """
        if value is None or not any(mark in value for mark in _MARKS):
            return
        try:
            told = SuppressedIntervention.model_validate(orjson.loads(value))
        except ValueError:
            self.unreadable += 1
            return
        if told.reason == WAITING_REASON and told.proposal is not None:
            self.proposals[told.proposal.intervention_id] = told
        elif told.reason == REJECTED_REASON:
            by, _, why = told.detail.partition(": ")
            answer = Answer("rejected", by.removeprefix("Rejected by "), iso(to_ms(told.event_time)), why)
            self._answers[told.suppression_id] = answer

    def take_feedback(self, value: bytes | None) -> None:
        """Take in one record of intervention-feedback; others than valid approvals are passed over.

        Anyone may write there: workers refuse what is no feedback, so it approves nothing, and it is no reason to stop.
        """
        if value is None or _APPROVED_MARK not in value:
            return
        try:
            told = FeedbackEvent.model_validate(orjson.loads(value))
        except ValueError:
            return
        if told.kind == APPROVED:
            answer = Answer(APPROVED, told.detail or "", iso(to_ms(told.timestamp)))
            self._answers.setdefault(told.intervention_id, answer)

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
            desk.take_feedback(record.value)

    await read_topics(settings, (Topic.SUPPRESSED, Topic.FEEDBACK), take)
    return desk


def approval_of(told: SuppressedIntervention, by: str, now: datetime, *, event_clock: bool) -> FeedbackEvent:
    """Return the record that approves a proposal: one, however often it is approved.

    Under the event clock it is of the time of the proposal: this machine's clock says nothing about the data's time.
    """
    if told.proposal is None:
        raise ValueError(f"{told.suppression_id} proposes nothing")
    return FeedbackEvent(
        customer_id=told.customer_id,
        timestamp=from_ms(to_ms(told.proposal.decided_at)) if event_clock else now,
        event_id=f"{told.proposal.intervention_id}-{APPROVED}",
        intervention_id=told.proposal.intervention_id,
        kind=APPROVED,
        channel=told.channel,
        detail=by,
    )


async def approve(settings: Settings, told: SuppressedIntervention, by: str, now: datetime) -> None:
    """Record that a proposal is approved; a worker sends it.

    Its id is the proposal's, so that a subscriber that gets it twice acts once.
    """
    approval = approval_of(told, by, now, event_clock=settings.clock == "event")
    async with AIOKafkaProducer(**client_arguments(settings), acks="all") as producer:
        await producer.send_and_wait(
            settings.topic(Topic.FEEDBACK), to_json(approval), key=approval.customer_id.encode("utf-8")
        )


async def reject(settings: Settings, told: SuppressedIntervention, by: str, why: str, now: datetime) -> None:
    """Record that a proposal is refused."""
    refusal = Output(Topic.SUPPRESSED, told.customer_id, rejection_of(told, by, why, now))
    encoded = encode(refusal, settings.encode_policy())
    async with AIOKafkaProducer(**client_arguments(settings), acks="all") as producer:
        await producer.send_and_wait(
            settings.topic(encoded.topic), encoded.value, key=encoded.key, headers=[*encoded.headers]
        )
