"""Drift alarms: has quality become worse, or do customers look different? They tell a person; nothing is reset by them.

Means of blocks of 64 examples are watched, so that a watcher costs next to nothing per example. Quality (the log loss
of served scores) is watched upwards by River's ADWIN (Bifet and Gavalda 2007) and by Page-Hinkley; each feature both
ways by Page-Hinkley in units of its own spread between customers, so that an alarm means a shift that matters, not
merely one that is significant. What grows with the age of a shop by its nature (tenure, counts of all orders) is not
watched.
"""

from collections.abc import Sequence
from math import sqrt

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from river import drift

BLOCK = 64
GROWING = frozenset(
    {
        *("log_tenure", "log_norders", "log_ndays", "single", "cancels", "reviews_known", "clicks_known"),
        *("lg_mu", "lg_sd", "log_ewma_gap"),
        "calendar",
    }
)
"""Counts of all orders and gaps that leave the prior: they change as a history grows; and the kind of the moment."""

_WARM_UP_BLOCKS = 30
_ADWIN_DELTA = 0.001
_KEPT_BLOCKS = 2_000
"""Block means that are kept so that ADWIN can be rebuilt from a checkpoint."""
_FEATURE_ALLOWANCE, _FEATURE_ALARM = 0.35, 3.0
"""In standard deviations between customers: a shift of less than a third is let pass; one of 1.0 takes five blocks."""
_QUALITY_ALLOWANCE, _QUALITY_ALARM = 0.15, 3.0
"""In standard deviations of one example's loss."""


class PageHinkley(msgspec.Struct, array_like=True):
    """Page-Hinkley test on block means, in units of the spread of single values, as plain numbers.

    The first 30 blocks set mean and spread, which stay fixed until an alarm; then they are learned anew.
    """

    seen: int = 0
    mean: float = 0.0
    mean_square: float = 0.0
    above: float = 0.0
    below: float = 0.0

    def update(
        self, mean: float, mean_square: float, allowance: float, alarm: float, *, upwards_only: bool = False
    ) -> bool:
        """Take a block's mean and mean square; return whether it raises the alarm."""
        self.seen += 1
        if self.seen <= _WARM_UP_BLOCKS:
            self.mean += (mean - self.mean) / self.seen
            self.mean_square += (mean_square - self.mean_square) / self.seen
            return False
        spread = sqrt(max(self.mean_square - self.mean * self.mean, 0.0))
        if spread <= 1e-6 * (1.0 + abs(self.mean)):
            # It has not varied so far: the first change only starts the measuring.
            if mean != self.mean:
                self._restart()
            return False
        standard = (mean - self.mean) / spread
        self.above = max(0.0, self.above + standard - allowance)
        self.below = 0.0 if upwards_only else max(0.0, self.below - standard - allowance)
        if max(self.above, self.below) < alarm:
            return False
        self._restart()
        return True

    def _restart(self) -> None:
        self.seen, self.mean, self.mean_square, self.above, self.below = 0, 0.0, 0.0, 0.0, 0.0


class DriftSaved(msgspec.Struct):
    """A `DriftWatch` as numbers."""

    features: dict[str, PageHinkley]
    quality: PageHinkley
    losses: list[float]
    sums: list[float]
    squares: list[float]
    in_block: int
    alarms: dict[str, int]


class DriftWatch:
    """Watches blocks of examples; counts alarms by what they are about.

    Parameters
    ----------
    names
        The features, in the order of the rows that `update` gets; those in `GROWING` are passed over.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.alarms: dict[str, int] = {}
        """Alarms so far: "quality_adwin", "quality_page_hinkley", and names of features."""
        self._features = {name: PageHinkley() for name in self.names if name not in GROWING}
        self._quality = PageHinkley()
        self._adwin = drift.ADWIN(delta=_ADWIN_DELTA)
        self._losses: list[float] = []
        self._in_block = 0
        # The log loss is the last column of both.
        self._sums: NDArray[np.float64] = np.zeros(len(self.names) + 1)
        self._squares: NDArray[np.float64] = np.zeros(len(self.names) + 1)

    def update(self, features: NDArray[np.float64], losses: NDArray[np.float64]) -> list[str]:
        """Take rows and their log losses in; return what raised an alarm."""
        rows = np.concatenate((features, losses[:, np.newaxis]), axis=1)
        raised: list[str] = []
        start = 0
        while start < len(rows):
            stop = min(len(rows), start + BLOCK - self._in_block)
            part = rows[start:stop]
            self._sums += part.sum(axis=0)
            self._squares += (part * part).sum(axis=0)
            self._in_block += stop - start
            start = stop
            if self._in_block == BLOCK:
                raised += self._close_block()
        for name in raised:
            self.alarms[name] = self.alarms.get(name, 0) + 1
        return raised

    def _close_block(self) -> list[str]:
        means, squares = (self._sums / BLOCK).tolist(), (self._squares / BLOCK).tolist()
        self._sums, self._squares, self._in_block = np.zeros_like(self._sums), np.zeros_like(self._squares), 0
        raised = []
        for name, mean, square in zip(self.names, means, squares, strict=False):
            watched = self._features.get(name)
            if watched is not None and watched.update(mean, square, _FEATURE_ALLOWANCE, _FEATURE_ALARM):
                raised.append(name)
        loss = means[-1]
        if self._quality.update(loss, squares[-1], _QUALITY_ALLOWANCE, _QUALITY_ALARM, upwards_only=True):
            raised.append("quality_page_hinkley")
        if self._adwin_rises(loss):
            raised.append("quality_adwin")
        return raised

    def _adwin_rises(self, loss: float) -> bool:
        before = float(self._adwin.estimation)
        self._losses = [*self._losses[-_KEPT_BLOCKS + 1 :], loss]
        self._adwin.update(loss)
        if not self._adwin.drift_detected:
            return False
        self._losses = self._losses[-max(int(self._adwin.width), 1) :]
        return float(self._adwin.estimation) > before

    def save(self) -> DriftSaved:
        """Return the watch as numbers."""
        return DriftSaved(
            features={name: replace(watched) for name, watched in self._features.items()},
            quality=replace(self._quality),
            losses=list(self._losses),
            sums=self._sums.tolist(),
            squares=self._squares.tolist(),
            in_block=self._in_block,
            alarms=dict(self.alarms),
        )

    def load(self, saved: DriftSaved) -> None:
        """Take over what `save` returned; new features start afresh, ADWIN is rebuilt from its last blocks."""
        self._quality, self._losses, self.alarms = replace(saved.quality), list(saved.losses), dict(saved.alarms)
        for name in self._features:
            self._features[name] = replace(saved.features.get(name, PageHinkley()))
        if len(saved.sums) == len(self._sums):
            self._sums, self._squares = np.array(saved.sums), np.array(saved.squares)
            self._in_block = saved.in_block
        for loss in self._losses:
            self._adwin.update(loss)
