"""Keeps the shop's statistics: merges daily sums as the watermark closes days, and refits BG/NBD beside it.

A refit begins when a day closes and is in force from the next day that closes, wherever and however long it is computed
in between: what is known is a function of the sums and their order alone, so that a trainer that computes in another
thread, a replay and an evaluation agree.
"""

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from stream_app.core.effects import PopulationDay
from stream_app.core.population import BetaGeometric, Population, PopulationTotals
from stream_app.learning.bgnbd import Row, fit_bgnbd, thinned

FIRST_FIT_DAY = 14
REFIT_DAYS = 30

Fit = Callable[[], BetaGeometric | None]
Defer = Callable[[Fit], Fit]
"""Begins a computation anywhere, and returns what waits for its result."""


def when_asked(fit: Fit) -> Fit:
    """Compute only when the result is needed, in the thread that needs it."""
    return fit


class AskedFit(msgspec.Struct, frozen=True):
    """A refit under way: everything that its result depends on."""

    day: int
    """The last day that was closed when it began."""
    rows: list[Row]
    start: BetaGeometric | None


class KeptPopulation(msgspec.Struct):
    """A keeper's checkpoint."""

    totals: PopulationTotals
    bgnbd: BetaGeometric | None = None
    next_fit_day: int = -1
    asked: AskedFit | None = None


class PopulationKeeper:
    """Statistics of all customers as of the last closed day.

    Parameters
    ----------
    defer
        Where BG/NBD is computed; the trainer hands the work to a thread.
    kept
        What `keep` returned; None to begin.
    """

    def __init__(self, defer: Defer = when_asked, kept: KeptPopulation | None = None) -> None:
        self._kept = kept or KeptPopulation(PopulationTotals())
        self._defer = defer
        self._result: Fit | None = self._begin(self._kept.asked) if self._kept.asked is not None else None

    @property
    def through_day(self) -> int:
        """The last day whose sums are in; -1 before the first."""
        return self._kept.totals.through_day

    def observe(self, day: PopulationDay) -> bool:
        """Take in one partition's sums of one day; return False for a repeat."""
        totals = self._kept.totals
        before = totals.through_day
        is_new = totals.add(day)
        if totals.through_day > before:
            self._on_closed_day(totals.through_day)
        return is_new

    def population(self) -> Population:
        """Return the statistics as features need them."""
        return self._kept.totals.population(self._kept.bgnbd)

    def keep(self) -> KeptPopulation:
        """Return what a checkpoint needs. A refit under way is begun anew from it, and gives the same."""
        return self._kept

    def _on_closed_day(self, day: int) -> None:
        kept = self._kept
        if kept.asked is not None and day > kept.asked.day:
            fitted = self._result() if self._result is not None else None
            kept.bgnbd = fitted if fitted is not None else kept.bgnbd
            kept.asked = self._result = None
        if kept.next_fit_day < 0:
            kept.next_fit_day = day + FIRST_FIT_DAY
        elif kept.asked is None and day >= kept.next_fit_day:
            kept.asked = AskedFit(day, list(thinned(kept.totals.rows(day))), kept.bgnbd)
            self._result = self._begin(kept.asked)
            kept.next_fit_day = day + REFIT_DAYS

    def _begin(self, asked: AskedFit) -> Fit:
        rows: Sequence[Row] = asked.rows
        return self._defer(partial(fit_bgnbd, rows, asked.start))
