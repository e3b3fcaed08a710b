"""The reference subscriber: takes interventions off their topic, delivers each once, and reports back what it sent.

What a messaging service must mind is all here, and small enough to copy: an intervention may come twice (same id, same
bytes), may have expired while nobody listened, may be refused by the service behind; and the offset is committed only
when everything before it is done with.
"""

import hashlib
import hmac
import json
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec
import orjson
from kafka import KafkaConsumer, KafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.core.events import FeedbackEvent
from stream_app.core.outputs import Intervention
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import to_json

SIGNATURE_HEADER = "X-Stream-App-Signature"
ID_HEADER = "X-Stream-App-Id"
_POLL_MS = 500
_TOO_MANY_REQUESTS = 429
_SERVER_ERROR = 500


class RefusedError(Exception):
    """The service behind will never take this intervention: trying again is useless."""


class UnreachableError(Exception):
    """The service behind did not take it after all attempts; it may later."""


class Delivery(Protocol):
    """How an intervention reaches a customer."""

    def deliver(self, intervention: Intervention, body: bytes) -> None:
        """Deliver, or raise `RefusedError` or `UnreachableError`."""
        ...


class Webhook:
    """Posts interventions as JSON, signed: `sha256=` and the hexadecimal HMAC-SHA256 of the body under a shared secret.

    Parameters
    ----------
    url
        http or https.
    secret
        Shared with the receiver; empty: unsigned.
    attempts
        Tries per intervention, on a connection failure, 429 or 5xx; any other 4xx is final.
    backoff_seconds
        Wait before the second attempt; doubled before each further one.
    timeout_seconds
        Of one attempt.
    sleep
        How to wait.
    """

    def __init__(
        self,
        url: str,
        secret: bytes = b"",
        attempts: int = 5,
        backoff_seconds: float = 0.5,
        timeout_seconds: float = 10.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url}: a webhook is an http or https address")
        self._url = url
        self._secret = secret
        self._attempts = attempts
        self._backoff_seconds = backoff_seconds
        self._timeout_seconds = timeout_seconds
        self._sleep = sleep

    def deliver(self, intervention: Intervention, body: bytes) -> None:
        """Post the intervention.

        Raises
        ------
        RefusedError
            The receiver answered that it does not want this one.
        UnreachableError
            It could not be reached, or was busy or broken at every attempt.
        """
        headers = {"Content-Type": "application/json", ID_HEADER: intervention.intervention_id}
        if self._secret:
            headers[SIGNATURE_HEADER] = signature(self._secret, body)
        trouble = ""
        for attempt in range(self._attempts):
            if attempt:
                self._sleep(self._backoff_seconds * 2 ** (attempt - 1))
            request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - scheme is checked
            try:
                with urllib.request.urlopen(request, timeout=self._timeout_seconds):  # noqa: S310 - as above
                    return
            except urllib.error.HTTPError as answer:
                answer.close()
                trouble = f"HTTP {answer.code}"
                if answer.code < _SERVER_ERROR and answer.code != _TOO_MANY_REQUESTS:
                    raise RefusedError(trouble) from answer
            except (OSError, urllib.error.URLError) as failure:
                trouble = str(failure)
        raise UnreachableError(f"{trouble} at each of {self._attempts} attempts")


def signature(secret: bytes, body: bytes) -> str:
    """Return what the receiver compares with its own computation (in constant time)."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


class Tally(msgspec.Struct):
    """What became of the records so far."""

    delivered: int = 0
    repeated: int = 0
    expired: int = 0
    dead: int = 0


class Done:
    """The ids that are done with, in a small database beside the subscriber: idempotency over restarts."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(file)
        self._database.execute("CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY, at TEXT NOT NULL)")

    def __contains__(self, identity: str) -> bool:
        return self._database.execute("SELECT 1 FROM done WHERE id = ?", (identity,)).fetchone() is not None

    def add(self, identity: str, at: datetime) -> None:
        """Remember an id for good."""
        with self._database:
            self._database.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (identity, at.isoformat()))

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


