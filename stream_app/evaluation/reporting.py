"""From one pass to figures: served scores in the test window, beside the baselines, by group and over time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_app.core.outlook import VALUE_DAYS, expected_value
from stream_app.core.times import DAY_MS, iso
from stream_app.evaluation.baselines import BASELINES
from stream_app.evaluation.measures import calibration, confusion, curve_by_period, difference_error, measures
from stream_app.evaluation.running import Observed, PassResult

KINDS = {"event": 0, "calendar": 1}
TEST_SHARE = 0.4
_TUNING_FROM = 0.25
_FIRST_DAYS = 60
_CURVE_DAYS = 30


def evaluate_pass(
    result: PassResult,
    observations: str,
    thresholds: Sequence[float],
    *,
    baselines: Sequence[str] = (),
    compared: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return the figures of one model on one kind of observation.

    Parameters
    ----------
    result
        A pass over the data.
    observations
        "calendar" or "event": what is judged. Both are learned.
    thresholds
        Where the tiers begin, for the confusion matrices.
    baselines
        Names in `BASELINES` to fit and set beside it.
    compared
        Scores of another model on the same test observations, for the difference and its error.

    Raises
    ------
    KeyError
        For an unknown kind or baseline.
    BaselineUnavailableError
        When a baseline needs a package that is not installed.
    """
    observed = result.observed.chosen(result.observed.kind == KINDS[observations])
    span = result.last_ms - result.first_ms
    test_start_ms = result.first_ms + int((1.0 - TEST_SHARE) * span)
    tuning_start_ms = result.first_ms + int(_TUNING_FROM * span)
    test = observed.chosen(observed.at_ms >= test_start_ms)
    tuning = observed.chosen((observed.at_ms >= tuning_start_ms) & (observed.at_ms < test_start_ms))
    first = observed.chosen(observed.at_ms < result.first_ms + _FIRST_DAYS * DAY_MS)
    edges = list(range(result.first_ms, result.last_ms + _CURVE_DAYS * DAY_MS, _CURVE_DAYS * DAY_MS))
    figures: dict[str, Any] = {
        "model": result.model,
        "observations": observations,
        "horizon_days": result.learner.horizon_days,
        "test_from": iso(test_start_ms),
        "test": measures(test.probability, test.churned),
        "before_test": measures(tuning.probability, tuning.churned),
        "first_60_days": measures(first.probability, first.churned),
        "tiers": [confusion(test.probability, test.churned, threshold) for threshold in thresholds],
        "groups": _groups(test),
        "value_90d": _value_errors(result, test),
        "calibration": calibration(test.probability, test.churned),
        "learning_curve": curve_by_period(observed.at_ms, observed.probability, observed.churned, edges),
        "cost": {
            "engine_microseconds_per_point": 1e6 * result.engine_seconds / max(result.points, 1),
            "learn_microseconds_per_example": 1e6 * result.learn_seconds / max(result.learner.trained_examples, 1),
        },
        "baselines": {},
    }
    for name in baselines:
        scores = BASELINES[name](observed, test_start_ms)
        figures["baselines"][name] = _beside(test, scores)
    if compared is not None:
        figures["compared"] = _beside(test, compared)
    return figures


def in_test(result: PassResult, observations: str) -> NDArray[np.bool_]:
    """Return which observations the test window judges: those of a kind in the last 40 % of the span."""
    start_ms = result.first_ms + int((1.0 - TEST_SHARE) * (result.last_ms - result.first_ms))
    observed = result.observed
    judged: NDArray[np.bool_] = (observed.kind == KINDS[observations]) & (observed.at_ms >= start_ms)
    return judged


def scores_in_test(result: PassResult, observations: str) -> NDArray[np.float64]:
    """Return the served scores of the test window, to compare another model with."""
    scores: NDArray[np.float64] = result.observed.probability[in_test(result, observations)]
    return scores


def _beside(test: Observed, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Return a competitor's measures, and how far the product's AUC is above it."""
    found = measures(scores, test.churned)
    if not found:
        return {}
    ours = measures(test.probability, test.churned)
    return found | {
        "auc_gain": ours["auc"] - found["auc"],
        "auc_gain_error": difference_error(test.probability, scores, test.churned, test.customer),
    }


def _value_errors(result: PassResult, test: Observed) -> dict[str, float]:
    """Return MAE, RMSE and R2 of the 90-day value, where 90 days of truth follow; {} where none do."""
    judged = test.chosen(test.at_ms + int(VALUE_DAYS * DAY_MS) <= result.last_ms)
    if not len(judged):
        return {}
    spending, horizon = result.spending, result.learner.horizon_days
    means = spending.mean_before(judged.customer, judged.at_ms).tolist()
    rows = zip(judged.features.astype(np.float32), judged.probability.tolist(), means, strict=True)
    expected = np.array([expected_value(row, probability, horizon, mean) for row, probability, mean in rows])
    actual = spending.spent_after(judged.customer, judged.at_ms, VALUE_DAYS)
    errors, spread = expected - actual, float(((actual - actual.mean()) ** 2).sum())
    return {
        "n": float(len(judged)),
        "mean": float(actual.mean()),
        "expected_mean": float(expected.mean()),
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt((errors**2).mean())),
        "r2": 1.0 - float((errors**2).sum()) / spread if spread else float("nan"),
    }


def _groups(test: Observed) -> dict[str, dict[str, float]]:
    """Return measures by how much the customer had ordered, and how long it had been silent."""
    orders, silence = np.expm1(test.column("log_norders")), np.expm1(test.column("log_rec"))
    masks = {
        "1 order": orders < 1.5,  # noqa: PLR2004 - halfway between counts that 16-bit floats round
        "2 to 4 orders": (orders >= 1.5) & (orders < 4.5),  # noqa: PLR2004 - as above
        "5 or more orders": orders >= 4.5,  # noqa: PLR2004 - as above
        "silent up to 30 days": silence <= 30,  # noqa: PLR2004 - the group's name
        "silent 31 to 90 days": (silence > 30) & (silence <= 90),  # noqa: PLR2004 - the group's name
        "silent over 90 days": silence > 90,  # noqa: PLR2004 - the group's name
    }
    return {name: measures(test.probability[mask], test.churned[mask]) for name, mask in masks.items() if mask.any()}
