"""The index of what is due in a partition: its cost grows with what is due, not with how many customers exist.

Customers lie in hour-wide buckets until event time comes near; only the buckets that it has reached are ordered,
exactly, by (due time, customer id). An entry is a hint: the customer's state says what is really due (`due_of`), and
a hint that no longer fits is dropped. So nothing is ever removed from the index, and it is rebuilt from the states
alone.
"""

from collections.abc import Callable
from heapq import heappop, heappush

from stream_app.core.times import HOUR_MS

DueOf = Callable[[str], int]


class TimerIndex:
    """Hints of when which customer is due; 0 is never.

    Parameters
    ----------
    due_of
        Returns the due time of a customer from its state, 0 for none.
    """

    def __init__(self, due_of: DueOf) -> None:
        self._due_of = due_of
        self._buckets: dict[int, list[str]] = {}
        self._bucket_order: list[int] = []
        self._open: list[tuple[int, str]] = []
        self._opened_through = -1

    def schedule(self, due_ms: int, customer_id: str) -> None:
        """Note that a customer's due time is now `due_ms`."""
        bucket = due_ms // HOUR_MS
        if bucket <= self._opened_through:
            heappush(self._open, (due_ms, customer_id))
            return
        members = self._buckets.get(bucket)
        if members is None:
            self._buckets[bucket] = [customer_id]
            heappush(self._bucket_order, bucket)
        else:
            members.append(customer_id)

    def pop(self, through_ms: int) -> tuple[int, str] | None:
        """Take the earliest (due, customer) that is due by `through_ms`, or None. Each due time comes out once."""
        while True:
            if self._open and self._open[0][0] <= through_ms:
                due_ms, customer_id = heappop(self._open)
                if self._due_of(customer_id) == due_ms:
                    return due_ms, customer_id
                continue
            if not self._bucket_order or self._bucket_order[0] > through_ms // HOUR_MS:
                return None
            self._open_bucket(heappop(self._bucket_order))

    def earliest_hint_ms(self) -> int | None:
        """Return a time before which nothing is due, or None: a cheap check on the hot path."""
        if self._open:
            earliest = self._open[0][0]
            if not self._bucket_order:
                return earliest
            return min(earliest, self._bucket_order[0] * HOUR_MS)
        return self._bucket_order[0] * HOUR_MS if self._bucket_order else None

    def _open_bucket(self, bucket: int) -> None:
        self._opened_through = max(self._opened_through, bucket)
        for customer_id in dict.fromkeys(self._buckets.pop(bucket)):
            due_ms = self._due_of(customer_id)
            if due_ms and due_ms // HOUR_MS <= bucket:
                heappush(self._open, (due_ms, customer_id))
