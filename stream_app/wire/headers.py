"""Record headers that we write and read: the first position of a re-published record, and the trace it belongs to."""

import re
from collections.abc import Sequence

from stream_app.core.records import Position
from stream_app.core.topics import RANK, Topic

Headers = Sequence[tuple[str, bytes | None]]
"""As aiokafka and kafka-python hand them over; Kafka allows null header values."""

SOURCE_TOPIC = "stream-app-source-topic"
"""Role of the topic (not its name on this broker) in which the record first stood."""
SOURCE_PARTITION = "stream-app-source-partition"
SOURCE_OFFSET = "stream-app-source-offset"
SOURCE_EPOCH = "stream-app-source-epoch"
TRACEPARENT = "traceparent"

_SOURCE_NAMES = frozenset({SOURCE_TOPIC, SOURCE_PARTITION, SOURCE_OFFSET, SOURCE_EPOCH})
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MAX_OFFSET = 2**63 - 1


def reroute_headers(position: Position, headers: Headers | None = None) -> list[tuple[str, bytes | None]]:
    """Return the headers under which a record is re-published by customer: its own, and where it first stood.

    Parameters
    ----------
    position
        Where the record was read.
    headers
        Its headers; position headers among them are replaced, so that nobody can claim another place.
    """
    kept = [(name, value) for name, value in headers or () if name not in _SOURCE_NAMES]
    return [
        *kept,
        (SOURCE_TOPIC, position.topic.value.encode()),
        (SOURCE_PARTITION, b"%d" % position.partition),
        (SOURCE_OFFSET, b"%d" % position.offset),
        (SOURCE_EPOCH, b"%d" % position.epoch),
    ]


def source_position(headers: Headers) -> Position | None:
    """Return the position that `reroute_headers` wrote, or None where it is absent or malformed."""
    found = {name: value for name, value in headers if name in _SOURCE_NAMES and value is not None}
    try:
        topic = Topic(found[SOURCE_TOPIC].decode())
        numbers = [int(found[name]) for name in (SOURCE_PARTITION, SOURCE_OFFSET, SOURCE_EPOCH)]
    except (KeyError, ValueError):
        return None
    if topic not in RANK or not all(0 <= number <= _MAX_OFFSET for number in numbers):
        return None
    return Position(topic, *numbers)


def traceparent_of(headers: Headers) -> str:
    """Return the W3C trace context of a record, or "" where there is none that is well formed."""
    for name, value in headers:
        if name == TRACEPARENT and value is not None and _TRACEPARENT.fullmatch(value):
            return value.decode("ascii")
    return ""
