"""Off-policy estimates hold the truth, and refuse what the log cannot say."""

from collections.abc import Callable

import pytest

from stream_app.core.outputs import TIERS, DecisionOutcome
from stream_app.decisions.offpolicy import UnsupportedPolicyError, evaluate
from stream_app.decisions.policy import prior_snapshot
from stream_app.decisions.types import NOTHING
from tests.support.decision_shop import ACTIONS, CATALOGUE, HOLDOUT, outcomes, true_gain

PRIOR = prior_snapshot(CATALOGUE)
BASE = {2: 0.3 * 300 * 0.35, 3: 0.15 * 300 * 0.35}


def always(name: str) -> Callable[[DecisionOutcome], dict[str, float]]:
    return lambda _: {name: 1.0}


def truth(name: str) -> float:
    return sum(BASE[tier] + true_gain(name, tier) for tier in (2, 3)) / 2


@pytest.mark.parametrize("name", [NOTHING, *ACTIONS])
def test_the_value_of_another_policy_is_within_its_interval(name: str) -> None:
    held, width_dr, width_ips = 0, 0.0, 0.0
    for seed in range(12):
        found = evaluate(list(outcomes(PRIOR, 1500, seed)), always(name), HOLDOUT)
        held += found.dr.low <= truth(name) <= found.dr.high
        width_dr += found.dr.high - found.dr.low
        width_ips += found.ips.high - found.ips.low
        assert found.unsupported == 0.0
        assert found.snips.value == pytest.approx(found.dr.value, abs=6)
    assert held >= 10
    # On the mean: the rarest action has 48 effective decisions in a log, too few to promise it of each.
    assert width_dr < width_ips


def test_the_logged_policy_is_worth_what_was_logged() -> None:
    def as_logged(outcome: DecisionOutcome) -> dict[str, float]:
        treated = {a: (1 - HOLDOUT) * p for a, p in outcome.alternatives.items()}
        return {**treated, NOTHING: treated[NOTHING] + HOLDOUT}

    found = evaluate(list(outcomes(PRIOR, 1000, 1)), as_logged, HOLDOUT)
    assert found.ips.value == pytest.approx(found.logged.value)
    assert found.gain_dr.low <= 0 <= found.gain_dr.high
    assert found.effective_size == pytest.approx(1000)


def test_the_better_policy_is_told_from_the_worse() -> None:
    log = list(outcomes(PRIOR, 4000, 2))

    def good(outcome: DecisionOutcome) -> dict[str, float]:
        return {"coupon-10": 1.0} if outcome.tier == TIERS[2] else {NOTHING: 1.0}

    def bad(outcome: DecisionOutcome) -> dict[str, float]:
        return {"coupon-10": 1.0} if outcome.tier == TIERS[3] else {NOTHING: 1.0}

    assert evaluate(log, good, HOLDOUT).dr.low > evaluate(log, bad, HOLDOUT).dr.high
    assert evaluate(log, good, HOLDOUT).gain_dr.low > 0


def test_a_policy_that_the_log_cannot_judge_is_refused() -> None:
    log = list(outcomes(PRIOR, 200, 3))
    with pytest.raises(UnsupportedPolicyError, match=r"^100"):
        evaluate(log, always("care-call"), HOLDOUT)
    partly = evaluate(log, lambda _: {NOTHING: 0.96, "care-call": 0.04}, HOLDOUT)
    assert partly.unsupported == pytest.approx(0.04)


def test_repeating_a_customers_decisions_does_not_sharpen() -> None:
    log = list(outcomes(PRIOR, 400, 4))
    once, thrice = evaluate(log, always(NOTHING), HOLDOUT), evaluate(log * 3, always(NOTHING), HOLDOUT)
    assert thrice.ips.high - thrice.ips.low == pytest.approx(once.ips.high - once.ips.low, rel=0.01)


def test_too_little_is_said() -> None:
    with pytest.raises(ValueError, match="too few"):
        evaluate([], always(NOTHING), HOLDOUT)
