"""The measured order features, the classic repeat-buying models among them, and returns and discounts.

Logits are of P(no order in the next H days) under the model that the name tells. Sources: Gamma-Poisson (Ehrenberg's
negative binomial), BG/NBD (Fader, Hardie and Lee, Marketing Science 2005), and a lognormal renewal model of a
customer's own gaps.
"""

import numpy as np
from scipy.special import log_ndtr

from stream_app.core.features_columns import DECAY_DAYS, GAMMA_SHAPE, Column, Columns, halved, logit_of_log
from stream_app.core.features_types import Feature

_LN2 = float(np.log(2.0))
_FAR = 20.0
"""Most times of its usual gap that a silence is counted as."""


def _gamma_poisson(c: Columns, purchases: Column, exposure: Column) -> Column:
    scale = GAMMA_SHAPE / c.population.repeat_rate
    return logit_of_log((GAMMA_SHAPE + purchases) * np.log((scale + exposure) / (scale + exposure + c.horizon)))


def _gamma_poisson_plain(c: Columns) -> Column:
    return _gamma_poisson(c, c.repeats, c.tenure)


def _gamma_poisson_decayed(c: Columns) -> Column:
    exposure = (1.0 - halved(c.tenure, DECAY_DAYS)) * (DECAY_DAYS / _LN2)
    return _gamma_poisson(c, c.repeat_60d, exposure)


def _bgnbd(c: Columns) -> Column:
    fitted = c.population.bgnbd
    if fitted is None:
        return _gamma_poisson_plain(c)
    r, alpha, a, b = fitted.r, fitted.alpha, fitted.a, fitted.b
    repeats, age, recency = c.repeats, c.tenure, c.tenure - c.recency
    odds_dead = np.log(a / (b + np.maximum(repeats, 1.0) - 1.0)) + (r + repeats) * np.log(
        (alpha + age) / (alpha + recency)
    )
    alive = np.where(repeats > 0, 1.0 / (1.0 + np.exp(np.minimum(odds_dead, 500.0))), 1.0)
    silent = np.exp((r + repeats) * np.log((alpha + age) / (alpha + age + c.horizon)))
    buys = np.clip(alive * (1.0 - silent), 1e-12, 1.0 - 1e-12)
    return np.clip(np.log((1.0 - buys) / buys), -8.0, 8.0)


def _lognormal(c: Columns) -> Column:
    def log_survival(days: Column) -> Column:
        result: Column = log_ndtr((c.ln_gap_mean - np.log(days)) / c.ln_gap_deviation)
        return result

    elapsed = np.maximum(c.recency, 1e-6)
    return logit_of_log(log_survival(elapsed + c.horizon) - log_survival(elapsed))


