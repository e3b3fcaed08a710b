"""What a learner is worth where the truth is known: calibration, intervals, early weeks and the worth of clicks."""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.times import DAY_MS
from stream_app.evaluation.ablation import ablate
from stream_app.evaluation.measures import auc, measures
from stream_app.evaluation.rescoring import as_if_all_counted, rescore, serve_again
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import SnapshotScorer
from stream_app.simulation.learning_loop import LearningRun

HOLDOUT = 2
TREATED = 1
SETTLED_DAYS = 182
"""Figures are of observations taken after six months of interventions."""
COVERAGE_TOLERANCE = 0.01
"""A true probability this close to an interval counts as in it: one who has left has a truth of exactly 1."""
_BINS = 10
_WEEKS = 26
_LOW_BELOW = 0.35

Column = NDArray[np.float64]
Flags = NDArray[np.bool_]


def learning_figures(run: LearningRun) -> dict[str, Any]:
    """Return what the product's learner is worth in a shop, and a naive one beside it, JSON-ready.

    The naive learner sees the very same observations and takes every outcome for the customer's own, contacted or not.
    """
    naive = rescore([as_if_all_counted(each) for each in run.examples], run.learned_before, _fresh(run))
    settled = run.observed.at_ms >= run.first_ms + SETTLED_DAYS * DAY_MS
    arms, uncontacted = run.arms(), run.uncontacted()
    groups = {
        "holdout": settled & (arms == HOLDOUT),
        "treated_uncontacted": settled & (arms == TREATED) & uncontacted,
        "treated": settled & (arms == TREATED),
    }

    def judged(score: Column, chosen: Flags) -> dict[str, float]:
        return against_truth(score[chosen], run.truth[chosen], run.observed.churned[chosen])

    return {
        "observations": len(run.examples),
        "interventions": run.report.actions.total(),
        "settled_days": SETTLED_DAYS,
        "quality": {
            name: {"ours": judged(run.observed.probability, chosen), "naive": judged(naive, chosen)}
            for name, chosen in groups.items()
            if chosen.any()
        },
        "intervals": interval_coverage(run, settled),
        "weeks": _weeks(run, naive),
        "drift_alarms": dict(run.learner.drift.alarms),
    }


def against_truth(score: Column, truth: Column, churned: Flags) -> dict[str, float]:
    """Return the usual measures against labels, and the errors against true probabilities.

    Labels of contacted customers are not those of the score's question; the truth, without further contact, is.
    """
    found = measures(score, churned)
    bins = np.minimum((score * _BINS).astype(np.intp), _BINS - 1)
    gaps = [
        abs(float(score[inside].mean() - truth[inside].mean())) * float(inside.mean())
        for inside in (bins == index for index in range(_BINS))
        if inside.any()
    ]
    return found | {
        "mean_score": float(score.mean()),
        "mean_truth": float(truth.mean()),
        "ece_to_truth": sum(gaps),
        "rmse_to_truth": float(np.sqrt(((score - truth) ** 2).mean())),
        "auc_of_truth": auc(truth, churned),
    }


def interval_coverage(run: LearningRun, judged: Flags) -> dict[str, dict[str, float]]:
    """Return how often the served 90 % interval holds the true probability, and its mean width.

    Beside it "posterior": the interval as if customers with the same features did not differ.
    """
    ends = {name: np.full((len(run.examples), 2), np.nan) for name in ("served", "posterior")}
    for block in serve_again(run.examples, run.learned_before, _fresh(run)):
        if not isinstance(block.scorer, SnapshotScorer):
            continue
        alike = SnapshotScorer(msgspec.structs.replace(block.scorer.snapshot, spread=0.0))
        for index, features in zip(block.chosen.tolist(), block.features, strict=True):
            if judged[index]:
                ends["served"][index] = block.scorer.interval(features) or np.nan
                ends["posterior"][index] = alike.interval(features) or np.nan
    return {name: _coverage(each[judged], run.truth[judged]) for name, each in ends.items()}


def gains_of_clicks_and_texts(run: LearningRun) -> dict[str, dict[str, Any]]:
    """Return what clicks, texts and each of their families bring, of the settled and uncontacted (see `ablate`)."""
    settled = run.observed.at_ms >= run.first_ms + SETTLED_DAYS * DAY_MS
    return ablate(run.examples, run.learned_before, run.observed, settled & run.uncontacted())


def _coverage(ends: Column, truth: Column) -> dict[str, float]:
    known = ~np.isnan(ends[:, 0])
    low, high, true = ends[known, 0], ends[known, 1], truth[known]
    if not len(true):
        return {}
    return {
        "n": float(len(true)),
        "coverage": float(
            ((true >= low - COVERAGE_TOLERANCE) & (true <= high + COVERAGE_TOLERANCE)).mean(),
        ),
        "below": float((true < low - COVERAGE_TOLERANCE).mean()),
        "above": float((true > high + COVERAGE_TOLERANCE).mean()),
        "width": float((high - low).mean()),
    }


def _weeks(run: LearningRun, naive: Column) -> list[dict[str, float]]:
    """Return means by week of the first half year, to see whether anybody is misjudged while evidence is thin."""
    observed = run.observed
    week = (observed.at_ms - run.first_ms) // (7 * DAY_MS)
    weeks = []
    for number in range(_WEEKS):
        inside = week == number
        if inside.any():
            score, truth = observed.probability[inside], run.truth[inside]
            weeks.append(
                {
                    "week": float(number),
                    "n": float(inside.sum()),
                    "mean_score": float(score.mean()),
                    "mean_truth": float(truth.mean()),
                    "mean_naive": float(naive[inside].mean()),
                    "rmse_to_truth": float(np.sqrt(((score - truth) ** 2).mean())),
                    "tier_low": float((score < _LOW_BELOW).mean()),
                    "truly_low": float((truth < _LOW_BELOW).mean()),
                }
            )
    return weeks


def _fresh(run: LearningRun) -> Learner:
    return Learner(run.learner.horizon_days, run.learner.spec)
