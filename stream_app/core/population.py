"""What all customers together tell about one: gap statistics, base rates and the BG/NBD sample, as additive daily sums.

A partition adds to the sums of the event's UTC day (`mark_orders` before, `observe_order` after the fold); every number
is a difference of the customer's state, so that sums over partitions and days equal the statistics of all customers, in
any order. `PopulationTotals` merges days, `Population` is the value that features are computed with and that a model
snapshot carries.
"""

from math import log
from zlib import crc32

import msgspec

from stream_app.core.effects import PopulationDay
from stream_app.core.state import OrdersState
from stream_app.core.times import DAY_MS

SAMPLE_LEVEL = 1
"""Recency and frequency are kept of customers whose hash ends in this many zero bits: half of them."""
CELLS_A_LEVEL = 2_500
"""Each time a partition's day holds so many more sums, one more zero bit is asked for: a day's record stays small."""

_MOST_LEVEL = 15
_CELL, _LEVEL = "rf:", "level:"

_PRIOR_WEIGHT = 5.0
_PRIOR_GAP_MEAN = log(30.0)
_PRIOR_GAP_VARIANCE = 1.0
_KEPT_DAYS = 400
"""Days whose order counts still matter for the 56-day rate, with a wide margin."""
_PATIENCE_DAYS = 7
"""How far a partition may be behind the furthest one and still be waited for."""

Mark = tuple[int, int, int, int, int, float, float]
"""completed, first_ms, last_ms, days, gaps, sum of ln gap, sum of squares: what `observe_order` must know of before."""

NO_ORDERS: Mark = (0, 0, 0, 0, 0, 0.0, 0.0)


class BetaGeometric(msgspec.Struct, frozen=True):
    """Parameters of the BG/NBD model (Fader, Hardie and Lee 2005), time in days."""

    r: float
    alpha: float
    a: float
    b: float


class Population(msgspec.Struct, frozen=True):
    """Statistics of all customers at one time. The defaults are the priors that hold before any sums arrived."""

    through_day: int = -1
    """Last UTC day whose sums are in."""
    customers: float = 0.0
    gap_mean: float = _PRIOR_GAP_MEAN
    """Mean of ln(gap in days), with a prior of weight 5 at ln 30."""
    gap_variance: float = _PRIOR_GAP_VARIANCE
    repeat_rate: float = 1.0 / 60.0
    """Repeat purchase days per customer and day: (repeats + 1) / (sum of tenures + 60)."""
    order_trend: float = 0.0
    """ln of the shop's order rate with half-life 14 days over that with 56 days."""
    bgnbd: BetaGeometric | None = None
    """None until the first fit: the plain Gamma-Poisson stands in."""


ASSIGNED = "assigned:"
"""The total of new customers of an arm begins so; the arm's code follows."""


def mark_orders(orders: OrdersState | None) -> Mark:
    """Return what `observe_order` needs of the state before an order event is folded in place."""
    if orders is None:
        return NO_ORDERS
    return (
        orders.completed,
        orders.first_ms,
        orders.last_ms,
        orders.days,
        orders.gaps,
        orders.sum_ln_gap,
        orders.sum_ln_gap_squared,
    )


def observe_order(sums: dict[str, float], customer_id: str, before: Mark, orders: OrdersState, arm: int = 0) -> None:
    """Add one folded order event to its day's sums in place.

    Everything is the difference between `before` and the state after the fold, so a late, cancelled or repeated order
    needs no case of its own. A cancellation or a return adds nothing. `sums` holds a handful of totals, and for sampled
    customers two counts of recency/frequency cells a purchase day: the cell that they left and the one that they
    entered. A new customer is counted under its `arm`, too (0: none), so that the sample ratio of assignments is known.
    """
    completed, first_ms, _, days, gaps, sum_ln, sum_squared = before
    if orders.completed == completed:
        return
    _add(sums, "orders", 1.0)
    if days == 0:
        _add(sums, "customers", 1.0)
        if arm:
            _add(sums, ASSIGNED + str(arm), 1.0)
        _add(sums, "first_days", orders.first_ms / DAY_MS)
        if orders.days > 1:
            _add(sums, "repeat_days", orders.days - 1.0)
    else:
        if orders.days != days:
            _add(sums, "repeat_days", float(orders.days - days))
        if orders.first_ms != first_ms:
            _add(sums, "first_days", (orders.first_ms - first_ms) / DAY_MS)
    if orders.gaps != gaps or orders.sum_ln_gap != sum_ln:
        _add(sums, "gaps", float(orders.gaps - gaps))
        _add(sums, "ln_gap", orders.sum_ln_gap - sum_ln)
        _add(sums, "ln_gap_squared", orders.sum_ln_gap_squared - sum_squared)
    _follow(sums, customer_id, before, orders)


def _follow(sums: dict[str, float], customer_id: str, before: Mark, orders: OrdersState) -> None:
    """Move a sampled customer from the recency/frequency cell that it was in to the one that it is in now."""
    _, first_ms, last_ms, days, *_ = before
    level, wanted = sample_level(customer_id), SAMPLE_LEVEL + len(sums) // CELLS_A_LEVEL
    if level >= SAMPLE_LEVEL and wanted > SAMPLE_LEVEL:
        sums[f"{_LEVEL}{min(wanted, _MOST_LEVEL)}"] = 1.0
    if level >= min(wanted, _MOST_LEVEL):
        entered = _cell(level, orders.days, orders.first_ms, orders.last_ms)
        left = _cell(level, days, first_ms, last_ms) if days else ""
        if entered != left:
            _add(sums, entered, 1.0)
            if left:
                _add(sums, left, -1.0)


