"""An endless shop: events of all customer topics in order of time, with repeats, bad records and new profiles."""

import random
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

from stream_app.core.events import CustomerRecord
from stream_app.core.times import MINUTE_MS, SECOND_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.wire.partition import partition_of
from tests.support import logs
from tests.support.kafka import Raw, raw

RING_IDS = 32
"""How many event ids of a topic a customer remembers: what is sent again before so many others changes nothing."""

REPEATED_SHARE = 0.002
REFUSED_SHARE = 0.002
TEXTS = ("Terrible, it broke", "Lovely, thank you", "It is a box")


class Mix(NamedTuple):
    """What a shop is like."""

    customers: int
    step_seconds: int
    """Event time from one event to the next, on average."""
    partitions: int
    misrouted_every: int = 0
    """Of so many customers one's producer keys or places its records wrongly; 0: none."""


class ShopStream:
    """Cut into slabs: whatever a later slab holds is later than all of the former ones.

    Parameters
    ----------
    mix
        Size and pace.
    seed
        Of everything in it.
    """

    def __init__(self, mix: Mix, seed: int) -> None:
        self._mix = mix
        self._chance = random.Random(seed)
        self._at_ms = logs.START_MS
        self._number = 0
        self._recent: dict[tuple[Topic, int], deque[Raw]] = defaultdict(lambda: deque(maxlen=RING_IDS))
        self.repeated = 0
        self.refused = 0
        self.misrouted = 0

    def slab(self, events: int) -> list[Raw]:
        """Return the next records: so many events, and what comes between them."""
        self._at_ms += MINUTE_MS
        made: list[Raw] = []
        if not self._number:
            made += [self._profile(f"customer-{one}") for one in range(self._mix.customers)]
        for _ in range(events):
            self._at_ms += self._chance.randrange(2 * self._mix.step_seconds + 1) * SECOND_MS
            made.append(self._event(f"customer-{self._chance.randrange(self._mix.customers)}"))
            made += self._between()
        # Under event time the broker would close segments of this compacted topic, and drop what nobody has read yet.
        return [one._replace(timestamp_ms=logs.START_MS) if one.role is Topic.CUSTOMERS else one for one in made]

    def _event(self, name: str) -> Raw:
        kind = self._chance.random()
        self._number += 1
        at_ms, identity = self._at_ms, f"e{self._number}"
        event: CustomerRecord
        if kind < 0.75:
            event = logs.click(name, at_ms, identity, kind=self._chance.choice(["product_view", "add_to_cart"]))
        elif kind < 0.90:
            event = logs.order(name, at_ms, identity, amount=round(self._chance.uniform(5, 200), 2))
        elif kind < 0.91:
            event = logs.order(name, at_ms, identity, status="cancelled")
        elif kind < 0.95:
            event = logs.review(name, at_ms, self._chance.choice(TEXTS)).model_copy(update={"event_id": identity})
        elif kind < 0.98:
            event = logs.feedback(name, at_ms).model_copy(update={"event_id": identity})
        else:
            return self._profile(name)
        return self._noted(raw(event))

    def _profile(self, name: str) -> Raw:
        self._number += 1
        profiling = self._chance.choice([None, None, None, True, False])
        event = logs.profile(name, self._at_ms, profiling=profiling)
        return self._noted(raw(event.model_copy(update={"event_id": f"e{self._number}"})))

    def _noted(self, made: Raw) -> Raw:
        record = self._misrouted(made)
        self._recent[record.role, self._partition(record)].append(record)
        return record

    def _misrouted(self, record: Raw) -> Raw:
        """Return a record as a producer sends it that gets keys or places wrong, if it is of such a customer.

        One customer's records of a topic all go to one partition: between two there would be no order to be kept.
        """
        assert record.key is not None
        number = int(record.key.rpartition(b"-")[2])
        if not self._mix.misrouted_every or number % self._mix.misrouted_every:
            return record
        self.misrouted += 1
        home = self._partition(record)
        elsewhere = (home + 1 + number // self._mix.misrouted_every) % self._mix.partitions
        way = number // self._mix.misrouted_every % 3
        if record.role is Topic.CUSTOMERS or way == 0:
            # A compacted topic takes no record without a key, and forgets what has another's.
            return record._replace(partition=(home + 1) % self._mix.partitions)
        if way == 1:
            return record._replace(key=None, partition=elsewhere)
        return record._replace(key=b"customer-%d" % (number + 1), partition=elsewhere)

    def _between(self) -> Iterator[Raw]:
        """Now and then: the last records of one topic and partition once more, or one that cannot be read."""
        happens = self._chance.random()
        if happens < REPEATED_SHARE:
            recent = list(self._chance.choice(list(self._recent.values())))
            again = recent[-self._chance.randint(1, len(recent)) :]
            self.repeated += len(again)
            yield from again
        elif happens < REPEATED_SHARE + REFUSED_SHARE:
            self.refused += 1
            self._number += 1
            role = self._chance.choice(CUSTOMER_TOPICS)
            partition = self._chance.randrange(self._mix.partitions)
            yield Raw(role, b"nobody", b"{broken %d" % self._number, self._at_ms, partition)

    def _partition(self, record: Raw) -> int:
        if record.partition is not None:
            return record.partition
        assert record.key is not None
        return partition_of(record.key, self._mix.partitions)
