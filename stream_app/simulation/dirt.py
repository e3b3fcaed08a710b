"""What careless producers do to a clean stream: repeat, delay, disorder, break, strip and misplace records."""

import heapq
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import count

import msgspec
import numpy as np

from stream_app.core.times import HOUR_MS, MINUTE_MS, SECOND_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.simulation.config import Dirt
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.randomness import Chance

_BLOCK = 4096
_CUSTOMER_TOPICS = frozenset(CUSTOMER_TOPICS)
_TIMESTAMP = re.compile(rb'"timestamp":"[^"]*"')
_REQUIRED: dict[Topic, tuple[str, ...]] = {
    Topic.CLICKSTREAM: ("customer_id", "timestamp", "event_id", "event_type"),
    Topic.ORDERS: ("customer_id", "timestamp", "event_id", "order_id", "amount"),
    Topic.REVIEWS: ("customer_id", "timestamp", "event_id"),
    Topic.FEEDBACK: ("customer_id", "timestamp", "event_id", "intervention_id", "kind"),
    Topic.CUSTOMERS: ("customer_id", "timestamp"),
}


def _cut_off(value: bytes) -> bytes:
    return value[: len(value) * 2 // 3]


def _not_json(value: bytes) -> bytes:
    return b"customer=" + value[16:24] + b"&event=click"


def _bad_bytes(value: bytes) -> bytes:
    return value[:18] + b"\xff\xfe" + value[18:]


def _no_zone(value: bytes) -> bytes:
    return value.replace(b'Z"', b'"', 1)


def _no_time(value: bytes) -> bytes:
    return _TIMESTAMP.sub(b'"timestamp":"yesterday"', value, count=1)


def _far_future(value: bytes) -> bytes:
    return value.replace(b'"timestamp":"2', b'"timestamp":"9', 1)


def _wrong_shape(value: bytes) -> bytes:
    return b"[" + value + b"]"


MALFORMATIONS: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("cut_off", _cut_off),
    ("not_json", _not_json),
    ("bad_bytes", _bad_bytes),
    ("no_zone", _no_zone),
    ("no_time", _no_time),
    ("far_future", _far_future),
    ("wrong_shape", _wrong_shape),
)


def without_field(topic: Topic, value: bytes, choice: int) -> tuple[str, bytes]:
    """Return which required field of a topic's record was taken away, and the record without it."""
    fields = _REQUIRED[topic]
    name = fields[choice % len(fields)]
    return name, re.sub(rb'"%b":("[^"]*"|[0-9.]+),?' % name.encode(), b"", value, count=1)


class Spoiler:
    """Spoils a stream as `dirt` says; `counts` tells how often each thing was done.

    Events leave in the order of their delivery: an event that is delivered late comes after events that happened later.
    Only customer topics are spoiled. Every record draws its own fate, by its number in the stream.
    """

    def __init__(self, dirt: Dirt, seed: int) -> None:
        self.dirt = dirt
        self.counts: Counter[str] = Counter()
        self._chance = Chance(seed)
        self._waiting: list[tuple[int, int, SimulatedEvent]] = []
        self._queued = 0

    def spoil(self, events: Iterable[SimulatedEvent]) -> Iterator[SimulatedEvent]:
        """Go through a stream in the order of delivery."""
        # Events are taken one by one, never ahead: in a closed loop later ones depend on earlier ones.
        for event, (fate, detail) in zip(events, self._fates(), strict=False):
            while self._waiting and self._waiting[0][0] <= event.at_ms:
                yield heapq.heappop(self._waiting)[2]
            if event.topic not in _CUSTOMER_TOPICS:
                yield event
                continue
            spoiled, delay_ms = self._spoil(event, fate, detail)
            if delay_ms:
                self._hold(event.at_ms + delay_ms, spoiled)
            else:
                yield spoiled
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]

    def _fates(self) -> Iterator[tuple[dict[str, float], float]]:
        """Draw the fate of each record, by its number in the stream."""
        names = Dirt.__struct_fields__
        for first in count(0, _BLOCK):
            keys = np.arange(first, first + _BLOCK, dtype=np.uint64)
            columns = [self._chance.uniforms(f"dirt {name}", keys).tolist() for name in names]
            details = self._chance.uniforms("dirt detail", keys).tolist()
            for fate, detail in zip(zip(*columns, strict=True), details, strict=True):
                yield dict(zip(names, fate, strict=True)), detail

    def _hold(self, until_ms: int, event: SimulatedEvent) -> None:
        self._queued += 1
        heapq.heappush(self._waiting, (until_ms, self._queued, event))

    def _spoil(self, event: SimulatedEvent, fate: dict[str, float], detail: float) -> tuple[SimulatedEvent, int]:
        """Return the event as it is delivered, and how many milliseconds late."""
        dirt, delay_ms = self.dirt, 0
        if fate["foreign_keys"] < dirt.foreign_keys:
            self.counts["foreign_keys"] += 1
            event = msgspec.structs.replace(event, foreign_partition=True)
        if fate["late"] < dirt.late:
            self.counts["late"] += 1
            delay_ms = HOUR_MS + int(detail * 35 * HOUR_MS)
        elif fate["out_of_order"] < dirt.out_of_order:
            self.counts["out_of_order"] += 1
            delay_ms = SECOND_MS + int(detail * MINUTE_MS)
        if fate["malformed"] < dirt.malformed:
            name, malform = MALFORMATIONS[int(detail * len(MALFORMATIONS))]
            self.counts[f"malformed:{name}"] += 1
            return msgspec.structs.replace(event, value=malform(event.value)), delay_ms
        if fate["missing_fields"] < dirt.missing_fields:
            name, value = without_field(event.topic, event.value, int(detail * 1000))
            self.counts[f"missing:{name}"] += 1
            return msgspec.structs.replace(event, value=value), delay_ms
        if fate["duplicates"] < dirt.duplicates:
            self.counts["duplicates"] += 1
            self._hold(event.at_ms + delay_ms + MINUTE_MS + int(detail * 29 * MINUTE_MS), event)
        return event, delay_ms
