"""Bytes of a Kafka record to an engine entry, or to a reason that a person understands.

Validation is strict: what the JSON Schema refuses is refused here (a number in quotes is a string).
Nothing here raises for bad input.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from stream_app.core.events import (
    CalendarDay,
    ClickEvent,
    CustomerProfile,
    FeedbackEvent,
    OrderEvent,
    Product,
    ReviewEvent,
    Tick,
)
from stream_app.core.records import Position, Record, TimePassed
from stream_app.core.times import DAY_MS, from_ms
from stream_app.core.topics import Topic
from stream_app.wire.clicks import read_click
from stream_app.wire.headers import Headers, source_position, traceparent_of
from stream_app.wire.rejection import Rejection, from_validation_error

EARLIEST_MS = 631_152_000_000
"""1990-01-01: an earlier event time is a producer's mistake, mostly seconds taken for milliseconds."""

LATEST_MS = 7_258_118_400_000
"""2200-01-01: far enough from the end of the calendar that horizons can be added to any event time."""

MODELS: Mapping[Topic, type[BaseModel]] = {
    Topic.CLICKSTREAM: ClickEvent,
    Topic.ORDERS: OrderEvent,
    Topic.REVIEWS: ReviewEvent,
    Topic.CUSTOMERS: CustomerProfile,
    Topic.FEEDBACK: FeedbackEvent,
    Topic.TICKS: Tick,
    Topic.PRODUCTS: Product,
    Topic.CALENDAR: CalendarDay,
}
"""The contract of every input topic."""

# This is the hot path of the worker. Hashing an enum member is a Python call, and looking one up on its class is slow
# too, so members are bound once and found by identity.
_VALIDATE: dict[int, Any] = {id(topic): model.__pydantic_validator__.validate_json for topic, model in MODELS.items()}
_CLICKS, _CUSTOMERS, _REROUTED, _TICKS = Topic.CLICKSTREAM, Topic.CUSTOMERS, Topic.REROUTED, Topic.TICKS
_REFERENCE_TOPICS = frozenset({Topic.PRODUCTS, Topic.CALENDAR})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPENING = b"[{"
MAX_IDENTIFIER_LENGTH = 128
"""As `core.events.Identifier` has it."""


class DecodeLimits(msgspec.Struct, frozen=True):
    """What a record may be, apart from its schema; the shell makes it from its settings."""

    max_bytes: int = 262_144
    max_depth: int = 32
    future_tolerance_ms: int | None = DAY_MS
    """How far an event time may be ahead of its record's Kafka timestamp; None: not judged here (event clock)."""
    source_epoch: int = 0
    """Epoch of positions that are read from the source topics themselves."""


DEFAULT_LIMITS = DecodeLimits()


def decode(
    topic: Topic,
    key: bytes | None,
    value: bytes | None,
    headers: Headers | None,
    partition: int,
    offset: int,
    record_ms: int,
    limits: DecodeLimits = DEFAULT_LIMITS,
) -> Record | TimePassed | Rejection:
    """Return what a record of a customer topic, of `rerouted` or of `ticks` says, or why it cannot be used.

    Parameters
    ----------
    topic
        Role of the topic that the record was read from.
    key, value, headers
        As they stand in the log. Only a tombstone's key is read here; whether a key fits is the caller's to check.
    partition, offset
        Place in that topic.
    record_ms
        Kafka timestamp of the record in milliseconds; 0 or less where there is none.
    limits
        Bounds on size, depth and time.
    """
    if topic is not _REROUTED:
        position = Position(topic, partition, offset, limits.source_epoch)
    else:
        found = source_position(headers or ())
        if found is None:
            return Rejection(
                "no_source_position",
                "",
                "the record lacks valid stream-app-source-* headers: only workers write to this topic",
            )
        position = found
    traceparent = traceparent_of(headers) if headers else ""
    event: Any
    at_ms: int
    if not value:
        return _without_value(position, key, value, record_ms, traceparent)
    usual = read_click(value) if position.topic is _CLICKS and len(value) <= limits.max_bytes else None
    if usual is not None:
        event, at_ms = usual
    else:
        event = _parse(position.topic, value, limits)
        if isinstance(event, Rejection):
            return event
        at_ms = (event.timestamp - _EPOCH) // _ONE_MS
    tolerance_ms = limits.future_tolerance_ms
    if not EARLIEST_MS <= at_ms <= LATEST_MS or (tolerance_ms is not None and 0 < record_ms < at_ms - tolerance_ms):
        return _refuse_time(at_ms, record_ms, tolerance_ms or 0)
    if position.topic is _TICKS:
        return TimePassed(at_ms)
    return Record(position, event.customer_id, at_ms, event, max(record_ms, 0), traceparent)