def sample_level(customer_id: str) -> int:
    """Return how many zero bits a customer's hash ends in, at most 15; 2^-n of all customers have n or more."""
    bits = crc32(customer_id.encode()) | 1 << _MOST_LEVEL
    return (bits & -bits).bit_length() - 1


def _add(sums: dict[str, float], name: str, amount: float) -> None:
    sums[name] = sums.get(name, 0.0) + amount


def _cell(level: int, days: int, first_ms: int, last_ms: int) -> str:
    return f"{_CELL}{level}:{days - 1}:{first_ms // DAY_MS}:{last_ms // DAY_MS}"


class PopulationTotals(msgspec.Struct):
    """The merge of all partitions' days, as of the last day that the watermark over the partitions has closed.

    A day waits until every partition that ever told of one has closed it, so that no statistic is of half the shop; a
    partition that is more than a week behind the furthest holds nobody up, and what it tells later is still merged.
    Partitions count their days: what was told before is known by its revision, however old it is. So the merge is exact
    in whatever way the partitions interleave.

    Mutable; owned by the learner, which keeps it in its checkpoint.
    """

    through_day: int = -1
    """The last closed day, whose sums and all before it are in."""
    totals: dict[str, float] = {}
    orders_by_day: dict[int, float] = {}
    cells: dict[str, float] = {}
    """Sampled customers per "rf:level:repeats:first day:last day"."""
    revisions: dict[int, int] = {}
    """The newest revision of each partition."""
    closed: dict[int, int] = {}
    """The newest day that each partition has told of: it has closed all before it, too."""
    waiting: list[PopulationDay] = []
    """Days that some partition has not closed."""

    def add(self, day: PopulationDay) -> bool:
        """Take in one partition's day, in the order of its revisions; return False for a repeat, which changes nothing.

        A day without sums tells only that it is closed.
        """
        if day.revision <= self.revisions.get(day.partition, 0):
            return False
        self.revisions[day.partition] = day.revision
        self.closed[day.partition] = max(day.day, self.closed.get(day.partition, day.day))
        self.waiting.append(day)
        newest = max(self.closed.values())
        watermark = max(min(self.closed.values()), newest - _PATIENCE_DAYS, self.through_day)
        ready = [one for one in self.waiting if one.day <= watermark]
        self.waiting = [one for one in self.waiting if one.day > watermark]
        # Floating-point sums depend on their order: it is that of days and partitions, not of arrival.
        for one in sorted(ready, key=lambda each: (each.day, each.partition, each.revision)):
            self._merge(one.day, one.sums)
        if watermark > self.through_day:
            self.through_day = watermark
            self._forget()
        return True

    def _merge(self, day: int, sums: dict[str, float]) -> None:
        for name, amount in sums.items():
            if name.startswith(_CELL):
                count = self.cells.get(name, 0.0) + amount
                if count:
                    self.cells[name] = count
                else:
                    self.cells.pop(name, None)
            else:
                self.totals[name] = self.totals.get(name, 0.0) + amount
                if name == "orders":
                    self.orders_by_day[day] = self.orders_by_day.get(day, 0.0) + amount

    def _forget(self) -> None:
        for day in [day for day in self.orders_by_day if day < self.through_day - _KEPT_DAYS]:
            del self.orders_by_day[day]

    def rows(self, at_day: int) -> list[tuple[float, float, float, float]]:
        """Return (repeats, recency, age, customers) of the sample as of a day; recency: first to last order."""
        levels = [
            int(name.removeprefix(_LEVEL)) for name, days in self.totals.items() if name.startswith(_LEVEL) and days > 0
        ]
        # Below the highest level that any day asked for, customers were followed on some days only.
        least = max(levels, default=SAMPLE_LEVEL)
        result: list[tuple[float, float, float, float]] = []
        for name, count in sorted(self.cells.items()):
            level, repeats, first, last = (int(part) for part in name.removeprefix(_CELL).split(":"))
            if count > 0 and level >= least:
                result.append((float(repeats), float(last - first), float(max(at_day - first, last - first)), count))
        return result

    def population(self, bgnbd: BetaGeometric | None = None) -> Population:
        """Return the statistics as of the end of the last merged day."""
        if self.through_day < 0:
            return Population(bgnbd=bgnbd)
        get = self.totals.get
        gaps, ln_gap, squared = get("gaps", 0.0), get("ln_gap", 0.0), get("ln_gap_squared", 0.0)
        mean = (_PRIOR_WEIGHT * _PRIOR_GAP_MEAN + ln_gap) / (_PRIOR_WEIGHT + gaps)
        spread = max(squared - 2.0 * mean * ln_gap + gaps * mean * mean, 0.0)
        customers = get("customers", 0.0)
        tenures = max(customers * (self.through_day + 1) - get("first_days", 0.0), 0.0)
        return Population(
            through_day=self.through_day,
            customers=customers,
            gap_mean=mean,
            gap_variance=(_PRIOR_WEIGHT * _PRIOR_GAP_VARIANCE + spread) / (_PRIOR_WEIGHT + gaps),
            repeat_rate=(max(get("repeat_days", 0.0), 0.0) + 1.0) / (tenures + 60.0),
            order_trend=self._trend(),
            bgnbd=bgnbd,
        )

    def _trend(self) -> float:
        fast = slow = fast_days = slow_days = 0.0
        first = min(self.orders_by_day, default=self.through_day)
        for day in range(first, self.through_day + 1):
            age = self.through_day - day
            orders = self.orders_by_day.get(day, 0.0)
            fast_weight, slow_weight = 2.0 ** (-age / 14.0), 2.0 ** (-age / 56.0)
            fast += orders * fast_weight
            slow += orders * slow_weight
            fast_days += fast_weight
            slow_days += slow_weight
        return log((fast + 0.5) / (fast_days + 0.5)) - log((slow + 0.5) / (slow_days + 0.5))
