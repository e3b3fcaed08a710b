"""What the product is measured against: recency, RFM, BG/NBD, and gradient boosting refitted every 30 days.

Batch models are trained on complete cohorts only (T + H up to the time of fitting): training on "already matured" rows
would make them worse than they are.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.core.times import DAY_MS
from stream_app.evaluation.running import Observed

RFM_FEATURES = ("log_rec", "log_norders", "log_mean_amt")
BOOSTED_FEATURES = (
    "log_rec", "rec30", "log_tenure", "log_norders", "log_ndays", "lg_mu", "log_ewma_gap", "log_rec_over_ewma",
    "rec_over_gap", "lg_sd", "z_silence", "lo_lognorm", "lo_gampois", "lo_gampois_dec", "lo_bgnbd", "log_last_gap",
    "gap_trend", "log_rec_over_max", "c14", "c30", "c90", "c_trend", "log_mean_amt", "last_amt_dev", "log_dec_amt",
    "log_mean_lines", "cancels", "single", "glob_trend",
)  # fmt: skip
MOST_ROWS = 80_000
REFIT_DAYS = 30
_TREES = 120
_SEED = 7
_PARAMETERS = {
    "objective": "binary",
    "num_leaves": 8,
    "learning_rate": 0.04,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": _SEED,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
_STEPS = 30
_RIDGE = 1e-3

Matrix = NDArray[np.float64]
Baseline = Callable[[Observed, int], NDArray[np.float64]]
"""All observations of one kind and the start of the test in event time; scores for those of the test."""


class BaselineUnavailableError(RuntimeError):
    """A baseline needs a package that is not installed; the message names the remedy."""


def boosting_library() -> Any:
    """Return the LightGBM module; raises BaselineUnavailableError where it is not installed."""
    try:
        return import_module("lightgbm")
    except ImportError as error:
        raise BaselineUnavailableError(
            "the boosting baseline needs LightGBM: install the extra, `pip install 'stream-app[bench]'`"
        ) from error


def recency_rule(observed: Observed, test_start_ms: int) -> NDArray[np.float64]:
    """Score by the time since the last order alone, as a regression on it that was fitted once."""
    return _regression(observed, test_start_ms, ("log_rec",))


def rfm_regression(observed: Observed, test_start_ms: int) -> NDArray[np.float64]:
    """Score by logistic regression on recency, frequency and monetary value, fitted once."""
    return _regression(observed, test_start_ms, RFM_FEATURES)


def bgnbd(observed: Observed, test_start_ms: int) -> NDArray[np.float64]:
    """Score by BG/NBD with the parameters that were in force at T (refitted every 30 days)."""
    logit = observed.column("lo_bgnbd")[observed.at_ms >= test_start_ms]
    scores: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-logit))
    return scores


def boosting(observed: Observed, test_start_ms: int) -> NDArray[np.float64]:
    """Score by LightGBM, refitted every 30 days of the test on at most 80,000 rows; raises BaselineUnavailableError."""
    lightgbm = boosting_library()
    columns = np.stack([observed.column(name) for name in BOOSTED_FEATURES], axis=1)
    in_test = observed.at_ms >= test_start_ms
    scores = np.zeros(len(observed))
    end_ms = int(observed.at_ms.max()) + 1 if len(observed) else test_start_ms
    for start_ms in range(test_start_ms, end_ms, REFIT_DAYS * DAY_MS):
        chosen = (observed.at_ms >= start_ms) & (observed.at_ms < start_ms + REFIT_DAYS * DAY_MS)
        rows = np.nonzero(observed.due_ms <= start_ms)[0]
        if not chosen.any():
            continue
        if not len(rows):
            scores[chosen] = 0.5
            continue
        if len(rows) > MOST_ROWS:
            rows = np.sort(np.random.default_rng(_SEED).choice(rows, MOST_ROWS, replace=False))
        data = lightgbm.Dataset(columns[rows], label=observed.churned[rows].astype(np.float64))
        fitted = lightgbm.train(_PARAMETERS, data, num_boost_round=_TREES)
        scores[chosen] = fitted.predict(columns[chosen])
    return scores[in_test]


BASELINES: dict[str, Baseline] = {
    "recency": recency_rule,
    "rfm": rfm_regression,
    "bgnbd": bgnbd,
    "lightgbm_refit30": boosting,
}


def _regression(observed: Observed, test_start_ms: int, names: tuple[str, ...]) -> NDArray[np.float64]:
    columns = np.stack([observed.column(name) for name in names], axis=1)
    known = observed.due_ms <= test_start_ms
    in_test = observed.at_ms >= test_start_ms
    if not known.any():
        return np.full(int(in_test.sum()), 0.5)
    mean, scale = columns[known].mean(axis=0), columns[known].std(axis=0)
    scaled = (columns - mean) / np.where(scale > 0, scale, 1.0)
    design = np.concatenate((np.ones((len(scaled), 1)), scaled), axis=1)
    weights = _fit_logistic(design[known], observed.churned[known].astype(np.float64))
    scores: NDArray[np.float64] = 1.0 / (1.0 + np.exp(-design[in_test] @ weights))
    return scores


def _fit_logistic(design: Matrix, labels: Matrix) -> Matrix:
    """Return the ridge-penalised maximum-likelihood weights by Newton's method."""
    weights = np.zeros(design.shape[1])
    penalty = _RIDGE * np.eye(design.shape[1])
    for _ in range(_STEPS):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -30.0, 30.0)))
        curvature = probability * (1.0 - probability)
        hessian = (design * curvature[:, np.newaxis]).T @ design + penalty
        step = np.linalg.solve(hessian, design.T @ (labels - probability) - penalty @ weights)
        weights += step
        if np.abs(step).max() < 1e-8:  # noqa: PLR2004 - converged
            break
    return weights
