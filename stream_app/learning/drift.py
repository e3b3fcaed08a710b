"""Drift alarms: are scores off, do customers look different? They tell a person; nothing is reset by them.

What is watched is the calendar's observations by the week in which they were taken, once their labels are known: whole
weeks, because days of the week differ, and the calendar only, because how many orders fall into a week is chance.

* Quality: the residual, label less served score, both ways. Page's cumulative sum of weekly means (Page 1954; in River
  and elsewhere called Page-Hinkley), and River's ADWIN (Bifet and Gavalda 2007) on means of eight.
* Each feature's weekly mean both ways, by the same sums, where it tells what customers do at present. What changes
  with the age of a shop by its nature is passed over (`AGEING`), and so is what is computed with the population's
  statistics, which moves when these are fitted anew.
* Customers: three features within eight weeks. One feature may be a campaign; this is the alarm to be woken for.

A week's deviation is measured in what chance (the standard error) and the ordinary wandering of a shop explain
together, less an allowance, and no week counts for more than `_MOST_A_WEEK`: a Black Friday is no drift. The comparison
is with the weeks in which the watch settled (weeks 17 to 26 of a shop: those who fall silent pile up for half a year
before as many leave observation as come), and with the same week of the last year once that is known; only what is
unusual beside both counts, since seasons come back. After an alarm it settles anew.

Measured by `stream-app prove drift`; see the figures there.
"""

from collections.abc import Sequence
from math import isnan, nan, sqrt

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from river import drift

from stream_app.core.features import FEATURES
from stream_app.core.times import DAY_MS

AGEING = frozenset(
    {
        *("log_rec", "rec30", "log_tenure", "log_norders", "log_ndays", "single", "c90", "c_trend"),
        *("cancels", "returns", "survey", "reviews_known", "clicks_known", "cart_rate", "visit_since_order"),
        *("calendar", "season_sin", "season_cos"),
    }
)
"""Counts since a customer's first day, slow averages, what a customer has ever done; and what belongs to the moment
rather than to customers. On stationary shops these move by 0.15 to 1 standard deviations in a year of growing up."""

WATCHED = tuple(feature.name for feature in FEATURES if not feature.population and feature.name not in AGEING)
"""Features that raise alarms."""

CUSTOMERS = "customers"
"""Name of the alarm that several features have raised together."""

QUALITY = ("quality_adwin", "quality_page_hinkley")
"""Names of the alarms on quality; all others but `CUSTOMERS` are names of features."""

BLOCK = 8
WEEK_MS = 7 * DAY_MS
_LEAST_A_WEEK = 30
"""A week with fewer observations is not judged."""
_PASSED_OVER_WEEKS, _SETTLING_WEEKS = 16, 10
_YEAR_WEEKS = 52
_MOST_A_WEEK, _ALLOWANCE, _ALARM = 3.0, 0.75, 7.0
_TOGETHER, _TOGETHER_WEEKS = 3, 8
_FEATURE_WANDERING = 0.1
"""In standard deviations between customers."""
_QUALITY_WANDERING = 0.025
"""In points of probability."""
_ADWIN_DELTA = 0.001
_KEPT_BLOCKS = 4_000
"""Block means that are kept so that ADWIN can be rebuilt from a checkpoint."""


