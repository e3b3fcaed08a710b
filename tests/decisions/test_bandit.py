"""The policy learner finds what helps, leaves sleeping dogs alone, and does not depend on the order of outcomes."""

import random

import msgspec
import pytest

from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.policy import prior_snapshot
from tests.support.decision_shop import CATALOGUE, oracle, outcomes, value, vector
from tests.support.decisions import SHIPPED

PRIOR = prior_snapshot(CATALOGUE)


def learned(seed: int, rounds: int = 10, each: int = 750) -> PolicyLearner:
    """Let the policy decide, learn from what matured, and decide anew."""
    learner = PolicyLearner(CATALOGUE)
    for turn in range(rounds):
        for outcome in outcomes(learner.snapshot(), each, seed * 100 + turn):
            learner.learn(outcome)
    return learner


def test_learning_comes_near_the_oracle_and_beats_the_prior() -> None:
    values = [value(learned(seed).snapshot()) for seed in range(4)]
    assert sum(values) / len(values) >= 0.9 * oracle()
    assert sum(values) / len(values) > value(PRIOR) + 0.1 * oracle()


def test_sleeping_dogs_are_contacted_less_as_evidence_comes_in() -> None:
    before, after = vector(3, PRIOR)["coupon-10"], vector(3, learned(1).snapshot())["coupon-10"]
    assert after < 0.1 < before


def test_before_any_evidence_the_policy_is_close_to_the_prior() -> None:
    fresh = PolicyLearner(CATALOGUE).snapshot()
    for tier in (2, 3):
        assert vector(tier, fresh) == pytest.approx(vector(tier, PRIOR), abs=0.1)


def test_outcomes_may_come_in_any_order() -> None:
    log = list(outcomes(PRIOR, 300, 1))
    shuffled = random.Random(5).sample(log, len(log))
    learners = [PolicyLearner(CATALOGUE), PolicyLearner(CATALOGUE)]
    for learner, order in zip(learners, (log, shuffled), strict=True):
        for outcome in order:
            learner.learn(outcome)
    first, second = (learner.snapshot().beliefs for learner in learners)
    for name, belief in first.items():
        assert belief.means == pytest.approx(second[name].means)
        assert belief.deviations == pytest.approx(second[name].deviations)


def test_a_checkpoint_restores_through_json_and_into_another_catalogue() -> None:
    learner = learned(2, rounds=1)
    sums = msgspec.json.decode(msgspec.json.encode(learner.sums()))
    same, wider = PolicyLearner(CATALOGUE), PolicyLearner(SHIPPED)
    same.restore(sums)
    wider.restore(sums)
    assert same.snapshot() == learner.snapshot()
    for name, belief in learner.snapshot().beliefs.items():
        assert wider.snapshot().beliefs[name].means == pytest.approx(belief.means)
    with pytest.raises(ValueError, match="begin anew"):
        same.restore({**sums, "context": ["x"]})


def test_what_was_not_sent_is_no_evidence_and_the_holdout_is() -> None:
    learner = PolicyLearner(CATALOGUE)
    log = list(outcomes(PRIOR, 200, 3))
    sent = next(o for o in log if o.sent)
    assert not learner.learn(sent.model_copy(update={"sent": False}))
    assert not learner.learn(sent.model_copy(update={"action": "unknown"}))
    assert not learner.learn(sent.model_copy(update={"value_at_stake": 0.0}))
    assert learner.learn(next(o for o in log if o.arm == "holdout"))
