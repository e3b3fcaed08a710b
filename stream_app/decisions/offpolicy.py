"""What another policy would have achieved, estimated from the logged decisions of the present one.

Every logged choice carries its probability vector, so that outcomes can be reweighted: inverse propensity scores
(IPS), their self-normalised form (SNIPS), and the doubly robust estimate (DR), which reweights only what an outcome
model does not explain (Dudik, Langford and Li, "Doubly robust policy evaluation and learning", ICML 2011). Standard
errors are clustered by customer, because the decisions of one customer are no independent evidence.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.hashing import unit_draw
from stream_app.core.outputs import DecisionOutcome
from stream_app.decisions.types import NOTHING

MAX_UNSUPPORTED = 0.05
"""Target probability on actions that the log could not have taken, above which no estimate is given."""
RIDGE = 1.0
Floats = NDArray[np.float64]
Target = Callable[[DecisionOutcome], dict[str, float]]
"""The probability vector of the policy in question, given what was known at a logged draw."""


class UnsupportedPolicyError(ValueError):
    """The log says too little about the policy: it does what the logged one never did."""


class Estimate(msgspec.Struct, frozen=True):
    """Mean reward of a decision, shop currency, with an interval clustered by customer."""

    value: float
    low: float
    high: float


class Evaluation(msgspec.Struct, frozen=True):
    """The policy in question against what was logged."""

    decisions: int
    customers: int
    logged: Estimate
    ips: Estimate
    snips: Estimate
    dr: Estimate
    gain_dr: Estimate
    """DR value less the logged mean: what changing the policy is worth a decision."""
    effective_size: float
    """Number of equally weighted decisions that would be as informative (Kish)."""
    unsupported: float
    """Mean target probability on actions outside the logged choice."""


def evaluate(
    outcomes: Sequence[DecisionOutcome], target: Target, holdout_share: float, level: float = 0.95
) -> Evaluation:
    """Estimate the mean reward of `target` from logged outcomes.

    A draw that was to act and was stopped by a limit or a mode is left out; the holdout counts as doing nothing, with
    the probability that it had.

    Raises
    ------
    ValueError
        Fewer than 2 customers with usable decisions.
    UnsupportedPolicyError
        More than `MAX_UNSUPPORTED` of the target's probability lies on actions that the log could not have taken.
    """
    usable = [o for o in outcomes if o.arm == "holdout" or o.sent or o.action == NOTHING]
    customers = sorted({o.customer_id for o in usable})
    if len(customers) < 2:  # noqa: PLR2004 - one cluster has no spread
        raise ValueError(f"{len(usable)} usable decisions of {len(customers)} customers: too few for an estimate")
    targets = [target(o) for o in usable]
    unsupported = float(
        np.mean([sum(p for a, p in t.items() if a not in o.alternatives) for o, t in zip(usable, targets, strict=True)])
    )
    if unsupported > MAX_UNSUPPORTED:
        raise UnsupportedPolicyError(
            f"{unsupported:.1%} of the policy's choices could not have been taken by the logged one (at most"
            f" {MAX_UNSUPPORTED:.0%}): log with a policy that tries these actions first"
        )
    taken = [o.action if o.arm == "treatment" else NOTHING for o in usable]
    logged_p = np.array([_propensity(o, a, holdout_share) for o, a in zip(usable, taken, strict=True)])
    target_p = np.array([t.get(a, 0.0) for t, a in zip(targets, taken, strict=True)])
    weights = target_p / logged_p
    rewards = np.array([o.reward for o in usable])
    predicted, expected = _outcome_model(usable, taken, targets)
    groups = np.searchsorted(np.array(customers), np.array([o.customer_id for o in usable]))
    z = NormalDist().inv_cdf(0.5 + level / 2)
    doubly = expected + weights * (rewards - predicted)
    return Evaluation(
        decisions=len(usable),
        customers=len(customers),
        logged=_mean(rewards, groups, z),
        ips=_mean(weights * rewards, groups, z),
        snips=_ratio(weights * rewards, weights, groups, z),
        dr=_mean(doubly, groups, z),
        gain_dr=_mean(doubly - rewards, groups, z),
        effective_size=float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else 0.0,
        unsupported=unsupported,
    )


def _propensity(outcome: DecisionOutcome, action: str, holdout_share: float) -> float:
    of_treated = (1 - holdout_share) * outcome.alternatives[action]
    return holdout_share + of_treated if action == NOTHING else of_treated


def _mean(values: Floats, groups: NDArray[np.int64], z: float) -> Estimate:
    mean = float(values.mean())
    return _around(mean, values - mean, groups, len(values), z)


def _ratio(numerators: Floats, weights: Floats, groups: NDArray[np.int64], z: float) -> Estimate:
    total = float(weights.sum())
    if total <= 0:
        return Estimate(math.nan, -math.inf, math.inf)
    ratio = float(numerators.sum()) / total
    return _around(ratio, numerators - ratio * weights, groups, total, z)


def _around(value: float, influence: Floats, groups: NDArray[np.int64], size: float, z: float) -> Estimate:
    """Sum influences by customer before squaring: the sandwich variance of clustered data."""
    by_customer = np.bincount(groups, weights=influence)
    clusters = len(by_customer)
    error = math.sqrt(float((by_customer**2).sum()) * clusters / (clusters - 1)) / size
    return Estimate(value, value - z * error, value + z * error)


def _outcome_model(
    outcomes: Sequence[DecisionOutcome], taken: Sequence[str], targets: Sequence[dict[str, float]]
) -> tuple[Floats, Floats]:
    """Predict rewards of the taken action, and of the target's mix; each half of customers by a model of the other."""
    fold = np.array([unit_draw("fold", o.customer_id) < 0.5 for o in outcomes])  # noqa: PLR2004 - halves
    design = np.array([(1.0, *o.context, o.value_at_stake) for o in outcomes])
    rewards = np.array([o.reward for o in outcomes])
    actions = np.array(taken)
    names = sorted({*taken, *(name for t in targets for name in t)})
    predicted, expected = np.zeros(len(outcomes)), np.zeros(len(outcomes))
    mixes = {name: np.array([t.get(name, 0.0) for t in targets]) for name in names}
    for half in (fold, ~fold):
        base = _ridge(design[~half], rewards[~half])
        for name in names:
            of_action = ~half & (actions == name)
            residual = rewards[of_action] - design[of_action] @ base
            guess = design[half] @ (base + _ridge(design[of_action], residual))
            expected[half] += mixes[name][half] * guess
            predicted[half] += (actions[half] == name) * guess
    return predicted, expected


def _ridge(design: Floats, values: Floats) -> Floats:
    """Fit shrunk coefficients: an action that was taken rarely is predicted as all are."""
    gram = design.T @ design + np.diag(np.full(design.shape[1], RIDGE))
    return np.asarray(np.linalg.solve(gram, design.T @ values), dtype=np.float64)
