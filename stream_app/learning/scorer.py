"""Scoring: features to probability, reasons and an interval. No state, no clock; a new snapshot makes a new scorer.

A row's result is the same bits in whatever block it stands: every operation is elementwise or a reduction over one row.
That is why there is no matrix product here, whose order of summation may depend on the number of rows.
"""

from collections.abc import Sequence
from math import exp
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX, FEATURES, FEATURES_HASH, featurize
from stream_app.core.outputs import Reason
from stream_app.core.population import Population
from stream_app.core.reasons import sentence
from stream_app.core.told import ReasonTold
from stream_app.learning.inputs import OFFSET, ModelInputs
from stream_app.learning.intervals import Interval, beta_intervals
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.learning.zoo.bends import bend_of

PRIOR_VERSION = "prior"

_LOGIT_BOUND = 30.0
_THEMES = {feature.name: feature.theme for feature in FEATURES}
_THEME_NAMES = tuple(sorted(set(_THEMES.values())))
_LEAST_CONTRIBUTION = 0.005
"""On the logit, about a tenth of a percent of probability: less is no reason."""
_HIDDEN_THEMES = frozenset({"kind"})
"""Belong to the moment, not to the customer."""
_SHOWN = np.array([name not in _HIDDEN_THEMES for name in _THEME_NAMES])
_REASONS = 3
"""Told with a score, at most."""


