"""Scoring: features to probability, reasons and an interval. No state, no clock; a new snapshot makes a new scorer.

A row's result is the same bits in whatever block it stands: every operation is elementwise or a reduction over one row.
That is why there is no matrix product here, whose order of summation may depend on the number of rows.
"""

from math import exp
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from stream_app.core.features import FEATURE_INDEX, FEATURES, FEATURES_HASH, featurize
from stream_app.core.outputs import Reason
from stream_app.core.population import Population
from stream_app.core.reasons import sentence
from stream_app.learning.inputs import OFFSET, ModelInputs
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.learning.zoo.bends import bend_of

PRIOR_VERSION = "prior"

_LOGIT_BOUND = 30.0
_INTERVAL_TAIL = 0.05
"""Left out of an interval on either side: it is one of 90 %."""
_MOST_CORRELATION = 0.95
_INTERVAL_EDGE = 1e-4
_THEMES = {feature.name: feature.theme for feature in FEATURES}
_THEME_NAMES = tuple(sorted(set(_THEMES.values())))
_LEAST_CONTRIBUTION = 0.005
"""On the logit, about a tenth of a percent of probability: less is no reason."""
_HIDDEN_THEMES = frozenset({"kind"})
"""Belong to the moment, not to the customer."""


class Scorer(Protocol):
    """What the engine needs of a model."""

    @property
    def version(self) -> str:
        """Version of the snapshot, or "prior"."""
        ...

    @property
    def features_hash(self) -> str:
        """The feature list of `featurize`."""
        ...

    @property
    def horizon_days(self) -> int:
        """H of the churn definition that it predicts."""
        ...

    @property
    def cold_start(self) -> bool:
        """True while nothing was learned: the score is the prior alone."""
        ...

    def featurize(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the features of a block of raw rows, as they are packed and scored."""
        ...

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(churn) for a block of features."""
        ...

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = 3) -> tuple[Reason, ...]:
        """Return up to `top` reasons for one row, largest contribution first."""
        ...

    def interval(self, features: NDArray[np.float32]) -> tuple[float, float] | None:
        """Return a 90 % interval of the probability for one row, or None where the model has none."""
        ...


class PriorScorer:
    """The score before any snapshot: the decayed Gamma-Poisson model with the given population."""

    version = PRIOR_VERSION
    features_hash = FEATURES_HASH
    cold_start = True

    def __init__(self, horizon_days: int = 30, population: Population | None = None) -> None:
        self.horizon_days = horizon_days
        self._population = population if population is not None else Population()
        self._offset = FEATURE_INDEX[OFFSET]

    def featurize(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the features of a block of raw rows."""
        return featurize(raw, self._population, self.horizon_days)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the prior probability of churn."""
        return sigmoid(features[:, self._offset].astype(np.float64))

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = 3) -> tuple[Reason, ...]:
        """Return the one reason that the prior knows: the rhythm of orders."""
        if top < 1:
            return ()
        values = features.tolist()
        return (_reason(_THEMES[OFFSET], values[self._offset], _Named(values), language),)

    def interval(self, features: NDArray[np.float32]) -> tuple[float, float] | None:
        """Return None: a prior does not know how wrong it is."""
        del features
        return None