class WeeklySums(msgspec.Struct, array_like=True):
    """Page's sums over weekly means, as plain numbers."""

    passed: int = 0
    """Judgeable weeks so far, since the beginning or the last alarm."""
    count: float = 0.0
    mean: float = 0.0
    square: float = 0.0
    """Of the settling weeks: observations, their mean and mean square."""
    above: float = 0.0
    below: float = 0.0
    means: list[float] = []
    """The last 52 weeks, NaN where a week was not judged."""

    def update(self, count: int, mean: float, square: float, wandering: float) -> bool:
        """Take a week's number of observations, mean and mean square; return whether it raises the alarm.

        `wandering` is in standard deviations of one observation.
        """
        last_year = self.means[-_YEAR_WEEKS] if len(self.means) >= _YEAR_WEEKS else nan
        self.means = [*self.means[1 - _YEAR_WEEKS :], mean if count >= _LEAST_A_WEEK else nan]
        if count < _LEAST_A_WEEK:
            return False
        self.passed += 1
        if self.passed <= _PASSED_OVER_WEEKS:
            return False
        if self.passed <= _PASSED_OVER_WEEKS + _SETTLING_WEEKS:
            self.count += count
            self.mean += (mean - self.mean) * count / self.count
            self.square += (square - self.square) * count / self.count
            return False
        spread = sqrt(max(self.square - self.mean * self.mean, 0.0))
        if spread <= 1e-6 * (1.0 + abs(self.mean)):
            # It has not varied so far: the first change only starts the measuring.
            if mean != self.mean:
                self._settle_anew()
            return False
        chance = sqrt(1.0 / count + 1.0 / self.count + wandering * wandering)
        deviation = (mean - self.mean) / (spread * chance)
        if not isnan(last_year):
            chance = sqrt(2.0 / count + wandering * wandering)
            deviation = min(deviation, (mean - last_year) / (spread * chance), key=abs)
        deviation = max(-_MOST_A_WEEK, min(deviation, _MOST_A_WEEK))
        self.above = max(0.0, self.above + deviation - _ALLOWANCE)
        self.below = max(0.0, self.below - deviation - _ALLOWANCE)
        if max(self.above, self.below) < _ALARM:
            return False
        self._settle_anew()
        return True

    def _settle_anew(self) -> None:
        self.passed = _PASSED_OVER_WEEKS
        self.count, self.mean, self.square, self.above, self.below = 0.0, 0.0, 0.0, 0.0, 0.0


class OpenWeek(msgspec.Struct):
    """Sums over the observations of one week: of features and residual, and of their squares."""

    count: int
    sums: list[float]
    squares: list[float]


class DriftSaved(msgspec.Struct):
    """A `DriftWatch` as numbers."""

    features: dict[str, WeeklySums]
    quality: WeeklySums
    residuals: list[float]
    names: tuple[str, ...]
    open: dict[int, OpenWeek]
    newest_week: int
    block: list[float]
    alarms: dict[str, int]
    latest: dict[str, int]


