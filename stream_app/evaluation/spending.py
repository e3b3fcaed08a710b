"""What customers spent: the truth that the 90-day value is measured against."""

from bisect import bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stream_app.core.events import OrderEvent
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS


class Spending:
    """Every customer's completed orders, to tell what was spent before and after any moment."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        """Customers by id, numbered in order of their first order."""
        self._times: list[list[int]] = []
        self._totals: list[list[float]] = []

    def add(self, record: Record) -> None:
        """Note a completed order, in event-time order; anything else changes nothing."""
        event = record.event
        if not isinstance(event, OrderEvent) or event.status != "completed":
            return
        number = self.numbers.setdefault(record.customer_id, len(self.numbers))
        if number == len(self._times):
            self._times.append([])
            self._totals.append([0.0])
        self._times[number].append(record.at_ms)
        self._totals[number].append(self._totals[number][-1] + event.amount)

    def mean_before(self, customer: NDArray[np.int64], at_ms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the mean order value up to and with each moment; 0 before the first order."""
        means = [self._mean(number, moment) for number, moment in _pairs(customer, at_ms)]
        return np.array(means, dtype=np.float64)

    def spent_after(self, customer: NDArray[np.int64], at_ms: NDArray[np.int64], days: float) -> NDArray[np.float64]:
        """Return the order value in the `days` after each moment."""
        reach_ms = int(days * DAY_MS)
        amounts = [self._between(number, moment, moment + reach_ms) for number, moment in _pairs(customer, at_ms)]
        return np.array(amounts, dtype=np.float64)

    def _mean(self, number: int, moment: int) -> float:
        count = bisect_right(self._times[number], moment)
        return self._totals[number][count] / max(count, 1)

    def _between(self, number: int, start: int, stop: int) -> float:
        first, last = (bisect_right(self._times[number], moment) for moment in (start, stop))
        return self._totals[number][last] - self._totals[number][first]


def _pairs(customer: NDArray[np.int64], at_ms: NDArray[np.int64]) -> Iterable[tuple[int, int]]:
    return zip(customer.tolist(), at_ms.tolist(), strict=True)
