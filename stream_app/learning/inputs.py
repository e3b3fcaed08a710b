"""Which numbers a model sees: features by name, and products of features with the kind of the observation.

The feature list holds everything that is measured; a model names the inputs that it uses, so that a family of features
can be added to the list, and proved or dropped by evaluation, without touching what is packed and stored.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX, KIND

ON_CALENDAR = "*calendar"
"""Suffix of an input that is the feature on calendar observations and 0 after orders."""
AFTER_ORDER = "*event"
"""Suffix of an input that is the feature after orders and 0 on the calendar."""


def feature_of(name: str) -> str:
    """Return the feature that an input is made of."""
    return name.removesuffix(ON_CALENDAR).removesuffix(AFTER_ORDER)


class ModelInputs:
    """Maps features to a model's inputs. Raises ValueError for a name that is not in the feature list."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.bases = tuple(feature_of(name) for name in self.names)
        unknown = [base for base in self.bases if base not in FEATURE_INDEX]
        if unknown:
            raise ValueError(f"the model wants features that this version does not have: {', '.join(unknown)}")
        self._columns = np.array([FEATURE_INDEX[base] for base in self.bases], dtype=np.intp)
        self._kind = FEATURE_INDEX[KIND]
        on_calendar = np.array([not name.endswith(AFTER_ORDER) for name in self.names], dtype=np.float64)
        after_order = np.array([not name.endswith(ON_CALENDAR) for name in self.names], dtype=np.float64)
        self._gates = np.stack((after_order, on_calendar))
        """Per kind, 1 for inputs that it has and 0 for the others."""

    def of_block(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the inputs (n, m) of a block of features (n, d); rows do not depend on each other."""
        # Always in row order in memory: sums over a row must not depend on the layout that indexing happens to choose.
        inputs: NDArray[np.float64] = features[:, self._columns].astype(np.float64, order="C")
        inputs *= self._gates[features[:, self._kind].astype(np.intp)]
        return inputs


CROSSED_INPUTS = (
    "c14",
    "c30",
    "c90",
    "lo_bgnbd",
    "lo_gampois_dec",
    "lo_lognorm",
    "log_rec_over_ewma",
    "rec_over_gap",
    "z_silence",
    "gap_trend",
    "lg_mu",
    "lg_sd",
    "log_ewma_gap",
    "log_norders",
    "log_ndays",
    "log_tenure",
    "single",
    "log_dec_amt",
    "log_mean_lines",
)
"""What may mean something else on the calendar than right after an order (after one, log_rec is always 0)."""

ORDER_INPUTS = (*CROSSED_INPUTS, "log_rec", "log_mean_amt", "last_amt_dev", "cancels")
"""Order features that earned their place on real order streams, by prequential AUC before 60 % of the span.

The time of year is not among them: with a year or two of data it only fits the past. Nor is the shop's order trend.
"""

OTHER_INPUTS = (
    "return_share",
    "discount_share",
    "clicks_known",
    "click_fresh",
    "clicks_30",
    "sessions_7",
    "sessions_30",
    "visit_trend",
    "visit_since_order",
    "views_30",
    "cart_adds_30",
    "full_carts_30",
    "cart_open",
    "searches_30",
    "wishlist_30",
    "promotions_30",
    "app_share",
    "reviews_known",
    "sentiment",
    "last_sentiment",
    "rating",
    "complaints_60",
    "complaint_fresh",
    "survey",
)
"""What only a shop with clicks and texts has: constant, hence without weight, where a shop sends orders alone."""

ORDER_MODEL_INPUTS = (
    *ORDER_INPUTS,
    KIND,
    *(name + ON_CALENDAR for name in CROSSED_INPUTS),
    *(name + AFTER_ORDER for name in CROSSED_INPUTS),
)
"""Inputs of the model that is blind to clicks and texts: what those add is measured against it."""

CROSSED_OTHER_INPUTS = (
    "click_fresh",
    "clicks_30",
    "sessions_7",
    "sessions_30",
    "visit_trend",
    "visit_since_order",
    "cart_open",
    "sentiment",
    "complaint_fresh",
)
"""Visits and texts that say much about a silent customer and little about one who has just ordered."""

DEFAULT_INPUTS = (*ORDER_MODEL_INPUTS, *OTHER_INPUTS, *(name + ON_CALENDAR for name in CROSSED_OTHER_INPUTS))
"""Inputs of the default model: what both kinds share, and how each departs from it, under one small prior variance."""

OFFSET = "lo_gampois_dec"
"""The feature whose value is the prior logit: with all weights at 0 the model predicts it."""
