"""What each family of features is worth: the model without it, over the very same observations.

Prequential, as everything here: the model without a family learns and serves at the same moments as the whole one. A
family that the default model leaves out is added instead. The gain is always that of having it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURE_INDEX, KIND
from stream_app.evaluation.measures import auc, difference_error, measures
from stream_app.evaluation.rescoring import rescore
from stream_app.evaluation.running import Observed
from stream_app.learning.inputs import AFTER_ORDER, DEFAULT_INPUTS, ON_CALENDAR, feature_of
from stream_app.learning.learner import Learner
from stream_app.learning.zoo.registry import KALMAN

_CLICKS = ("clicks_known", "click_fresh", "clicks_7", "clicks_30", "views_30", "promotions_30")
_SESSIONS = ("sessions_7", "sessions_30", "visit_trend", "visit_since_order")
_CART = ("cart_adds_30", "cart_removes_30", "full_carts_30", "cart_open", "cart_rate", "checkouts_30")
_SEARCH = ("searches_30", "wishlist_30", "shares_30")
_CHANNEL = ("app_share",)
_VOICE = ("reviews_known", "reviews_60", "sentiment", "last_sentiment", "rating", "survey")
_COMPLAINTS = ("complaints_60", "complaint_fresh")

FAMILIES: dict[str, tuple[str, ...]] = {
    "silence": ("log_rec", "rec30", "log_rec_over_ewma", "rec_over_gap", "z_silence", "lo_lognorm", "log_rec_over_max"),
    "rhythm": ("lg_mu", "log_ewma_gap", "lg_sd", "log_last_gap", "gap_trend", "c_trend"),
    "frequency": ("log_tenure", "log_norders", "log_ndays", "c14", "c30", "c90", "single", "lo_gampois"),
    "BG/NBD": ("lo_bgnbd",),
    "value": ("log_mean_amt", "last_amt_dev", "log_dec_amt", "log_mean_lines"),
    "discounts": ("discount_share",),
    "returns and cancellations": ("returns", "return_share", "cancels", "cancel_fresh"),
    "clicks": _CLICKS,
    "sessions": _SESSIONS,
    "cart": _CART,
    "search and wishes": _SEARCH,
    "channel": _CHANNEL,
    "reviews and sentiment": _VOICE,
    "complaints": _COMPLAINTS,
    "all clicks": (*_CLICKS, *_SESSIONS, *_CART, *_SEARCH, *_CHANNEL),
    "all texts": (*_VOICE, *_COMPLAINTS),
    "clicks and texts": (*_CLICKS, *_SESSIONS, *_CART, *_SEARCH, *_CHANNEL, *_VOICE, *_COMPLAINTS),
    "season": ("season_sin", "season_cos"),
    "calendar": (KIND,),
}
"""Features by family; "calendar" is the kind of the observation and all that is crossed with it."""

_INTERVAL_DEVIATIONS = 1.96


def inputs_without(family: str) -> tuple[str, ...]:
    """Return the inputs of the model that differs from the default one by a family: without it, or with it added.

    Raises KeyError for an unknown family.
    """
    features = FAMILIES[family]
    if features == (KIND,):
        crossed = (ON_CALENDAR, AFTER_ORDER)
        return tuple(name for name in DEFAULT_INPUTS if name != KIND and not name.endswith(crossed))
    kept = tuple(name for name in DEFAULT_INPUTS if feature_of(name) not in features)
    return kept if len(kept) < len(DEFAULT_INPUTS) else (*DEFAULT_INPUTS, *features)


def ablate(
    examples: Sequence[TrainingExample],
    learned_before: Mapping[str, int],
    observed: Observed,
    judged: NDArray[np.bool_],
    families: Sequence[str] = tuple(FAMILIES),
    show: Callable[[str], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return by family how much AUC it brings, with its error and 95 % interval, and log loss and ECE without it.

    Families of which no feature varies are left out: the data do not have them.

    Parameters
    ----------
    examples, learned_before
        As `rescore` takes them.
    observed
        The same examples as arrays.
    judged
        Which of them the figures are of.
    families
        Names in `FAMILIES`.
    show
        Told each family as its turn comes.

    Raises
    ------
    KeyError
        For an unknown family.
    """
    horizon_days = examples[0].horizon_days
    churned, customer = observed.churned[judged], observed.customer[judged]
    whole = rescore(examples, learned_before, Learner(horizon_days, KALMAN))[judged]
    found: dict[str, dict[str, Any]] = {"": measures(whole, churned)}
    for family in families:
        columns = observed.features[judged][:, [FEATURE_INDEX[name] for name in FAMILIES[family]]]
        if family != "calendar" and not np.ptp(columns.astype(np.float32), axis=0).any():
            continue
        if show is not None:
            show(family)
        inputs = inputs_without(family)
        other = rescore(examples, learned_before, Learner(horizon_days, KALMAN, inputs))[judged]
        sign = 1.0 if len(inputs) < len(DEFAULT_INPUTS) else -1.0
        gain, error = (
            sign * (auc(whole, churned) - auc(other, churned)),
            difference_error(whole, other, churned, customer),
        )
        without = measures(other if sign > 0 else whole, churned)
        found[family] = {
            "in_default_model": sign > 0,
            "auc_gain": gain,
            "auc_gain_error": error,
            "auc_gain_interval": [gain - _INTERVAL_DEVIATIONS * error, gain + _INTERVAL_DEVIATIONS * error],
            "auc_without": without["auc"],
            "log_loss_without": without["log_loss"],
            "ece_without": without["ece"],
        }
    return found
