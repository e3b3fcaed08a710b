"""Files of events in event-time order: JSON Lines, plain or gzipped, one topic a file or the topic in each line.

Lines are handed on as they are, broken ones too: what is wrong with an event is for the engine's decoder to say.
"""

import gzip
import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

import msgspec

from stream_app.core.times import to_ms
from stream_app.core.topics import RANK, Topic

ONLINE_RETAIL_PRESET = "uci-online-retail"

_TOPIC_FIELD = re.compile(rb'\{"topic":"([a-z-]{1,40})",')
_NAME_WORDS: tuple[tuple[str, Topic], ...] = (
    ("feedback", Topic.FEEDBACK),
    ("click", Topic.CLICKSTREAM),
    ("order", Topic.ORDERS),
    ("review", Topic.REVIEWS),
    ("customer", Topic.CUSTOMERS),
    ("product", Topic.PRODUCTS),
    ("calendar", Topic.CALENDAR),
)
_INPUTS = frozenset({*RANK, Topic.PRODUCTS, Topic.CALENDAR})


class EventFileError(ValueError):
    """A file cannot be read as events; the message says which, why and what to do."""


class FileEvent(msgspec.Struct, frozen=True, gc=False):
    """One record of a file, as it is to be put on its topic."""

    topic: Topic
    at_ms: int
    """Event time; that of the line before where it cannot be told, 0 on the first line."""
    customer_id: str
    """Empty where it cannot be told."""
    value: bytes
    line: int
    """Number of the line in its file, from 1; for a preset, of the event."""


class _Head(msgspec.Struct):
    customer_id: str | None = None
    product_id: str | None = None
    date: str | None = None
    region: str | None = None
    timestamp: datetime | None = None

    @property
    def key(self) -> str:
        """Return the Kafka key: of a product its id, of a calendar day its date and, where it has one, its region."""
        if self.date and not (self.customer_id or self.product_id):
            return "/".join(filter(None, (self.date, self.region)))
        return self.customer_id or self.product_id or ""


_head_of = msgspec.json.Decoder(_Head).decode


class EventFile:
    """One file, read from the start as it is iterated; `done_bytes` of `total_bytes` tells how far.

    Parameters
    ----------
    path
        JSON Lines, gzipped where the name ends in .gz.
    topic
        What the lines are; None: told from each line's leading `topic` field, or from the file's name.

    Raises
    ------
    EventFileError
        When the topic can be told from neither; on iteration, when the compressed data are damaged.
    OSError
        When the file cannot be opened.
    """

    def __init__(self, path: Path, topic: Topic | None = None) -> None:
        self.path = path
        self.total_bytes = path.stat().st_size
        self.broken_lines = 0
        self._raw: IO[bytes] | None = None
        self._has_topics = topic is None and self._first_line_names_topic()
        self._topic = topic or topic_of_name(path.name) or Topic.CLICKSTREAM
        if topic is None and not self._has_topics and topic_of_name(path.name) is None:
            raise EventFileError(
                f"{path}: neither its lines nor its name say which topic it is for: "
                f"give --topic ({', '.join(sorted(_INPUTS))})"
            )

    @property
    def done_bytes(self) -> int:
        """How much of the file, as it lies on disk, has been read."""
        if self._raw is None:
            return 0
        return self.total_bytes if self._raw.closed else self._raw.tell()

    def __iter__(self) -> Iterator[FileEvent]:
        topic, at_ms = self._topic, 0
        with self.path.open("rb") as raw:
            self._raw = raw
            for number, line in enumerate(self._lines(raw), start=1):
                value = line.rstrip(b"\r\n")
                if not value:
                    continue
                if self._has_topics and (named := _TOPIC_FIELD.match(value)):
                    topic = _topic_named(named[1], topic)
                    value = b"{" + value[named.end() :]
                customer_id, own_ms = self._head(value)
                at_ms = own_ms or at_ms
                yield FileEvent(topic, at_ms, customer_id, value, number)

    def _lines(self, raw: IO[bytes]) -> Iterator[bytes]:
        lines = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if self.path.suffix == ".gz" else raw
        try:
            yield from lines
        except (EOFError, gzip.BadGzipFile) as failure:
            raise EventFileError(f"{self.path}: the gzip data are damaged or cut off ({failure})") from failure

    def _first_line_names_topic(self) -> bool:
        with self.path.open("rb") as raw:
            return _TOPIC_FIELD.match(next(self._lines(raw), b"")) is not None

    def _head(self, value: bytes) -> tuple[str, int]:
        try:
            head = _head_of(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.broken_lines += 1
            return "", 0
        stamp = head.timestamp
        if stamp is None or stamp.tzinfo is None:
            self.broken_lines += 1
            return head.key, 0
        return head.key, to_ms(stamp.astimezone(UTC))


def topic_of_name(name: str) -> Topic | None:
    """Return the topic that a file's name speaks of, e.g. orders for `2024-orders.jsonl.gz`; None where none is."""
    lowered = name.lower()
    return next((topic for word, topic in _NAME_WORDS if word in lowered), None)


def merge_by_event_time(files: Sequence[Iterable[FileEvent]]) -> Iterator[FileEvent]:
    """Merge files that are each in event-time order; ties go by topic rank, then by the order of the files.

    Where a file is not in order, its events keep their own order and wait for their turn.
    """
    if len(files) == 1:
        yield from files[0]
        return
    yield from heapq.merge(*files, key=lambda event: (event.at_ms, RANK.get(event.topic, len(RANK))))


def _topic_named(name: bytes, otherwise: Topic) -> Topic:
    try:
        topic = Topic(name.decode())
    except ValueError:
        return otherwise
    return topic if topic in _INPUTS else otherwise
