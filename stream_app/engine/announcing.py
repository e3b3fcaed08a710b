"""Announce scores and changes of tier.

A point's score is put out in its turn, with what was known of the customer at that moment. What the model says of the
row (interval, reasons, outlook) depends on nothing else, so it is worked out for all announced rows of a block at once
and filled in.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from stream_app.core.effects import Effects, Output
from stream_app.core.hashing import stable_id
from stream_app.core.outlook import expected_value, next_order_window
from stream_app.core.state import ScoreState
from stream_app.core.tiers import tier_name
from stream_app.core.times import DAY_MS, from_ms
from stream_app.core.told import ScoreTold, WarningTold
from stream_app.core.topics import Topic
from stream_app.engine.points import Point
from stream_app.learning.horizons import Ahead, risks_of
from stream_app.learning.scorer import Scorer

VELOCITY_MS = 7 * DAY_MS
"""Time over which the change of a score is told."""


class Scored(NamedTuple):
    """A block of points with what the models say of them."""

    scorer: Scorer
    horizon_days: int
    features: NDArray[np.float32]
    probabilities: Sequence[float]
    ahead: tuple[Ahead, ...]
    """The same as the models of further horizons see it."""


class _Announced(NamedTuple):
    """Bodies that wait for what the model says of their row."""

    place: int
    score: ScoreTold
    warning: WarningTold | None
    language: str
    mean_amount: float


class Announcements:
    """What one block of points leads to for everybody to read. Call `finish` once all its points are concluded.

    Parameters
    ----------
    scored
        The block.
    """

    def __init__(self, scored: Scored) -> None:
        self._scored = scored
        self._open: list[_Announced] = []

    def add(self, point: Point, index: int, score: ScoreState, previous_tier: int, effects: Effects) -> None:
        """Put out a point's score as it is now, and a warning where the customer had another tier.

        Parameters
        ----------
        point, index
            Which point of the block.
        score
            Of the customer, with this point's score in it.
        previous_tier
            The tier before, -1 for none.
        effects
            Take what is put out.
        """
        scorer, horizon_days, _, _, ahead = self._scored
        score.published = probability = score.probability
        score.published_ms = at_ms = score.at_ms
        facts, at, tier, rounded = point.facts, from_ms(at_ms), tier_name(score.tier), round(probability, 6)
        told = ScoreTold(
            customer_id=point.customer_id,
            event_time=at,
            probability=rounded,
            interval=None,
            horizon_days=horizon_days,
            tier=tier,
            velocity_7d=_velocity(score),
            reasons=(),
            expected_loss=round(probability * facts.value_at_stake(at_ms), 2),
            value_90d=None,
            next_order_days=None,
            cold_start=scorer.cold_start,
            model_version=score.model_version,
            further_horizons=risks_of(probability, ahead, index) if ahead else UNSET,
        )
        effects.outputs.append(Output(Topic.SCORES, point.customer_id, told, point.traceparent))
        effects.counts["scores"] += 1
        warning = None
        if 0 <= previous_tier != score.tier:
            warning_id = stable_id("wn", point.customer_id, point.at_ms, point.trigger, score.tier)
            warning = WarningTold(
                warning_id=warning_id,
                customer_id=point.customer_id,
                event_time=at,
                previous_tier=tier_name(previous_tier),
                tier=tier,
                probability=rounded,
                reasons=(),
                model_version=score.model_version,
            )
            effects.outputs.append(Output(Topic.WARNINGS, point.customer_id, warning, point.traceparent))
            effects.counts["warnings"] += 1
        self._open.append(_Announced(index, told, warning, facts.language or "en", facts.mean_amount))

    def finish(self) -> None:
        """Fill in what the model says of the announced rows."""
        if not self._open:
            return
        scorer, horizon_days, features, probabilities, _ = self._scored
        rows = features[[one.place for one in self._open]]
        accounts = scorer.account(rows, [one.language for one in self._open])
        for (place, told, warning, _, mean_amount), row, account in zip(self._open, rows, accounts, strict=True):
            told.interval, told.reasons = account
            told.value_90d = round(expected_value(row, probabilities[place], horizon_days, mean_amount), 2)
            told.next_order_days = next_order_window(row)
            if warning is not None:
                warning.reasons = account.reasons
        self._open = []


def _velocity(score: ScoreState) -> float | None:
    if not score.week_ago_ms or score.at_ms <= score.week_ago_ms:
        return None
    weeks = (score.at_ms - score.week_ago_ms) / VELOCITY_MS
    return round((score.probability - score.week_ago) / weeks, 6)
