"""What a customer will probably do next: when the next order may come, and what 90 days are worth.

Both are read from the packed features and the score, so that they belong to the very moment that was scored.
"""

from math import exp, expm1, log
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX

VALUE_DAYS = 90.0
LONGEST_DAYS = 365.0
"""A window that begins later than this is no forecast."""

_EARLY, _LATE = 0.75, 0.25
"""Shares of customers like this who are still silent at the beginning and at the end of the window."""
_SPENDING_HALF_LIFE_DAYS = 60.0
_LEAST_PROBABILITY = 1e-4
_below, _quantile = NormalDist().cdf, NormalDist().inv_cdf
_RECENCY, _MEAN, _DEVIATION, _SPENT = (FEATURE_INDEX[name] for name in ("log_rec", "lg_mu", "lg_sd", "log_dec_amt"))


def next_order_window(features: NDArray[np.float32]) -> tuple[float, float] | None:
    """Return days from now between which the middle half of the next orders falls, given the silence so far.

    The lognormal renewal model of the customer's own gaps (as `lo_lognorm`). None when even the early end is more than
    a year away.
    """
    silent = max(expm1(features.item(_RECENCY)), 1e-3)
    mean, deviation = features.item(_MEAN), features.item(_DEVIATION)
    still_silent = _below((mean - log(silent)) / deviation)
    early = _days_until(_EARLY * still_silent, mean, deviation, silent)
    if early > LONGEST_DAYS:
        return None
    late = _days_until(_LATE * still_silent, mean, deviation, silent)
    return round(early, 1), round(min(late, 2.0 * LONGEST_DAYS), 1)


def _days_until(still_silent: float, mean: float, deviation: float, silent: float) -> float:
    probability = min(max(still_silent, 1e-12), 1.0 - 1e-12)
    return max(exp(min(mean - deviation * _quantile(probability), 20.0)) - silent, 0.0)


def expected_value(features: NDArray[np.float32], probability: float, horizon_days: float, mean_amount: float) -> float:
    """Return the expected order value of the next 90 days, in shop currency.

    The mean of two estimates that err in opposite ways: recent spending going on at its pace (a steady rate s leaves a
    decayed sum of s * half-life / ln 2), and orders at the rate that the score implies (P(none in H) = e^(-rate H)) at
    the customer's mean value.
    """
    spent = expm1(features.item(_SPENT)) * log(2.0) / _SPENDING_HALF_LIFE_DAYS * VALUE_DAYS
    orders = -log(max(probability, _LEAST_PROBABILITY)) * VALUE_DAYS / horizon_days
    return 0.5 * (spent + orders * mean_amount)
