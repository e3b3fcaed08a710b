"""How well the served scores ranked customers, from matured examples: a prequential AUC in bounded memory."""

import numpy as np

BINS = 2_000
CURVE_POINTS = 240


class BinnedAuc:
    """The area under the ROC curve of everything judged so far, over score bins of 1/2000.

    Ties inside a bin count one half (the Mann-Whitney statistic), so the value differs from the exact one by at
    most half the share of pairs that fall into one bin.
    """

    def __init__(self) -> None:
        self._churned = np.zeros(BINS)
        self._stayed = np.zeros(BINS)

    def add(self, probability: float, *, churned: bool, weight: float) -> None:
        """Count one judged score."""
        index = min(BINS - 1, max(0, int(probability * BINS)))
        (self._churned if churned else self._stayed)[index] += weight

    def value(self) -> float | None:
        """Return the AUC, or None while only one of the two outcomes has been seen."""
        pairs = float(self._churned.sum() * self._stayed.sum())
        if pairs == 0.0:
            return None
        below = np.cumsum(self._stayed) - self._stayed
        return float((self._churned * (below + 0.5 * self._stayed)).sum() / pairs)


class QualityCurve:
    """AUC so far as a curve over the number of matured examples, and predicted against observed churn.

    At most 240 points are kept: when full, every second one goes and the distance between points doubles.
    """

    def __init__(self) -> None:
        self.auc = BinnedAuc()
        self.examples = 0
        self.censored = 0
        self.points: list[tuple[int, int, float]] = []
        """Number of examples, event time in milliseconds, AUC."""
        self._every = 25
        self._due_ms = 0
        self._weight = 0.0
        self._predicted = 0.0
        self._observed = 0.0

    def add(self, probability: float, *, churned: bool, weight: float, contacts: int, due_ms: int) -> None:
        """Judge one matured example; contacted customers are only counted: the score means risk without contact."""
        if contacts > 0:
            self.censored += 1
            return
        self.examples += 1
        self._due_ms = max(self._due_ms, due_ms)
        self.auc.add(probability, churned=churned, weight=weight)
        self._weight += weight
        self._predicted += weight * probability
        self._observed += weight * churned
        if self.examples % self._every == 0:
            value = self.auc.value()
            if value is not None:
                self.points.append((self.examples, due_ms, round(value, 4)))
                if len(self.points) >= CURVE_POINTS:
                    self.points = self.points[1::2]
                    self._every *= 2

    def summary(self) -> dict[str, object]:
        """Return what the page shows; shares are None while nothing has matured."""
        value = self.auc.value()
        known = self._weight > 0
        return {
            "auc": None if value is None else round(value, 4),
            "examples": self.examples,
            "censored": self.censored,
            "predicted": round(self._predicted / self._weight, 4) if known else None,
            "observed": round(self._observed / self._weight, 4) if known else None,
            "curve": self.points if value is None else [*self.points, (self.examples, self._due_ms, round(value, 4))],
        }
