"""Exact measures of a set of scores and labels. Scores are probabilities of churn, churn is the positive class."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.bool_]

_EDGE = 1e-6
_CALIBRATION_BINS = 10
_RANK_BINS = 4_096


def auc(score: Scores, churned: Labels) -> float:
    """Return the probability that a churner scores above a stayer, ties counting one half; NaN with one class only."""
    positives = int(churned.sum())
    negatives = len(churned) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((mean_rank[inverse][churned].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def average_precision(score: Scores, churned: Labels) -> float:
    """Return the area under the precision-recall curve as a step function; NaN without churners."""
    if not churned.any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranked, sorted_scores = churned[order], score[order]
    ends = np.append(np.nonzero(np.diff(sorted_scores))[0], len(ranked) - 1)
    hits = np.cumsum(ranked)[ends]
    precision = hits / (ends + 1.0)
    recall_steps = np.diff(np.concatenate(([0.0], hits))) / float(ranked.sum())
    return float(precision @ recall_steps)


def calibration(score: Scores, churned: Labels) -> list[dict[str, float]]:
    """Return mean score, churn rate and share of observations for each of ten equal-width bins that is not empty."""
    bins = np.minimum((score * _CALIBRATION_BINS).astype(np.intp), _CALIBRATION_BINS - 1)
    curve = []
    for index in range(_CALIBRATION_BINS):
        inside = bins == index
        if inside.any():
            curve.append(
                {
                    "score": float(score[inside].mean()),
                    "churn_rate": float(churned[inside].mean()),
                    "share": float(inside.mean()),
                }
            )
    return curve


def measures(score: Scores, churned: Labels) -> dict[str, float]:
    """Return n, churn_rate, auc, pr_auc, log_loss, brier, ece (ten equal-width bins), lift_10; {} without rows."""
    if not len(score):
        return {}
    safe = np.clip(score, _EDGE, 1.0 - _EDGE)
    top = np.argsort(-score, kind="stable")[: max(len(score) // 10, 1)]
    rate = float(churned.mean())
    return {
        "n": float(len(score)),
        "churn_rate": rate,
        "auc": auc(score, churned),
        "pr_auc": average_precision(score, churned),
        "log_loss": float(-np.log(np.where(churned, safe, 1.0 - safe)).mean()),
        "brier": float(((score - churned) ** 2).mean()),
        "ece": sum(abs(point["score"] - point["churn_rate"]) * point["share"] for point in calibration(score, churned)),
        "lift_10": float(churned[top].mean()) / rate if rate else float("nan"),
    }


def confusion(score: Scores, churned: Labels, threshold: float) -> dict[str, float]:
    """Return the confusion matrix of "churns where score >= threshold", and accuracy, precision, recall and F1."""
    called = score >= threshold
    true_positive, false_positive = int((called & churned).sum()), int((called & ~churned).sum())
    false_negative, true_negative = int((~called & churned).sum()), int((~called & ~churned).sum())
    precision = true_positive / max(true_positive + false_positive, 1)
    recall = true_positive / max(true_positive + false_negative, 1)
    return {
        "threshold": threshold,
        "true_positive": true_positive,
        "false_positive": false_positive,
        "false_negative": false_negative,
        "true_negative": true_negative,
        "accuracy": (true_positive + true_negative) / max(len(score), 1),
        "precision": precision,
        "recall": recall,
        "f1": 2.0 * precision * recall / (precision + recall) if precision + recall else 0.0,
    }


def difference_error(
    one: Scores, other: Scores, churned: Labels, customer: NDArray[np.int64], *, replicates: int = 100, seed: int = 7
) -> float:
    """Return the standard error of auc(one) - auc(other), by a bootstrap over customers.

    A customer's observations are alike and stay together, or the error would be far too small. Scores are cut to 4,096
    rank bins.
    """
    random = np.random.default_rng(seed)
    _, codes = np.unique(customer, return_inverse=True)
    ranks = [_rank_bins(score) for score in (one, other)]
    differences: list[float] = []
    for _ in range(replicates):
        drawn = random.poisson(1.0, int(codes.max()) + 1)[codes].astype(np.float64)
        first, second = (_weighted_auc(rank, churned, drawn) for rank in ranks)
        differences.append(first - second)
    return float(np.std(differences))


def curve_by_period(
    at_ms: NDArray[np.int64], score: Scores, churned: Labels, edges_ms: Sequence[int]
) -> list[dict[str, float]]:
    """Return n, auc, log_loss and ece for each period between consecutive edges that has both labels."""
    curve = []
    for start, stop in pairwise(edges_ms):
        inside = (at_ms >= start) & (at_ms < stop)
        if churned[inside].any() and not churned[inside].all():
            found = measures(score[inside], churned[inside])
            curve.append({"from_ms": float(start)} | {name: found[name] for name in ("n", "auc", "log_loss", "ece")})
    return curve


def _rank_bins(score: Scores) -> NDArray[np.intp]:
    _, inverse = np.unique(score, return_inverse=True)
    bins: NDArray[np.intp] = inverse * _RANK_BINS // (int(inverse.max()) + 1)
    return bins


def _weighted_auc(rank: NDArray[np.intp], churned: Labels, weight: Scores) -> float:
    positive = np.bincount(rank, weights=weight * churned, minlength=_RANK_BINS)
    negative = np.bincount(rank, weights=weight * ~churned, minlength=_RANK_BINS)
    below = np.cumsum(negative) - negative / 2.0
    return float(positive @ below / max(positive.sum() * negative.sum(), _EDGE))