class SnapshotScorer:
    """Scores with a model snapshot. The snapshot must have passed `decode_snapshot`."""

    features_hash = FEATURES_HASH

    def __init__(self, snapshot: ModelSnapshot) -> None:
        self.snapshot = snapshot
        self.version = snapshot.version
        self.horizon_days = snapshot.horizon_days
        self.cold_start = snapshot.trained_examples == 0
        self._inputs = ModelInputs(snapshot.inputs)
        self._mean = np.array(snapshot.mean)
        self._inverse_scale = np.array(snapshot.inverse_scale)
        self._weights = np.array(snapshot.weights)
        self._offset = FEATURE_INDEX[snapshot.offset] if snapshot.offset else -1
        width = len(snapshot.inputs) + 1
        self._covariance = np.array(snapshot.covariance).reshape(width, width) if snapshot.covariance else None
        themes = [_THEME_NAMES.index(_THEMES[base]) for base in self._inputs.bases]
        self._themes = np.array(themes, dtype=np.intp)
        self._offset_theme = _THEMES[snapshot.offset] if snapshot.offset else ""
        self._bend = bend_of(snapshot.form, snapshot.arrays, len(snapshot.inputs))
        self._last: tuple[NDArray[np.float32], NDArray[np.float64]] | None = None

    def featurize(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the features of a block of raw rows, with the snapshot's population."""
        return featurize(raw, self.snapshot.population, self.horizon_days)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(churn) for a block of features."""
        scaled = self._standardised(features)
        logit = np.add.reduce(scaled * self._weights, axis=1) + self.snapshot.intercept
        if self._bend is not None:
            logit += self._bend(scaled)
        if self._offset >= 0:
            logit += features[:, self._offset]
        return sigmoid(logit)

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = 3) -> tuple[Reason, ...]:
        """Return up to `top` reasons for one row, largest contribution first.

        Contributions are exact: summed over all themes they give the logit less its baseline (the intercept, the mean
        offset and what belongs to the moment). A bend has no shares; for it, a theme counts with what would be lacking
        without it.
        """
        contributions = self.contributions(features)
        shown = [
            (theme, amount)
            for theme, amount in contributions.items()
            if abs(amount) >= _LEAST_CONTRIBUTION and theme not in _HIDDEN_THEMES
        ]
        shown.sort(key=lambda item: (-abs(item[1]), item[0]))
        values = _Named(features.tolist())
        return tuple(_reason(theme, amount, values, language) for theme, amount in shown[:top])

    def contributions(self, features: NDArray[np.float32]) -> dict[str, float]:
        """Return each theme's share of one row's logit above the baseline: exact but for a bend."""
        scaled = self._standardised_row(features)
        sums = np.bincount(self._themes, weights=scaled * self._weights, minlength=len(_THEME_NAMES)).tolist()
        if self._bend is not None:
            sums = [amount + bent for amount, bent in zip(sums, self._bent(scaled), strict=True)]
        result = dict(zip(_THEME_NAMES, sums, strict=True))
        if self._offset_theme:
            result[self._offset_theme] += float(features[self._offset]) - self.snapshot.offset_mean
        return result

    def interval(self, features: NDArray[np.float32]) -> tuple[float, float] | None:
        """Return the 90 % interval of one customer's probability.

        The true probability is taken as beta-distributed about the served one. Its variance adds up how much customers
        with the same features differ and what is not known of the weights (the posterior, widened for repeated
        customers). A beta, because many a silent customer has gone for good: the truth is then 1, which an interval on
        the logit cannot reach.
        """
        if self._covariance is None or self.cold_start:
            return None
        inputs = self._standardised_row(features)
        row = np.empty(len(inputs) + 1)
        row[0] = 1.0
        row[1:] = inputs
        logit = float(np.add.reduce(inputs * self._weights)) + self.snapshot.intercept
        if self._offset >= 0:
            logit += float(features[self._offset])
        uncertainty = max(float(row @ self._covariance @ row), 0.0) * self.snapshot.widening
        return beta_interval(bounded_sigmoid(logit), self.snapshot.spread, uncertainty)

    def _bent(self, scaled: NDArray[np.float64]) -> list[float]:
        """Return what the bend would lack, theme by theme, if the theme's inputs were as usual."""
        assert self._bend is not None
        without = np.where(self._themes == np.arange(len(_THEME_NAMES))[:, np.newaxis], 0.0, scaled)
        lacking: list[float] = (self._bend(scaled[np.newaxis]) - self._bend(without)).tolist()
        return lacking

    def _standardised(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        scaled = (self._inputs.of_block(features) - self._mean) * self._inverse_scale
        clipped: NDArray[np.float64] = np.clip(scaled, -self.snapshot.clip, self.snapshot.clip)
        return clipped

    def _standardised_row(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return one row standardised; reasons and interval are asked of the same row, one after the other."""
        last = self._last
        if last is not None and last[0] is features:
            return last[1]
        scaled = (self._inputs.of_row(features) - self._mean) * self._inverse_scale
        clip = self.snapshot.clip
        clipped: NDArray[np.float64] = np.minimum(np.maximum(scaled, -clip), clip)
        self._last = (features, clipped)
        return clipped


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + e^-logit) with logits bounded at +-30, so that no probability is exactly 0 or 1."""
    probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logit, -_LOGIT_BOUND, _LOGIT_BOUND)))
    return probability


def beta_interval(probability: float, spread: float, logit_variance: float) -> tuple[float, float]:
    """Return the 90 % interval of a true probability whose mean is served; it holds the served one.

    Parameters
    ----------
    probability
        As served.
    spread
        Share of p (1 - p) by which customers with the same features differ.
    logit_variance
        Of the served logit itself; it moves p by p (1 - p) times as much.
    """
    mean = min(max(probability, _INTERVAL_EDGE), 1.0 - _INTERVAL_EDGE)
    correlation = spread + (1.0 - spread) * mean * (1.0 - mean) * logit_variance
    if correlation <= 0.0:
        return probability, probability
    precision = 1.0 / min(correlation, _MOST_CORRELATION) - 1.0
    low, high = betaincinv(mean * precision, (1.0 - mean) * precision, (_INTERVAL_TAIL, 1.0 - _INTERVAL_TAIL)).tolist()
    return min(low, probability), max(high, probability)


def bounded_sigmoid(logit: float) -> float:
    """Return `sigmoid` of one number."""
    return 1.0 / (1.0 + exp(-min(max(logit, -_LOGIT_BOUND), _LOGIT_BOUND)))


class _Named:
    """A feature row's values by name."""

    __slots__ = ("_values",)

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> float:
        return self._values[FEATURE_INDEX[name]]


def _reason(theme: str, contribution: float, values: _Named, language: str) -> Reason:
    return Reason(code=theme, text=sentence(theme, values, language), contribution=round(contribution, 4))
