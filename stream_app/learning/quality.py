"""How good served scores turned out to be: prequential metrics from the served probability and its label.

Tallies are sums, so they take blocks at a time, merge by addition, and fit a checkpoint. AUC comes from 2,000 score
bins (ties within a bin count one half), which agrees with the exact value to about 0.0005.
"""

import numpy as np
from numpy.typing import NDArray

SCORE_BINS = 2_000
CALIBRATION_BINS = 10
_BINS_A_DECILE = SCORE_BINS // CALIBRATION_BINS
_EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1 in the log loss."""


class QualityTally:
    """Weighted counts per score bin, and sums of the losses.

    Parameters
    ----------
    half_life
        After so many examples an example counts half; 0 for never, which gives the metrics of the whole stream.
    """

    def __init__(self, half_life: float = 0.0) -> None:
        self.half_life = half_life
        self.churned: NDArray[np.float64] = np.zeros(SCORE_BINS)
        self.stayed: NDArray[np.float64] = np.zeros(SCORE_BINS)
        self.predicted: NDArray[np.float64] = np.zeros(CALIBRATION_BINS)
        self.log_loss = 0.0
        self.squared = 0.0
        self.examples = 0

    def add(self, probability: NDArray[np.float64], churned: NDArray[np.bool_], weight: NDArray[np.float64]) -> None:
        """Count a block of served probabilities and their labels."""
        if self.half_life:
            self._fade(0.5 ** (len(probability) / self.half_life))
        bins = np.minimum((probability * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
        self.churned += np.bincount(bins, weights=weight * churned, minlength=SCORE_BINS)
        self.stayed += np.bincount(bins, weights=weight * ~churned, minlength=SCORE_BINS)
        self.predicted += np.bincount(bins // _BINS_A_DECILE, weights=weight * probability, minlength=CALIBRATION_BINS)
        safe = np.clip(probability, _EDGE, 1.0 - _EDGE)
        self.log_loss -= float(weight @ np.log(np.where(churned, safe, 1.0 - safe)))
        self.squared += float(weight @ (probability - churned) ** 2)
        self.examples += len(probability)

    def metrics(self) -> dict[str, float]:
        """Return auc, log_loss, brier, ece, churn_rate and examples; those that are not defined yet are left out."""
        positive, negative = float(self.churned.sum()), float(self.stayed.sum())
        total = positive + negative
        result = {"examples": float(self.examples)}
        if total <= 0:
            return result
        result["churn_rate"] = positive / total
        result["log_loss"] = self.log_loss / total
        result["brier"] = self.squared / total
        counts = (self.churned + self.stayed).reshape(CALIBRATION_BINS, -1).sum(axis=1)
        churned = self.churned.reshape(CALIBRATION_BINS, -1).sum(axis=1)
        result["ece"] = float(np.abs(self.predicted - churned).sum()) / max(float(counts.sum()), _EDGE)
        if positive > 0 and negative > 0:
            below = np.cumsum(self.stayed) - self.stayed
            result["auc"] = float(self.churned @ (below + 0.5 * self.stayed)) / (positive * negative)
        return result

    def dump(self) -> list[float]:
        """Return the tally as numbers; the inverse is `load`."""
        sums = (self.log_loss, self.squared, float(self.examples))
        return [*sums, *self.predicted.tolist(), *self.churned.tolist(), *self.stayed.tolist()]

    def load(self, numbers: list[float]) -> None:
        """Take over what `dump` returned. Raises ValueError when it is of another size."""
        expected = 3 + CALIBRATION_BINS + 2 * SCORE_BINS
        if len(numbers) != expected:
            raise ValueError(f"a quality tally has {expected} numbers, got {len(numbers)}")
        self.log_loss, self.squared, self.examples = numbers[0], numbers[1], int(numbers[2])
        arrays = np.array(numbers[3:])
        self.predicted = arrays[:CALIBRATION_BINS]
        self.churned = arrays[CALIBRATION_BINS : CALIBRATION_BINS + SCORE_BINS]
        self.stayed = arrays[CALIBRATION_BINS + SCORE_BINS :]

    def _fade(self, share: float) -> None:
        self.churned *= share
        self.stayed *= share
        self.predicted *= share
        self.log_loss *= share
        self.squared *= share
