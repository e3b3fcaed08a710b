"""The benchmark's events: seeded, pre-encoded, fast to make, and the same for every contender.

94 % clicks, 5 % orders, 1 % reviews. Customers come in bursts of consecutive events (a visit read from a backlog), or
one event at a time (uniform). Event time runs so that every customer comes once an hour on average with bursts, however
many customers there are: the share of events that ask for a score stays the same, and costs can be compared.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.times import DAY_MS, HOUR_MS, SECOND_MS, iso
from stream_app.core.topics import Topic

TOPICS = (Topic.CLICKSTREAM, Topic.ORDERS, Topic.REVIEWS)
SHARES = (0.94, 0.05, 0.01)
BURST = 8
CHUNK_EVENTS = 65_536
"""Events of which the random numbers are drawn at once; part of what a seed means."""

VISIT_MS = 30 * 60 * SECOND_MS
DEFAULT_START_MS = 20_500 * DAY_MS
"""2026-02-16: any fixed date will do, under the event clock."""

_KEY_DIGITS = 11
_TAILS = 1_024
_EVENT_TYPES = ("page_view", "product_view", "product_list_view", "search", "add_to_cart", "remove_from_cart", "login")
_EVENT_SHARES = (0.34, 0.40, 0.11, 0.06, 0.06, 0.01, 0.02)
_PHRASES = (
    "The delivery took far too long and nobody answered my mail",
    "I love this jacket and it fits perfectly after the second wash",
    "Quality is fine but the zipper broke within a week",
    "Friendly support replaced the broken part without any questions",
    "It looks cheaper than in the pictures and smells of plastic",
    "Great value, my whole family uses it every single day",
    "The size chart is wrong so I had to send it back twice",
    "Arrived early, well packed, exactly as described",
)


class Workload(msgspec.Struct, frozen=True):
    """What is fed. Equal workloads give equal bytes."""

    customers: int = 1_000_000
    partitions: int = 12
    burst: int = BURST
    """Consecutive events of one customer; 1: every event draws its customer anew."""
    seed: int = 1
    start_ms: int = DEFAULT_START_MS

    @property
    def step_ms(self) -> float:
        """Event time between consecutive events."""
        return HOUR_MS / (self.customers * BURST)


class Event(NamedTuple):
    """One record to produce."""

    topic: int
    """Index into `TOPICS`."""
    partition: int
    key: bytes
    value: bytes
    at_ms: int


def customer_key(index: int) -> bytes:
    """Return the id of a customer as the record key: 12 bytes, whatever the index."""
    return b"c%0*d" % (_KEY_DIGITS, index)


def customer_partitions(customers: int, partitions: int) -> NDArray[np.uint16]:
    """Return the partition of every customer: murmur2 of `customer_key`, for all of them at once.

    References
    ----------
    `stream_app.wire.partition.murmur2`, to which a test holds this.
    """
    indexes = np.arange(customers, dtype=np.uint64)
    digits = np.empty((customers, _KEY_DIGITS + 1), dtype=np.uint8)
    digits[:, 0] = ord("c")
    for place in range(_KEY_DIGITS, 0, -1):
        digits[:, place] = indexes % 10 + ord("0")
        indexes //= 10
    words = digits.view("<u4").astype(np.uint32)
    m = np.uint32(0x5BD1E995)
    h = np.full(customers, np.uint32(0x9747B28C ^ (_KEY_DIGITS + 1)), dtype=np.uint32)
    for column in range(words.shape[1]):
        k = words[:, column] * m
        k = (k ^ (k >> np.uint32(24))) * m
        h = (h * m) ^ k
    h = (h ^ (h >> np.uint32(13))) * m
    h ^= h >> np.uint32(15)
    return ((h & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).astype(np.uint16)


class EventStream:
    """Makes a workload's events in order; iterate once.

    Parameters
    ----------
    workload
        What to make.
    count
        How many events.
    at_ms
        Event times instead of the workload's own pace: one for each event, in milliseconds since the epoch.
    """

    def __init__(self, workload: Workload, count: int, at_ms: NDArray[np.int64] | None = None) -> None:
        self._workload = workload
        self._count = count
        self._at_ms = at_ms
        self._random = np.random.default_rng(workload.seed)
        self._partitions = customer_partitions(workload.customers, workload.partitions)
        self._tails = (_click_tails(self._random), _order_tails(self._random), _review_tails(self._random))

    def __iter__(self) -> Iterator[Event]:
        for first in range(0, self._count, CHUNK_EVENTS):
            yield from self._chunk(first, min(CHUNK_EVENTS, self._count - first))

    def _chunk(self, first: int, count: int) -> Iterator[Event]:
        workload, random = self._workload, self._random
        burst = workload.burst
        visitors = random.integers(0, workload.customers, size=CHUNK_EVENTS // burst + 1)
        customers = np.repeat(visitors, burst)[:CHUNK_EVENTS].tolist()
        topics = np.searchsorted(np.cumsum(SHARES)[:-1], random.random(CHUNK_EVENTS), side="right").tolist()
        tails = random.integers(0, _TAILS, size=CHUNK_EVENTS).tolist()
        numbers = np.arange(first, first + count)
        if self._at_ms is None:
            times = (workload.start_ms + (numbers * workload.step_ms).astype(np.int64)).tolist()
        else:
            times = self._at_ms[first : first + count].tolist()
        partitions, all_tails = self._partitions, self._tails
        second, prefix = -1, b""
        for index, (customer, topic, tail, at_ms) in enumerate(
            zip(customers[:count], topics[:count], tails[:count], times, strict=True), start=first
        ):
            if at_ms // SECOND_MS != second:
                second = at_ms // SECOND_MS
                prefix = iso(second * SECOND_MS)[:-4].encode()
            key = customer_key(customer)
            end = all_tails[topic][tail]
            if topic == 0:
                end = b'"session_id":"%x-%x",%b' % (customer, at_ms // VISIT_MS, end)
            value = b'{"event_id":"%d-%09d","customer_id":"%b","timestamp":"%b%03dZ",%b' % (
                workload.seed,
                index,
                key,
                prefix,
                at_ms % SECOND_MS,
                end,
            )
            yield Event(topic, int(partitions[customer]), key, value, at_ms)


def _click_tails(random: np.random.Generator) -> list[bytes]:
    tails = []
    for kind in random.choice(_EVENT_TYPES, size=_TAILS, p=_EVENT_SHARES):
        product, price = int(random.integers(10_000, 99_999)), float(random.integers(300, 40_000)) / 100
        where = "app" if random.random() < 0.3 else "web"  # noqa: PLR2004 - a share, said where it is used
        tail = f'"event_type":"{kind}","product_id":"sku-{product}","category":"outdoor/{product % 40}",'
        tails.append(f'{tail}"price":{price},"channel":"{where}","page":"/p/sku-{product}"}}'.encode())
    return tails


def _order_tails(random: np.random.Generator) -> list[bytes]:
    tails = []
    for number in range(_TAILS):
        items, amount = [], 0.0
        for _ in range(int(random.integers(1, 4))):
            price = float(random.integers(500, 20_000)) / 100
            quantity = int(random.integers(1, 4))
            amount += price * quantity
            sku = int(random.integers(10_000, 99_999))
            items.append(f'{{"product_id":"sku-{sku}","quantity":{quantity},"unit_price":{price}}}')
        tail = f'"order_id":"o-{number}","items":[{",".join(items)}],"amount":{amount:.2f},"currency":"EUR",'
        tails.append(f'{tail}"status":"completed","channel":"web","region":"AT"}}'.encode())
    return tails


def _review_tails(random: np.random.Generator) -> list[bytes]:
    tails = []
    for _ in range(_TAILS):
        first, second = random.choice(len(_PHRASES), size=2, replace=False)
        text = f"{_PHRASES[first]}. {_PHRASES[second]}."
        stars = int(random.integers(1, 6))
        tails.append(f'"kind":"review","rating":{stars},"text":"{text}","language":"en","channel":"web"}}'.encode())
    return tails