class Desk:
    """Decides what happens to one record; knows nothing of Kafka.

    Parameters
    ----------
    delivery
        How interventions reach customers.
    done
        Ids that were delivered before.
    dead_letters
        File that takes what cannot be delivered, one JSON object a line.
    report
        Called with the feedback of each delivery.
    expires
        False under the event clock: expiry is in the data's time, of which the wall clock knows nothing.
    """

    def __init__(
        self,
        delivery: Delivery,
        done: Done,
        dead_letters: Path,
        report: Callable[[FeedbackEvent], None],
        *,
        expires: bool = True,
    ) -> None:
        self._delivery = delivery
        self._done = done
        self._dead_letters = dead_letters
        self._report = report
        self._expires = expires
        self.tally = Tally()

    def handle(self, value: bytes | None, now: datetime) -> None:
        """Deliver what a record holds, unless it is done with, expired, or not to be read."""
        try:
            intervention, body = parse(value)
        except ValueError as failure:
            self._bury("", f"no intervention: {failure}", value, now)
            return
        identity = intervention.intervention_id
        if identity in self._done:
            self.tally.repeated += 1
            return
        if self._expires and intervention.expires_at <= now:
            self.tally.expired += 1
            return
        try:
            self._delivery.deliver(intervention, body)
        except (RefusedError, UnreachableError) as failure:
            self._bury(identity, str(failure), value, now)
            return
        self._done.add(identity, now)
        self.tally.delivered += 1
        self._report(
            FeedbackEvent(
                customer_id=intervention.customer_id,
                timestamp=now if self._expires else intervention.decided_at,
                event_id=f"{identity}-sent",
                intervention_id=identity,
                kind="sent",
                channel=intervention.channel,
            )
        )

    def _bury(self, identity: str, reason: str, value: bytes | None, now: datetime) -> None:
        self.tally.dead += 1
        text = (value or b"").decode("utf-8", "replace")
        line = {"id": identity, "at": now.isoformat(), "reason": reason, "value": text}
        self._dead_letters.parent.mkdir(parents=True, exist_ok=True)
        with self._dead_letters.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def parse(value: bytes | None) -> tuple[Intervention, bytes]:
    """Return the intervention of a record and its bytes, from a binary CloudEvent or a structured one.

    Raises
    ------
    ValueError
        It is none.
    """
    if value is None:
        raise ValueError("the record is empty")
    document = orjson.loads(value)
    if isinstance(document, dict) and "specversion" in document:
        value = orjson.dumps(document.get("data"))
        document = document.get("data")
    return Intervention.model_validate(document), value


class Subscriber:
    """The loop around a `Desk`: poll, handle, send feedback, commit. A context manager."""

    def __init__(
        self, settings: Settings, group: str, make_desk: Callable[[Callable[[FeedbackEvent], None]], Desk]
    ) -> None:
        self._feedback_topic = settings.topic(Topic.FEEDBACK)
        arguments = client_arguments(settings)
        self._consumer = KafkaConsumer(
            settings.topic(Topic.INTERVENTIONS),
            **arguments,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        self._producer = KafkaProducer(**arguments, acks="all")
        self.desk = make_desk(self._send)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._producer.close()
        self._consumer.close()

    def step(self) -> int:
        """Take what is there within half a second, finish it and commit; return how many records it was."""
        batches: Sequence[Sequence[object]] = list(self._consumer.poll(timeout_ms=_POLL_MS).values())
        count = 0
        for batch in batches:
            for record in batch:
                self.desk.handle(record.value, datetime.now(UTC))  # type: ignore[attr-defined]  # kafka-python is untyped
                count += 1
        if count:
            self._producer.flush()
            self._consumer.commit()
        return count

    def _send(self, feedback: FeedbackEvent) -> None:
        self._producer.send(self._feedback_topic, key=feedback.customer_id.encode("utf-8"), value=to_json(feedback))