def decode_reference(
    topic: Topic, value: bytes, limits: DecodeLimits = DEFAULT_LIMITS
) -> Product | CalendarDay | Rejection:
    """Return a product or a calendar day, the facts that are not about a customer, or why the record cannot be used.

    Parameters
    ----------
    topic
        `Topic.PRODUCTS` or `Topic.CALENDAR`.
    value
        The record's value; a tombstone is the caller's to see.
    limits
        Bounds on size and depth.
    """
    if topic not in _REFERENCE_TOPICS:
        return Rejection("not_an_input", "", f"{topic} holds no products or calendar days")
    if not value:
        return Rejection("empty", "", "the record is empty: send one JSON object")
    fact: Product | CalendarDay | Rejection = _parse(topic, value, limits)
    return fact


def _parse(topic: Topic, value: bytes, limits: DecodeLimits) -> Any:
    """Return the event, of whichever model the topic has, or a `Rejection`."""
    validate = _VALIDATE.get(id(topic))
    if validate is None:
        return Rejection("not_an_input", "", f"{topic} is not a topic that events are read from")
    if len(value) > limits.max_bytes:
        return Rejection(
            "too_large",
            "",
            f"the record has {len(value):,} bytes, and at most {limits.max_bytes:,} are taken: "
            "send references, not contents",
        )
    if value.count(b"{") + value.count(b"[") > limits.max_depth and _too_deep(value, limits.max_depth):
        return Rejection(
            "too_deep",
            "",
            f"the record is nested deeper than {limits.max_depth} levels: events need no more than a few",
        )
    try:
        return validate(value, strict=True)
    except ValidationError as failure:
        return _bad_encoding(value) or from_validation_error(failure)


def _too_deep(value: bytes, max_depth: int) -> bool:
    """Tell whether a JSON text is nested deeper than `max_depth`.

    Long orders have many brackets and few levels, so innermost pairs are stripped first: a pass takes one or two
    levels. Brackets inside strings matter only in what is left, which is measured exactly; the parser's own limit of
    200 levels backs this up.
    """
    brackets = value.translate(None, _NOT_BRACKETS)
    for _ in range(max_depth // 2):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    deepest = depth = 0
    for byte in _STRINGS.sub(b"", value).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in _OPENING else -1
        deepest = max(deepest, depth)
    return deepest > max_depth


def _bad_encoding(value: bytes) -> Rejection | None:
    """Tell wrong bytes from wrong JSON; looked for only once a record was refused."""
    remedy = "send the JSON text encoded as UTF-8, without a byte order mark"
    if value.startswith(_BYTE_ORDER_MARKS):
        return Rejection("bad_encoding", "", f"the record begins with a byte order mark: {remedy}")
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as failure:
        return Rejection(
            "bad_encoding",
            "",
            f"the record is not UTF-8 (byte {failure.start:,} is 0x{value[failure.start]:02x}): {remedy}",
        )
    if "\x00" in text:
        return Rejection(
            "bad_encoding", "", f"the record holds zero bytes, as UTF-16 or a binary format does: {remedy}"
        )
    return None


def _refuse_time(at_ms: int, record_ms: int, tolerance_ms: int) -> Rejection:
    """Say what is wrong with an event time that cannot be used."""
    if at_ms < EARLIEST_MS:
        return Rejection(
            "far_past",
            "timestamp",
            f"timestamp {_date(at_ms)} lies before 1990: were seconds taken for milliseconds?",
        )
    if at_ms > LATEST_MS:
        return Rejection(
            "far_future",
            "timestamp",
            f"timestamp {_date(at_ms)} lies after 2200: send the time at which the event happened",
        )
    ahead_days = (at_ms - record_ms) / DAY_MS
    return Rejection(
        "far_future",
        "timestamp",
        f"timestamp {_date(at_ms)} is {ahead_days:,.1f} days ahead of the record's own Kafka timestamp, and "
        f"{tolerance_ms / DAY_MS:,.1f} are tolerated: check the producer's clock and time zone",
    )


def _date(at_ms: int) -> str:
    """Return the UTC date of any time that a record can carry, even just outside of the calendar."""
    try:
        return from_ms(at_ms).date().isoformat()
    except OverflowError:
        return "outside of the calendar"


def _without_value(
    position: Position, key: bytes | None, value: bytes | None, record_ms: int, traceparent: str
) -> Record | Rejection:
    """Read a tombstone: on `customers` it erases the customer in its key, elsewhere it is a mistake."""
    if value is not None:
        return Rejection(
            "empty", "", "the record is empty: send one JSON object (a null value, not an empty one, is a tombstone)"
        )
    if position.topic is not _CUSTOMERS:
        return Rejection(
            "empty",
            "",
            f"the record has no value: tombstones erase customers on {Topic.CUSTOMERS}, {position.topic} has none",
        )
    try:
        customer_id = (key or b"").decode("utf-8")
    except UnicodeDecodeError:
        return Rejection(
            "bad_encoding", "key", "the key of this tombstone is not UTF-8: send the customer_id as UTF-8 bytes"
        )
    if not 0 < len(customer_id) <= MAX_IDENTIFIER_LENGTH:
        return Rejection(
            "missing_field", "key", "the tombstone has no usable key: send the customer_id to erase as the record's key"
        )
    return Record(position, customer_id, max(record_ms, 0), None, max(record_ms, 0), traceparent)
