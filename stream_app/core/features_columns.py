"""What several features share: columns of a block of raw rows, decayed to the time of the point.

Everything is elementwise on contiguous columns, so a row's numbers never depend on which rows stand beside it.
"""

from math import log

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features_raw import RAW_COLUMNS, RAW_WIDTH
from stream_app.core.population import Population
from stream_app.core.state import CLICK_STEPS

Column = NDArray[np.float64]

GAMMA_SHAPE = 0.5
"""Shape of the Gamma prior on a customer's order rate."""
DECAY_DAYS = 60.0
_DEVIATION_FLOOR = 0.05
_LN2 = log(2.0)

_INDEX = {name: index for index, name in enumerate(RAW_COLUMNS)}


class Columns:
    """A block of raw rows as columns, with what more than one feature needs. Ages and gaps are in days."""

    def __init__(self, raw: NDArray[np.float64], population: Population, horizon_days: float) -> None:
        if raw.ndim != 2 or raw.shape[1] != RAW_WIDTH:  # noqa: PLR2004 - two dimensions: rows and columns
            raise ValueError(f"expected rows of {RAW_WIDTH} numbers (RAW_COLUMNS), got an array of shape {raw.shape}")
        self._columns = np.ascontiguousarray(raw.T)
        self.population = population
        self.horizon = float(horizon_days)
        raw_of = self.raw

        self.recency: Column = np.maximum(raw_of("recency"), 0.0)
        self.tenure: Column = np.maximum(raw_of("tenure"), self.recency)
        self.days: Column = raw_of("days")
        self.repeats: Column = np.maximum(self.days - 1.0, 0.0)
        self.orders: Column = raw_of("orders")
        self.orders_safe: Column = np.maximum(self.orders, 1.0)
        age = np.maximum(raw_of("orders_age"), 0.0)
        self.count_14d: Column = raw_of("count_14d") * halved(age, 14.0)
        self.count_30d: Column = raw_of("count_30d") * halved(age, 30.0)
        self.count_90d: Column = raw_of("count_90d") * halved(age, 90.0)
        fade = halved(age, DECAY_DAYS)
        self.repeat_60d: Column = raw_of("repeat_60d") * fade
        self.amount_60d: Column = raw_of("amount_60d") * fade

        gaps = raw_of("gaps")
        self.gaps: Column = gaps
        mean = (raw_of("sum_ln_gap") + 2.0 * population.gap_mean) / (gaps + 2.0)
        spread = raw_of("sum_ln_gap_squared") - 2.0 * mean * raw_of("sum_ln_gap") + gaps * mean * mean
        variance = (np.maximum(spread, 0.0) + 3.0 * population.gap_variance) / (gaps + 3.0)
        self.ln_gap_mean: Column = mean
        self.ln_gap_deviation: Column = np.maximum(np.sqrt(variance * (1.0 + 1.0 / (gaps + 2.0))), _DEVIATION_FLOOR)
        self.ln_gap_ewma: Column = raw_of("ewma_ln_gap") + np.exp(gaps * log(0.7)) * population.gap_mean
        known = gaps > 0
        self.ln_last_gap: Column = np.where(known, np.log(np.maximum(raw_of("last_gap"), 0.5)), mean)
        self.max_gap: Column = np.where(known, raw_of("max_gap"), np.exp(mean))
        self.ln_recency: Column = np.log(self.recency + 0.5)

        click_age = np.maximum(raw_of("clicks_age"), 0.0)
        self.fade_7d: Column = halved(click_age, 7.0) / CLICK_STEPS
        self.fade_30d: Column = halved(click_age, 30.0) / CLICK_STEPS
        self.clicks_30d: Column = raw_of("clicks_30d") * self.fade_30d
        self.sessions_30d: Column = raw_of("sessions_30d") * self.fade_30d
        self.cart_adds_30d: Column = raw_of("cart_adds_30d") * self.fade_30d
        self.views_30d: Column = raw_of("product_views_30d") * self.fade_30d
        self.review_fade: Column = halved(np.maximum(raw_of("reviews_age"), 0.0), DECAY_DAYS)

    def raw(self, name: str) -> Column:
        """Return a column of `RAW_COLUMNS` as it came."""
        column: Column = self._columns[_INDEX[name]]
        return column


def halved(age_days: Column, half_life_days: float) -> Column:
    """Return the share that is left after an age: 1 at 0, 1/2 at the half-life."""
    return np.exp(age_days * (-_LN2 / half_life_days))


def logit_of_log(log_probability: Column, bound: float = 8.0) -> Column:
    """Return the logit of exp(log_probability) within +- `bound`, exact where 1 - p would lose digits."""
    safe = np.minimum(log_probability, -1e-12)
    logit: Column = np.clip(safe - np.log(-np.expm1(safe)), -bound, bound)
    return logit
