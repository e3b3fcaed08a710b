"""The log of the models' life on its topic: events to records, requests from people, and what the log says now."""

from collections.abc import Iterable
from datetime import datetime
from uuid import uuid4

from aiokafka import AIOKafkaProducer, ConsumerRecord

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.model_registry import ModelRecord
from stream_app.adapters.topic_reading import read_topics
from stream_app.core.model_events import ModelEvent, PolicyStep, Wish
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import to_json

_HEADERS = [("content-type", b"application/json")]
CHANGES = frozenset({"promoted", "rolled_back"})


class ModelLog:
    """All events of one horizon, oldest first, repeats left out."""

    def __init__(self, horizon_days: int) -> None:
        self._horizon_days = horizon_days
        self._by_id: dict[str, ModelEvent] = {}

    def take(self, value: bytes | None) -> None:
        """Take in one record; what is no event of this horizon is passed over."""
        if value is None:
            return
        try:
            event = ModelEvent.model_validate_json(value)
        except ValueError:
            return
        if event.horizon_days == self._horizon_days:
            self._by_id.setdefault(event.event_id, event)

    @property
    def events(self) -> tuple[ModelEvent, ...]:
        """Everything, in the order of the log."""
        return tuple(self._by_id.values())

    @property
    def champion(self) -> str:
        """Who serves by the last event that tells; empty before the first."""
        return next((event.champion for event in reversed(self.events) if event.champion), "")

    @property
    def last_review(self) -> ModelEvent | None:
        """The newest look at all comparisons."""
        return next((event for event in reversed(self.events) if event.kind == "reviewed"), None)

    @property
    def proposal(self) -> ModelEvent | None:
        """The promotion that waits for a person, None if none does."""
        for event in reversed(self.events):
            if event.kind == "proposed":
                return event
            if event.kind in CHANGES or event.kind == "declined":
                return None
        return None

    def answer(self, request_id: str) -> ModelEvent | None:
        """Return what became of a request; None while it waits for the trainer."""
        return next((event for event in reversed(self.events) if event.answers == request_id), None)

    def told(self, kinds: Iterable[str]) -> tuple[ModelEvent, ...]:
        """Return the events of some kinds."""
        wanted = frozenset(kinds)
        return tuple(event for event in self.events if event.kind in wanted)


def event_record(event: ModelEvent) -> ModelRecord:
    """Return the record of an event."""
    return ModelRecord(event.event_id.encode(), to_json(event), list(_HEADERS), Topic.MODEL_EVENTS)


def request_of(wish: Wish, horizon_days: int, by: str, now: datetime, challenger: str, reason: str) -> ModelEvent:
    """Return a person's request under an id of its own."""
    return ModelEvent(
        event_id=f"req_{uuid4().hex[:24]}",
        kind="requested",
        horizon_days=horizon_days,
        at=now,
        by=by,
        challenger=challenger,
        wish=wish,
        reason=reason,
    )


def policy_event_of(
    step: PolicyStep, horizon_days: int, policy: str, former: str, by: str, now: datetime, reason: str
) -> ModelEvent:
    """Return what a person did to the policy that workers follow, under an id of its own."""
    return ModelEvent(
        event_id=f"pol_{uuid4().hex[:24]}",
        kind=step,
        horizon_days=horizon_days,
        at=now,
        by=by,
        policy=policy,
        former=former,
        reason=reason,
    )


async def read_log(settings: Settings) -> ModelLog:
    """Read the topic to its present end; raises what `read_topics` does."""
    log = ModelLog(settings.horizon_days)

    def take(_: Topic, record: ConsumerRecord) -> None:
        log.take(record.value)

    await read_topics(settings, (Topic.MODEL_EVENTS,), take)
    return log


async def send_request(settings: Settings, request: ModelEvent) -> None:
    """Send a request and await its acknowledgement; the trainer answers on the same topic."""
    record = event_record(request)
    async with AIOKafkaProducer(**client_arguments(settings), acks="all") as producer:
        await producer.send_and_wait(settings.topic(record.topic), record.value, key=record.key, headers=record.headers)
