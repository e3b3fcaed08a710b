"""Losses of all models by event week and segment: the table that every comparison of models is read from.

The measure is the log loss. It is proper, so that neither a better ranking nor a better calibration goes unseen and
both of what follows from a score (tiers, expected losses) are paid for; and it is a mean over examples, so that two
models can be paired label by label. AUC is neither.
"""

from collections.abc import Mapping
from math import log

import msgspec

from stream_app.core.times import DAY_MS

WEEK_MS = 7 * DAY_MS
LEAST_EXAMPLES = 30
"""A week with fewer is counted with the next one: its mean would not be near normal."""
KEPT_WEEKS = 208
_EDGE = 0.001
"""Probabilities are kept this far from 0 and 1: one surprise costs at most 7 nats."""


class Week(msgspec.Struct, array_like=True):
    """One week's sums. Fields may only be appended, each with a default."""

    number: int
    """Weeks since the epoch, of the due times."""
    examples: int
    weight: list[float]
    """Sum of importances by segment."""
    losses: dict[str, list[float]]
    """By model, sums of importance times loss by segment."""
    seen: dict[str, int]
    """By model, on how many of the examples it had weights: others joined during the week."""

    def loss(self, model: str) -> float | None:
        """Return the weighted mean loss over all segments, None unless the model judged every example of the week."""
        total = sum(self.weight)
        if self.seen.get(model) != self.examples or total <= 0:
            return None
        return sum(self.losses[model]) / total

    def segment_loss(self, model: str, segment: int) -> float | None:
        """Return the weighted mean loss in one segment, None where it cannot be told."""
        if self.seen.get(model) != self.examples or self.weight[segment] <= 0:
            return None
        return self.losses[model][segment] / self.weight[segment]


class WeeklyLosses:
    """Closed weeks, oldest first, and the one that is open.

    Parameters
    ----------
    segments
        How many segments there are.
    """

    def __init__(self, segments: int) -> None:
        self._segments = segments
        self.closed: list[Week] = []
        self.open: Week | None = None

    def add(self, week: int, segment: int, weight: float, churned: bool, said: Mapping[str, float]) -> None:
        """Count one label and what each model had said of it; one by one, so that blocks make no difference."""
        if self.open is None:
            self.open = Week(week, 0, [0.0] * self._segments, {}, {})
        now = self.open
        now.examples += 1
        now.weight[segment] += weight
        for model, probability in said.items():
            safe = min(max(probability, _EDGE), 1.0 - _EDGE)
            sums = now.losses.get(model)
            if sums is None:
                sums = now.losses[model] = [0.0] * self._segments
            sums[segment] -= weight * log(safe if churned else 1.0 - safe)
            now.seen[model] = now.seen.get(model, 0) + 1

    def open_from(self, week: int) -> int:
        """Return the first week from `week` on that is not closed: what a comparison begun now may still count."""
        return max(week, self.closed[-1].number + 1) if self.closed else week

    def close_before(self, week: int) -> bool:
        """Close the open week if it lies before `week` and holds enough; return whether one was closed."""
        now = self.open
        if now is None or now.number >= week:
            return False
        if now.examples < LEAST_EXAMPLES:
            now.number = week
            return False
        self.closed.append(now)
        del self.closed[:-KEPT_WEEKS]
        self.open = None
        return True
