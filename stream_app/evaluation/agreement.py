"""Whether what worker and trainer served is what an evaluation of the same events says."""

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
    For the last 40 % of the span of the events: measures of both, the difference of the AUCs, how many observations
    either has and both have, whether their labels agree, and how far the probabilities of those lie apart.
    """
    start_ms = result.first_ms + int((1.0 - TEST_SHARE) * (result.last_ms - result.first_ms))
    expected = _in_test(result.examples, observations, start_ms)
    found = _in_test(served, observations, start_ms)
    both = sorted(expected.keys() & found.keys())
    apart = np.array([abs(expected[point].probability - found[point].probability) for point in both])
    evaluated, live = _measures(expected), _measures(found)
    return {
        "observations": observations,
        "horizon_days": result.learner.horizon_days,
        "test_from": iso(start_ms),
        "evaluated": evaluated,
        "live": live,
        "auc_difference": live["auc"] - evaluated["auc"] if live and evaluated else None,
        "only_evaluated": len(expected) - len(both),
        "only_live": len(found) - len(both),
        "in_both": len(both),
        "other_label": sum(expected[point].churned != found[point].churned for point in both),
        "mean_probability_difference": float(apart.mean()) if len(apart) else None,
        "largest_probability_difference": float(apart.max()) if len(apart) else None,
        "models_served": len({example.model_version for example in found.values()}),
    }


def _in_test(examples: Iterable[TrainingExample], observations: str, start_ms: int) -> dict[_Point, TrainingExample]:
    kind = KINDS[observations]
    return {
        (example.customer_id, example.at_ms, example.kind): example
        for example in examples
        if example.kind == kind and example.at_ms >= start_ms and example.probability >= 0
    }


def _measures(examples: dict[_Point, TrainingExample]) -> dict[str, float]:
    return measures(
        np.array([example.probability for example in examples.values()]),
        np.array([example.churned for example in examples.values()], dtype=np.bool_),
    )
