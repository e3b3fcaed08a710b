"""Scoring over several horizons at once: the first is served and decided by, the others are told and learned beside it.

A scorer with one horizon is used as it is: what is here costs nothing where there are no further horizons.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.core.outputs import Reason
from stream_app.core.told import RiskTold
from stream_app.learning.intervals import Interval
from stream_app.learning.scorer import Account, PriorScorer, Scorer


class Ahead(NamedTuple):
    """A block of points as seen by the model of one further horizon."""

    scorer: Scorer
    features: NDArray[np.float32]
    probability: NDArray[np.float64]


class HorizonsScorer:
    """A scorer of the first horizon that brings those of longer ones along.

    Parameters
    ----------
    first
        Serves.
    further
        Of longer horizons.

    Raises
    ------
    ValueError
        When the horizons do not rise.
    """

    def __init__(self, first: Scorer, further: Sequence[Scorer]) -> None:
        days = [scorer.horizon_days for scorer in (first, *further)]
        if days != sorted(set(days)):
            raise ValueError(f"further horizons must rise from the first: they are {days}")
        self.first = first
        self.further = tuple(further)
        self.version = first.version
        self.features_hash = first.features_hash
        self.horizon_days = first.horizon_days
        self.cold_start = first.cold_start

    def featurize(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the features of a block of raw rows under the first horizon."""
        return self.first.featurize(raw)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(churn) within the first horizon."""
        return self.first.score(features)

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = 3) -> tuple[Reason, ...]:
        """Return the reasons of the first horizon."""
        return self.first.explain(features, language, top)

    def interval(self, features: NDArray[np.float32]) -> Interval | None:
        """Return the interval of the first horizon."""
        return self.first.interval(features)

    def account(self, features: NDArray[np.float32], languages: Sequence[str]) -> list[Account]:
        """Return intervals and reasons of the first horizon."""
        return self.first.account(features, languages)

    def ahead(self, raw: NDArray[np.float64]) -> tuple[Ahead, ...]:
        """Return what the further horizons see in a block of raw rows: some features depend on the horizon."""
        seen = []
        for scorer in self.further:
            features = scorer.featurize(raw)
            seen.append(Ahead(scorer, features, scorer.score(features)))
        return tuple(seen)


def with_horizons(first: Scorer, further: Sequence[Scorer]) -> Scorer:
    """Return a scorer for all horizons; the first itself where it is the only one."""
    return HorizonsScorer(first, further) if further else first


def prior_of(horizon_days: int, further_days: Sequence[int] = ()) -> Scorer:
    """Return what scores before any model is there, over all horizons."""
    return with_horizons(PriorScorer(horizon_days), [PriorScorer(days) for days in further_days])


def risks_of(probability: float, ahead: Sequence[Ahead], index: int) -> tuple[RiskTold, ...]:
    """Return the risks of one point over the further horizons.

    Who does not order in a longer time does not in a shorter one: each model learns for itself, so that a longer
    horizon's risk is cut at the shorter one's. What is learned from is the model's own probability, not this.

    Parameters
    ----------
    probability
        Of the first horizon.
    ahead
        From `HorizonsScorer.ahead`.
    index
        Of the point in its block.
    """
    risks = []
    for block in ahead:
        probability = min(probability, float(block.probability[index]))
        risks.append(RiskTold(block.scorer.horizon_days, round(probability, 6), block.scorer.version))
    return tuple(risks)
