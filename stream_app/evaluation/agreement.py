"""Whether what worker and trainer served is what an evaluation of the same events says."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from stream_app.core.effects import TrainingExample
from stream_app.core.times import iso
from stream_app.evaluation.measures import measures
from stream_app.evaluation.reporting import KINDS, TEST_SHARE
from stream_app.evaluation.running import PassResult

_Point = tuple[str, int, int]
"""Customer, time and kind of an observation."""


def agreement(result: PassResult, served: Iterable[TrainingExample], observations: str) -> dict[str, Any]:
    """Compare matured observations as they were served with those of a pass over the same events.

    Parameters
    ----------
    result
        The evaluation.
    served
        From the topic; repeats (after a crash) count once.
    observations
        "calendar" or "event".

    Returns
    -------
    For the last 40 % of the span of the events: how many observations either side has alone and both have; and of those
    that both have: measures of either, the difference of the AUCs (None where there is none: no observation, or one
    class only), how many have another label, and how far the probabilities lie apart.
    """
    start_ms = result.first_ms + int((1.0 - TEST_SHARE) * (result.last_ms - result.first_ms))
    expected = _in_test(result.examples, observations, start_ms)
    found = _in_test(served, observations, start_ms)
    both = sorted(expected.keys() & found.keys())
    apart = np.array([abs(expected[point].probability - found[point].probability) for point in both])
    evaluated, live = _measures([expected[point] for point in both]), _measures([found[point] for point in both])
    difference = live["auc"] - evaluated["auc"] if both else math.nan
    return {
        "observations": observations,
        "horizon_days": result.learner.horizon_days,
        "test_from": iso(start_ms),
        "evaluated": evaluated,
        "live": live,
        "auc_difference": difference if math.isfinite(difference) else None,
        "only_evaluated": len(expected) - len(both),
        "only_live": len(found) - len(both),
        "in_both": len(both),
        "other_label": sum(expected[point].churned != found[point].churned for point in both),
        "mean_probability_difference": float(apart.mean()) if len(apart) else None,
        "largest_probability_difference": float(apart.max()) if len(apart) else None,
        "models_served": len({example.model_version for example in found.values()}),
    }


def disagreements(one: dict[str, Any], tolerance: float, unmatched_share: float) -> list[str]:
    """Return why what `agreement` returned is none, in words; empty where it is one.

    Parameters
    ----------
    one
        From `agreement`.
    tolerance
        Largest difference of AUC, over the common observations.
    unmatched_share
        Largest share of all observations that only one side may have.
    """
    found = []
    difference = one["auc_difference"]
    if not one["in_both"]:
        found.append("no observation is common to both")
    elif difference is None:
        found.append("all common observations have the same label, so that there is no AUC")
    elif abs(difference) > tolerance:
        found.append(f"the AUCs lie {abs(difference):.5f} apart, more than {tolerance:g}")
    if one["other_label"]:
        found.append(f"{one['other_label']:,} common observations have another label")
    alone = one["only_live"] + one["only_evaluated"]
    if alone > unmatched_share * (alone + one["in_both"]):
        found.append(f"{alone:,} observations stand on one side only, more than {unmatched_share:.1%}")
    return found


def _in_test(examples: Iterable[TrainingExample], observations: str, start_ms: int) -> dict[_Point, TrainingExample]:
    kind = KINDS[observations]
    return {
        (example.customer_id, example.at_ms, example.kind): example
        for example in examples
        if example.kind == kind and example.at_ms >= start_ms and example.probability >= 0
    }


def _measures(examples: list[TrainingExample]) -> dict[str, float]:
    return measures(
        np.array([example.probability for example in examples]),
        np.array([example.churned for example in examples], dtype=np.bool_),
    )