class Account(NamedTuple):
    """What a model says of one row besides the probability."""

    interval: Interval | None
    reasons: tuple[ReasonTold, ...]


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

    def interval(self, features: NDArray[np.float32]) -> Interval | None:
        """Return a 90 % interval of the probability for one row, or None where the model has none."""
        ...

    def account(self, features: NDArray[np.float32], languages: Sequence[str]) -> list[Account]:
        """Return interval and reasons of each row of a block, the reasons in its customer's language.

        The same as `interval` and `explain` return row by row, and several times as fast.
        """
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

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = _REASONS) -> tuple[Reason, ...]:
        """Return the one reason that the prior knows: the rhythm of orders."""
        reasons = self.account(features[np.newaxis], [language])[0].reasons
        return tuple(reason.as_contract() for reason in reasons[:top])

    def interval(self, features: NDArray[np.float32]) -> Interval | None:
        """Return None: a prior does not know how wrong it is."""
        del features
        return None

    def account(self, features: NDArray[np.float32], languages: Sequence[str]) -> list[Account]:
        """Return the one reason of each row of a block."""
        theme, offset = _THEMES[OFFSET], self._offset
        return [
            Account(None, (_reason(theme, row.item(offset), _Named(row), language),))
            for row, language in zip(features, languages, strict=True)
        ]


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
        self._offset_theme = _THEME_NAMES.index(_THEMES[snapshot.offset]) if snapshot.offset else -1
        self._bend = bend_of(snapshot.form, snapshot.arrays, len(snapshot.inputs))

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

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = _REASONS) -> tuple[Reason, ...]:
        """Return up to `top` reasons for one row, largest contribution first.

        Contributions are exact: summed over all themes they give the logit less its baseline (the intercept, the mean
        offset and what belongs to the moment). A bend has no shares; for it, a theme counts with what would be lacking
        without it.
        """
        block = features[np.newaxis]
        (reasons,) = self._reasons(block, self._standardised(block), [language], top)
        return tuple(reason.as_contract() for reason in reasons)

    def contributions(self, features: NDArray[np.float32]) -> dict[str, float]:
        """Return each theme's share of one row's logit above the baseline: exact but for a bend."""
        block = features[np.newaxis]
        (shares,) = self._shares(block, self._standardised(block)).tolist()
        return dict(zip(_THEME_NAMES, shares, strict=True))

    def interval(self, features: NDArray[np.float32]) -> Interval | None:
        """Return the 90 % interval of one customer's probability.

        The true probability is taken as beta-distributed about the served one. Its variance adds up how much customers
        with the same features differ and what is not known of the weights (the posterior, widened for repeated
        customers). A beta, because many a silent customer has gone for good: the truth is then 1, which an interval on
        the logit cannot reach.
        """
        block = features[np.newaxis]
        (interval,) = self._intervals(block, self._standardised(block))
        return interval

    def account(self, features: NDArray[np.float32], languages: Sequence[str]) -> list[Account]:
        """Return interval and reasons of each row of a block."""
        scaled = self._standardised(features)
        intervals, reasons = self._intervals(features, scaled), self._reasons(features, scaled, languages, _REASONS)
        return list(map(Account, intervals, reasons))

    def _intervals(self, features: NDArray[np.float32], scaled: NDArray[np.float64]) -> Sequence[Interval | None]:
        if self._covariance is None or self.cold_start:
            return [None] * len(features)
        rows = np.empty((len(scaled), scaled.shape[1] + 1))
        rows[:, 0] = 1.0
        rows[:, 1:] = scaled
        logit = np.add.reduce(scaled * self._weights, axis=1) + self.snapshot.intercept
        if self._offset >= 0:
            logit += features[:, self._offset]
        # A stack of products of one row each, not one product of all rows: that would be summed in another order.
        spread_out = np.matmul(rows[:, np.newaxis], self._covariance)
        uncertainty = np.maximum(np.matmul(spread_out, rows[:, :, np.newaxis])[:, 0, 0], 0.0) * self.snapshot.widening
        probability = np.array([bounded_sigmoid(each) for each in logit.tolist()])
        low, high = beta_intervals(probability, self.snapshot.spread, uncertainty)
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _reasons(
        self, features: NDArray[np.float32], scaled: NDArray[np.float64], languages: Sequence[str], top: int
    ) -> list[tuple[ReasonTold, ...]]:
        shares = self._shares(features, scaled)
        sizes = np.abs(shares)
        sizes = np.where((sizes >= _LEAST_CONTRIBUTION) & _SHOWN, sizes, 0.0)
        # Themes are in order of their names, and so are those of equal size.
        ranked = np.argsort(-sizes, axis=1, kind="stable")[:, :top].tolist()
        shown = np.count_nonzero(sizes, axis=1).tolist()
        told = []
        for row, amounts, themes, count, language in zip(
            features, shares.tolist(), ranked, shown, languages, strict=True
        ):
            named = _Named(row)
            reasons = [_reason(_THEME_NAMES[theme], amounts[theme], named, language) for theme in themes[:count]]
            told.append(tuple(reasons))
        return told

    def _shares(self, features: NDArray[np.float32], scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return every theme's share of the logits above the baseline, rows by themes."""
        rows, themes = len(scaled), len(_THEME_NAMES)
        places = (np.arange(rows) * themes)[:, np.newaxis] + self._themes
        weights = (scaled * self._weights).ravel()
        sums: NDArray[np.float64] = np.bincount(places.ravel(), weights=weights, minlength=rows * themes)  # type: ignore[assignment]  # with weights they are floats
        shares = sums.reshape(rows, themes)
        if self._bend is not None:
            # What the bend would lack if the theme's inputs were as usual.
            bent = self._bend(scaled)
            for theme in range(themes):
                shares[:, theme] += bent - self._bend(np.where(self._themes == theme, 0.0, scaled))
        if self._offset_theme >= 0:
            shares[:, self._offset_theme] += features[:, self._offset].astype(np.float64) - self.snapshot.offset_mean
        return shares

    def _standardised(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        scaled = (self._inputs.of_block(features) - self._mean) * self._inverse_scale
        clipped: NDArray[np.float64] = np.clip(scaled, -self.snapshot.clip, self.snapshot.clip)
        return clipped


def sigmoid(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 / (1 + e^-logit) with logits bounded at +-30, so that no probability is exactly 0 or 1."""
    probability: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-np.clip(logit, -_LOGIT_BOUND, _LOGIT_BOUND)))
    return probability


def bounded_sigmoid(logit: float) -> float:
    """Return `sigmoid` of one number."""
    return 1.0 / (1.0 + exp(-min(max(logit, -_LOGIT_BOUND), _LOGIT_BOUND)))


class _Named:
    """A feature row's values by name: reasons ask for a few of them."""

    __slots__ = ("_row",)

    def __init__(self, row: NDArray[np.float32]) -> None:
        self._row = row

    def __getitem__(self, name: str) -> float:
        return self._row.item(FEATURE_INDEX[name])


def _reason(theme: str, contribution: float, values: _Named, language: str) -> ReasonTold:
    return ReasonTold(theme, sentence(theme, values, language), round(contribution, 4))
