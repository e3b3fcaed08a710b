"""One partition's merge of co-partitioned topics by event time, topic rank and offset.

Kafka orders each topic, not several: reading a backlog at full speed would apply a month of clicks before the orders of
the same month. So the head with the smallest event time goes first, and where a topic has nothing buffered but is known
to lag, the others wait for it: a bounded time, or without bound. What is given up on is counted, and holds event time
back until it has caught up.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stream_app.core.records import ClickRun, Entry

UNBOUNDED = -1
_LAST_PLACE = (1 << 62, 0, 0)


class Item(msgspec.Struct, frozen=True, gc=False):
    """One entry in the merge, whose order is that of `place`. Without cycles, as records are (`core.records`).

    A run of clicks is one entry of several records; the merge takes as many of them as may go.
    """

    at_ms: int
    """Of the first record, where there are several; so are rank and offset."""
    rank: int
    offset: int
    entry: Entry
    records: Sequence[Any]
    """The client's records: for dead letters, if the engine asks for any."""
    work: Any
    """The chunk that they belong to."""
    last_ms: int
    """Largest event time."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Event time, topic rank, offset."""
        return self.at_ms, self.rank, self.offset

    def part(self, first: int, end: int) -> "Item":
        """Return the records of a run from index `first` up to `end`."""
        assert isinstance(self.entry, ClickRun)
        entry, records = self.entry.part(first, end), self.records[first:end]
        times_ms = self.entry.times_ms
        return Item(times_ms[first], self.rank, self.offset + first, entry, records, self.work, times_ms[end - 1])


last_ms_of = attrgetter("last_ms")


class Release(NamedTuple):
    """What may be processed now."""

    items: list[Item]
    hold_ms: int | None
    """Event time may not be let past this, because a topic that lags was no longer waited for; None: no bound."""
    given_up: tuple[int, ...]
    """Lanes on which waiting ended with this release."""


class _Lane:
    def __init__(self) -> None:
        self.queue: deque[Item] = deque()
        self.newest_ms = 0
        self.given_up = False


class Aligner:
    """Buffers and merges the lanes of one partition: one lane for each topic that is read.

    Parameters
    ----------
    lanes
        How many topics are merged.
    wait_ms
        How long to wait for a lane that lags and has nothing buffered; `UNBOUNDED`: as long as it takes.
    """

    def __init__(self, lanes: int, wait_ms: int) -> None:
        self._lanes = [_Lane() for _ in range(lanes)]
        self._wait_ms = wait_ms
        self._blocked_since_ms: int | None = None
        self.buffered = 0

    def push(self, lane: int, items: Sequence[Item]) -> None:
        """Buffer entries of one topic, in the order of their offsets."""
        if not items:
            return
        target = self._lanes[lane]
        target.queue.extend(items)
        target.newest_ms = max(target.newest_ms, *map(last_ms_of, items))
        target.given_up = False
        self.buffered += records_in(items)

    def release(self, limit: int, lagging: Collection[int], now_ms: int) -> Release:
        """Take up to `limit` records that nothing can precede any more, in merge order.

        Parameters
        ----------
        limit
            At most so many.
        lagging
            Lanes that are known to have records in the log that were not pushed yet.
        now_ms
            A steady clock, for the bounded wait.
        """
        lanes = self._lanes
        items: list[Item] = []
        taken = 0
        given_up: list[int] = []
        for number, lane in enumerate(lanes):
            if lane.given_up and number not in lagging:
                lane.given_up = False
        while taken < limit:
            filled = [lane for lane in lanes if lane.queue]
            if not filled:
                self._blocked_since_ms = None
                break
            blocking = [
                number
                for number, lane in enumerate(lanes)
                if not lane.queue and not lane.given_up and number in lagging
            ]
            if blocking and not self._wait_is_over(now_ms):
                break
            for number in blocking:
                lanes[number].given_up = True
                given_up.append(number)
            self._blocked_since_ms = None
            taken += _take_from_first(filled, limit - taken, items)
        self.buffered -= taken
        return Release(items, self._hold_ms(lagging), tuple(given_up))

    def clear(self) -> None:
        """Drop what is buffered: it will be read again. How far each topic's event time had come is kept."""
        for lane in self._lanes:
            lane.queue.clear()
            lane.given_up = False
        self.buffered = 0
        self._blocked_since_ms = None

    def _wait_is_over(self, now_ms: int) -> bool:
        if self._blocked_since_ms is None:
            self._blocked_since_ms = now_ms
        return self._wait_ms != UNBOUNDED and now_ms - self._blocked_since_ms >= self._wait_ms

    def _hold_ms(self, lagging: Collection[int]) -> int | None:
        held = [lane.newest_ms for number, lane in enumerate(self._lanes) if lane.given_up and number in lagging]
        return min(held) if held else None


def records_in(items: Iterable[Item]) -> int:
    """Return how many records entries stand for."""
    return sum([len(item.records) for item in items])


def _take_from_first(filled: list[_Lane], room: int, items: list[Item]) -> int:
    """Move entries from the lane with the smallest head up to the head of the next lane, or until it is empty.

    Returns how many records were moved, at most `room`.
    """
    first = min(filled, key=lambda lane: lane.queue[0].place)
    queue, left = first.queue, room
    bound = min((lane.queue[0].place for lane in filled if lane is not first), default=_LAST_PLACE)
    bound_ms = bound[0]
    while left and queue:
        head = queue[0]
        count = len(head.records)
        if head.last_ms < bound_ms and count <= left:
            items.append(queue.popleft())
            left -= count
            continue
        fitting = min(_before(head, bound), left)
        if fitting == count:
            items.append(queue.popleft())
        elif fitting:
            items.append(head.part(0, fitting))
            queue[0] = head.part(fitting, count)
        left -= fitting
        if fitting < count:
            break
    return room - left


def _before(item: Item, bound: tuple[int, int, int]) -> int:
    """Return how many records of an entry do not stand behind a place, counted from its first."""
    if not isinstance(item.entry, ClickRun):
        return int(item.place <= bound)
    times_ms = item.entry.times_ms
    count = bisect_left(times_ms, bound[0])
    while count < len(times_ms) and (times_ms[count], item.rank, item.offset + count) <= bound:
        count += 1
    return count
