"""Drift alarms: has quality, or what customers look like, changed? They tell a person; nothing is reset by them.

The law of large numbers does the smoothing: means of blocks of 64 examples are watched, so that a watcher costs next to
nothing per example and its input is close to normal. Quality is watched by River's ADWIN (Bifet and Gavalda 2007) and
by Page-Hinkley, each feature by Page-Hinkley on its standardised block mean.
"""

from collections.abc import Sequence
from math import sqrt

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from river import drift

BLOCK = 64
_WARM_UP_BLOCKS = 30
_ADWIN_DELTA = 0.001
_KEPT_BLOCKS = 2_000
"""Block means that are kept so that ADWIN can be rebuilt from a checkpoint."""
_ALLOWANCE = 0.5
_ALARM = 20.0
"""Page-Hinkley in standard deviations of a block mean: allowance per block, and the sum that raises the alarm."""


class PageHinkley(msgspec.Struct, array_like=True):
    """Two-sided Page-Hinkley test on a stream of numbers of unknown mean and scale, as plain numbers.

    The first 30 values set mean and scale, which stay fixed until an alarm; then they are learned anew.
    """

    seen: int = 0
    mean: float = 0.0
    squares: float = 0.0
    above: float = 0.0
    below: float = 0.0

    def update(self, value: float) -> bool:
        """Take one value; return whether it raises the alarm."""
        self.seen += 1
        if self.seen <= _WARM_UP_BLOCKS:
            deviation = value - self.mean
            self.mean += deviation / self.seen
            self.squares += deviation * (value - self.mean)
            return False
        scale = sqrt(self.squares / (_WARM_UP_BLOCKS - 1))
        if scale <= 1e-9 * (1.0 + abs(self.mean)):
            # It has not varied so far: the first change only starts the measuring.
            if value != self.mean:
                self._restart()
            return False
        standard = (value - self.mean) / scale
        self.above = max(0.0, self.above + standard - _ALLOWANCE)
        self.below = max(0.0, self.below - standard - _ALLOWANCE)
        if max(self.above, self.below) < _ALARM:
            return False
        self._restart()
        return True

    def _restart(self) -> None:
        self.seen, self.mean, self.squares, self.above, self.below = 0, 0.0, 0.0, 0.0, 0.0


class DriftSaved(msgspec.Struct):
    """A `DriftWatch` as numbers."""

    features: dict[str, PageHinkley]
    quality: PageHinkley
    losses: list[float]
    sums: list[float]
    loss_sum: float
    in_block: int
    alarms: dict[str, int]


class DriftWatch:
    """Watches blocks of examples; counts alarms by what they are about.

    Parameters
    ----------
    names
        The features to watch, in the order of the rows that `update` gets.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.alarms: dict[str, int] = {}
        """Alarms so far: "quality_adwin", "quality_page_hinkley", and names of features."""
        self._features = {name: PageHinkley() for name in self.names}
        self._quality = PageHinkley()
        self._adwin = drift.ADWIN(delta=_ADWIN_DELTA)
        self._losses: list[float] = []
        self._sums: NDArray[np.float64] = np.zeros(len(self.names))
        self._loss_sum = 0.0
        self._in_block = 0

    def update(self, features: NDArray[np.float64], losses: NDArray[np.float64]) -> list[str]:
        """Take rows and their log losses in; return what raised an alarm."""
        raised: list[str] = []
        start = 0
        while start < len(losses):
            stop = min(len(losses), start + BLOCK - self._in_block)
            self._sums += features[start:stop].sum(axis=0)
            self._loss_sum += float(losses[start:stop].sum())
            self._in_block += stop - start
            start = stop
            if self._in_block == BLOCK:
                raised += self._close_block()
        for name in raised:
            self.alarms[name] = self.alarms.get(name, 0) + 1
        return raised

    def _close_block(self) -> list[str]:
        means, loss = (self._sums / BLOCK).tolist(), self._loss_sum / BLOCK
        self._sums, self._loss_sum, self._in_block = np.zeros(len(self.names)), 0.0, 0
        raised = [name for name, mean in zip(self.names, means, strict=True) if self._features[name].update(mean)]
        if self._quality.update(loss):
            raised.append("quality_page_hinkley")
        self._losses = [*self._losses[-_KEPT_BLOCKS + 1 :], loss]
        self._adwin.update(loss)
        if self._adwin.drift_detected:
            raised.append("quality_adwin")
            self._losses = self._losses[-max(int(self._adwin.width), 1) :]
        return raised

    def save(self) -> DriftSaved:
        """Return the watch as numbers."""
        return DriftSaved(
            features={name: replace(watched) for name, watched in self._features.items()},
            quality=replace(self._quality),
            losses=list(self._losses),
            sums=self._sums.tolist(),
            loss_sum=self._loss_sum,
            in_block=self._in_block,
            alarms=dict(self.alarms),
        )

    def load(self, saved: DriftSaved) -> None:
        """Take over what `save` returned; new features start afresh, ADWIN is rebuilt from its last blocks."""
        self._quality, self._losses, self.alarms = saved.quality, list(saved.losses), dict(saved.alarms)
        for name in self.names:
            self._features[name] = saved.features.get(name, PageHinkley())
        if len(saved.sums) == len(self.names):
            self._sums, self._loss_sum, self._in_block = np.array(saved.sums), saved.loss_sum, saved.in_block
        for loss in self._losses:
            self._adwin.update(loss)
