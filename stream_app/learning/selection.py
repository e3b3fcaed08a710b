"""Segments of customers, and a bandit that chooses a model for each.

Models are arms, weeks are pulls. In shadow every arm is seen at every pull, so nothing has to be served only to be
known; what a bandit adds over one champion for all is that segments may differ, and that a draw moves gradually, as
evidence comes, and never for good. Each segment keeps, by model, a normal belief on its weekly loss less the
champion's (conjugate, variance from the weeks themselves, shrunk to no difference, older weeks fading); the model with
the lowest draw serves the segment for a week (Thompson 1933; Russo et al., "A tutorial on Thompson sampling", 2018).
Draws are hashes of segment, model and week: a replay draws the same.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX, KIND
from stream_app.core.hashing import unit_draw
from stream_app.learning.weekly import Week

SEGMENTS = (
    "after order: first",
    "after order: early",
    "after order: regular",
    "calendar: first",
    "calendar: early",
    "calendar: regular",
)
"""Kind of the point in time, and whether a customer bought on one day only, up to four times, or more often."""

FADING_WEEKS = 26.0
"""After so many weeks a week counts half."""
PRIOR_WEEKS = 4.0
"""The belief before any week: as if for so many weeks there had been no difference."""
LEAST_WEEKS = 8
"""Until then the champion serves all segments."""
_LEAST_DEVIATION = 1e-4
_REGULAR = float(np.log1p(4.5))
_ORDERS = FEATURE_INDEX["log_norders"]
_SINGLE = FEATURE_INDEX["single"]
_KIND = FEATURE_INDEX[KIND]
_EDGE = 1e-9


def segment_of(features: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return each row's place in `SEGMENTS`."""
    habit = np.where(features[:, _ORDERS] > _REGULAR, 2, np.where(features[:, _SINGLE] > 0, 0, 1))
    segment: NDArray[np.intp] = (habit + 3 * (features[:, _KIND] > 0)).astype(np.intp)
    return segment


def select(weeks: Sequence[Week], champion: str, models: Sequence[str], salt: str) -> dict[str, str]:
    """Return the model by segment for the coming week; segments that are not named are the champion's.

    Parameters
    ----------
    weeks
        Closed weeks, oldest first.
    champion
        What the others are measured against.
    models
        Those that workers can serve.
    salt
        Makes the draws of two horizons independent.
    """
    if not weeks:
        return {}
    chosen: dict[str, str] = {}
    now = weeks[-1].number
    for place, segment in enumerate(SEGMENTS):
        best, lowest = champion, 0.0
        for model in sorted(models):
            if model == champion:
                continue
            belief = _belief(weeks, champion, model, place, now)
            if belief is None:
                continue
            quantile = min(max(unit_draw("select", salt, segment, model, now), _EDGE), 1.0 - _EDGE)
            drawn = belief.inv_cdf(quantile)
            if drawn < lowest:
                best, lowest = model, drawn
        if best != champion:
            chosen[segment] = best
    return chosen


def _belief(weeks: Sequence[Week], champion: str, model: str, segment: int, now: int) -> NormalDist | None:
    """Return the belief on a model's weekly loss less the champion's in a segment; None with too few weeks."""
    values, shares = [], []
    for week in weeks:
        of_champion, of_model = week.segment_loss(champion, segment), week.segment_loss(model, segment)
        if of_champion is not None and of_model is not None:
            values.append(of_model - of_champion)
            shares.append(0.5 ** ((now - week.number) / FADING_WEEKS))
    if len(values) < LEAST_WEEKS:
        return None
    total = math.fsum(shares)
    mean = math.fsum(share * value for share, value in zip(shares, values, strict=True)) / total
    spread = math.fsum(share * (value - mean) ** 2 for share, value in zip(shares, values, strict=True)) / total
    known = total + PRIOR_WEEKS
    return NormalDist(mean * total / known, max(math.sqrt(spread), _LEAST_DEVIATION) / math.sqrt(known))