class DriftWatch:
    """Watches observations of the calendar; counts alarms by what they are about.

    Parameters
    ----------
    names
        The features, in the order of the rows that `update` gets; those that are not in `WATCHED` are passed over.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.alarms: dict[str, int] = {}
        """Alarms so far, by `QUALITY`, `CUSTOMERS` or the name of a feature."""
        self.latest: dict[str, int] = {}
        """By the same names, when the week of the last alarm began (event time, ms)."""
        self._features = {name: WeeklySums() for name in self.names if name in WATCHED}
        self._quality = WeeklySums()
        self._adwin = drift.ADWIN(delta=_ADWIN_DELTA)
        self._residuals: list[float] = []
        self._open: dict[int, OpenWeek] = {}
        self._newest_week = -1
        self._block: list[float] = []

    def update(
        self, features: NDArray[np.float64], residuals: NDArray[np.float64], at_ms: NDArray[np.int64]
    ) -> list[str]:
        """Take observations in the order of their labels; return what raised an alarm.

        Parameters
        ----------
        features
            One row (n, d) each.
        residuals
            Label (0 or 1) less served probability.
        at_ms
            When they were taken. A week is closed by the first observation of the week after the next: partitions may
            be a week apart.
        """
        if not len(at_ms):
            return []
        weeks = at_ms // WEEK_MS
        newest = np.maximum(np.maximum.accumulate(weeks), self._newest_week)
        self._newest_week = int(newest[-1])
        in_time = weeks >= newest - 1
        rows = np.concatenate((features, residuals[:, np.newaxis]), axis=1)
        for week in np.unique(weeks[in_time]).tolist():
            self._add(week, rows[in_time & (weeks == week)])
        raised: list[str] = []
        for week in sorted(week for week in self._open if week < self._newest_week - 1):
            for name in self._close(week):
                raised.append(name)
                self.latest[name] = week * WEEK_MS
        raised += self._watch_blocks(residuals[in_time].tolist())
        for name in raised:
            self.alarms[name] = self.alarms.get(name, 0) + 1
        return raised

    def _add(self, week: int, rows: NDArray[np.float64]) -> None:
        sums, squares, count = rows.sum(axis=0), (rows * rows).sum(axis=0), len(rows)
        known = self._open.get(week)
        if known is not None:
            sums, squares, count = sums + known.sums, squares + known.squares, count + known.count
        self._open[week] = OpenWeek(count, sums.tolist(), squares.tolist())

    def _close(self, week: int) -> list[str]:
        closed = self._open.pop(week)
        count = closed.count
        raised = []
        for name, total, square in zip(self.names, closed.sums, closed.squares, strict=False):
            watched = self._features.get(name)
            if watched is not None and watched.update(count, total / count, square / count, _FEATURE_WANDERING):
                raised.append(name)
        if raised and self._together(raised, week):
            raised.append(CUSTOMERS)
        mean, square = closed.sums[-1] / count, closed.squares[-1] / count
        if self._quality.update(count, mean, square, _QUALITY_WANDERING / sqrt(max(square, 1e-4))):
            raised.append("quality_page_hinkley")
        return raised

    def _together(self, raised: Sequence[str], week: int) -> bool:
        """Say whether these make three features within eight weeks, for the first time in as long."""
        since_ms = (week - _TOGETHER_WEEKS) * WEEK_MS
        if self.latest.get(CUSTOMERS, -WEEK_MS * _YEAR_WEEKS) >= since_ms:
            return False
        lately = {name for name, at_ms in self.latest.items() if name in self._features and at_ms >= since_ms}
        return len(lately.union(raised)) >= _TOGETHER

    def _watch_blocks(self, residuals: list[float]) -> list[str]:
        raised = []
        for residual in residuals:
            self._block.append(residual)
            if len(self._block) == BLOCK:
                if self._adwin_alarms(sum(self._block) / BLOCK):
                    raised.append("quality_adwin")
                    self.latest["quality_adwin"] = self._newest_week * WEEK_MS
                self._block = []
        return raised

    def _adwin_alarms(self, residual: float) -> bool:
        """Tell ADWIN a block's mean; return whether scores have become worse, not better, by a change that it sees."""
        before = abs(float(self._adwin.estimation))
        self._residuals = [*self._residuals[-_KEPT_BLOCKS + 1 :], residual]
        self._adwin.update(residual)
        if not self._adwin.drift_detected:
            return False
        self._residuals = self._residuals[-max(int(self._adwin.width), 1) :]
        return abs(float(self._adwin.estimation)) > before

    def save(self) -> DriftSaved:
        """Return the watch as numbers."""
        return DriftSaved(
            features={name: replace(watched) for name, watched in self._features.items()},
            quality=replace(self._quality),
            residuals=list(self._residuals),
            names=self.names,
            open={week: replace(sums) for week, sums in self._open.items()},
            newest_week=self._newest_week,
            block=list(self._block),
            alarms=dict(self.alarms),
            latest=dict(self.latest),
        )

    def load(self, saved: DriftSaved) -> None:
        """Take over what `save` returned; new features start afresh, ADWIN is rebuilt from its last blocks."""
        self._quality, self._residuals = replace(saved.quality), list(saved.residuals)
        self.alarms, self.latest = dict(saved.alarms), dict(saved.latest)
        for name in self._features:
            self._features[name] = replace(saved.features.get(name, WeeklySums()))
        self._newest_week, self._block = saved.newest_week, list(saved.block)
        if saved.names == self.names:
            self._open = {week: replace(sums) for week, sums in saved.open.items()}
        for residual in self._residuals:
            self._adwin.update(residual)
