"""One partition's merge of co-partitioned topics by event time, topic rank and offset.

Kafka orders each topic, not several: reading a backlog at full speed would apply a month of clicks before the orders of
the same month. So the head with the smallest event time goes first, and where a topic has nothing buffered but is known
to lag, the others wait for it: a bounded time, or without bound. What is given up on is counted, and holds event time
back until it has caught up.
"""

from collections import deque
from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stream_app.core.records import Entry

UNBOUNDED = -1


class Item(msgspec.Struct, frozen=True, gc=False):
    """One entry in the merge, whose order is that of `place`. Without cycles, as records are (`core.records`)."""

    at_ms: int
    rank: int
    offset: int
    entry: Entry
    record: Any
    """aiokafka's ConsumerRecord: for a dead letter, if the engine asks for one."""
    work: Any
    """The chunk that it belongs to."""

    @property
    def place(self) -> tuple[int, int, int]:
        """Event time, topic rank, offset."""
        return self.at_ms, self.rank, self.offset


at_ms_of = attrgetter("at_ms")


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
        target.newest_ms = max(target.newest_ms, *map(at_ms_of, items))
        target.given_up = False
        self.buffered += len(items)

    def release(self, limit: int, lagging: Collection[int], now_ms: int) -> Release:
        """Take up to `limit` entries that nothing can precede any more, in merge order.

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
        given_up: list[int] = []
        for number, lane in enumerate(lanes):
            if lane.given_up and number not in lagging:
                lane.given_up = False
        while len(items) < limit:
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
            _take_run(filled, limit, items)
        self.buffered -= len(items)
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


def _take_run(filled: list[_Lane], limit: int, items: list[Item]) -> None:
    """Move entries from the lane with the smallest head up to the head of the next lane, or until it is empty."""
    first = min(filled, key=lambda lane: lane.queue[0].place)
    take, queue = first.queue.popleft, first.queue
    room = limit - len(items)
    if len(filled) == 1:
        items += [take() for _ in range(min(room, len(queue)))]
        return
    bound = min(lane.queue[0].place for lane in filled if lane is not first)
    bound_ms = bound[0]
    while room and queue:
        head = queue[0]
        if head.at_ms >= bound_ms and head.place > bound:
            return
        items.append(take())
        room -= 1