ORDER_FEATURES = (
    Feature("log_rec", "ln(1+days)", "time since the last order", "silence", lambda c: np.log1p(c.recency)),
    Feature("rec30", "30 days", "time since the last order", "silence", lambda c: c.recency / 30.0),
    Feature("log_tenure", "ln(1+days)", "time since the first order", "frequency", lambda c: np.log1p(c.tenure)),
    Feature("log_norders", "ln(1+orders)", "orders ever", "frequency", lambda c: np.log1p(c.orders)),
    Feature("log_ndays", "ln(1+days)", "days with an order", "frequency", lambda c: np.log1p(c.days)),
    Feature("lg_mu", "ln(days)", "mean gap between orders", "rhythm", lambda c: c.ln_gap_mean, population=True),
    Feature(
        "log_ewma_gap", "ln(days)", "recent gap between orders", "rhythm", lambda c: c.ln_gap_ewma, population=True
    ),
    Feature(
        "log_rec_over_ewma",
        "ln ratio",
        "silence against recent gaps",
        "silence",
        lambda c: c.ln_recency - c.ln_gap_ewma,
        population=True,
    ),
    Feature(
        "rec_over_gap",
        "ratio",
        "silence against the mean gap",
        "silence",
        lambda c: np.minimum(c.recency * np.exp(-c.ln_gap_mean), _FAR),
        population=True,
    ),
    Feature("lg_sd", "ln(days)", "irregularity of gaps", "rhythm", lambda c: c.ln_gap_deviation, population=True),
    Feature(
        "z_silence",
        "deviations",
        "how unusual the silence is",
        "silence",
        lambda c: (c.ln_recency - c.ln_gap_mean) / c.ln_gap_deviation,
        population=True,
    ),
    Feature("lo_lognorm", "logit", "lognormal renewal model", "silence", _lognormal, population=True),
    Feature("lo_gampois", "logit", "Gamma-Poisson model", "frequency", _gamma_poisson_plain, population=True),
    Feature(
        "lo_gampois_dec",
        "logit",
        "Gamma-Poisson model, recent orders",
        "silence",
        _gamma_poisson_decayed,
        population=True,
    ),
    Feature("lo_bgnbd", "logit", "BG/NBD model", "silence", _bgnbd, population=True),
    Feature("log_last_gap", "ln(days)", "last gap", "rhythm", lambda c: c.ln_last_gap, population=True),
    Feature(
        "gap_trend",
        "ln ratio",
        "last gap against the mean",
        "trend",
        lambda c: c.ln_last_gap - c.ln_gap_mean,
        population=True,
    ),
    Feature(
        "log_rec_over_max",
        "ln ratio",
        "silence against the longest gap",
        "silence",
        lambda c: c.ln_recency - np.log(c.max_gap + 0.5),
        population=True,
    ),
    Feature("c14", "ln(1+days)", "recent order days, half-life 14 d", "frequency", lambda c: np.log1p(c.count_14d)),
    Feature("c30", "ln(1+days)", "recent order days, half-life 30 d", "frequency", lambda c: np.log1p(c.count_30d)),
    Feature("c90", "ln(1+days)", "recent order days, half-life 90 d", "frequency", lambda c: np.log1p(c.count_90d)),
    Feature(
        "c_trend",
        "ln ratio",
        "orders of late against orders before",
        "trend",
        lambda c: np.log((c.count_30d / 43.3 + 0.002) / (c.count_90d / 129.8 + 0.002)),
    ),
    Feature(
        "log_mean_amt",
        "mean ln(1+money)",
        "usual order value",
        "value",
        lambda c: c.raw("sum_ln_amount") / c.orders_safe,
    ),
    Feature(
        "last_amt_dev",
        "ln ratio",
        "last order value against the usual",
        "value",
        lambda c: c.raw("last_ln_amount") - c.raw("sum_ln_amount") / c.orders_safe,
    ),
    Feature("log_dec_amt", "ln(1+money)", "recent spending, half-life 60 d", "value", lambda c: np.log1p(c.amount_60d)),
    Feature(
        "log_mean_lines",
        "mean ln(1+lines)",
        "usual basket size",
        "value",
        lambda c: c.raw("sum_ln_lines") / c.orders_safe,
    ),
    Feature("cancels", "ln(1+orders)", "cancelled orders", "trouble", lambda c: np.log1p(c.raw("cancelled"))),
    Feature("single", "0 or 1", "bought on one day only", "frequency", lambda c: (c.days == 1.0).astype(np.float64)),
    Feature(
        "glob_trend",
        "ln ratio",
        "the whole shop's orders of late",
        "shop",
        lambda c: np.full_like(c.recency, c.population.order_trend),
        population=True,
    ),
    Feature("returns", "ln(1+orders)", "returned orders", "trouble", lambda c: np.log1p(c.raw("returned"))),
    Feature(
        "return_share",
        "share",
        "returned part of all orders",
        "trouble",
        lambda c: np.minimum(c.raw("returned") / (c.orders + 1.0), 1.0),
    ),
    Feature(
        "discount_share",
        "share",
        "part of orders bought at a discount",
        "discount",
        lambda c: np.minimum(c.raw("discounted") / (c.orders + 1.0), 1.0),
    ),
    Feature(
        "cancel_fresh",
        "share",
        "freshness of the last cancellation, half-life 30 d",
        "trouble",
        lambda c: halved(np.maximum(c.raw("cancelled_age"), 0.0), 30.0),
    ),
)
