"""The policy learner finds what helps, leaves sleeping dogs alone, and does not depend on the order of outcomes."""

import random

import msgspec
import numpy as np
import pytest

from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.policy import CONTEXT, prior_snapshot
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
    assert not learner.learn(sent.model_copy(update={"is_care": True}))
    assert learner.learn(next(o for o in log if o.arm == "holdout"))


def test_a_new_action_starts_from_its_prior_and_one_that_left_is_forgotten() -> None:
    before = learned(4, rounds=2)
    narrower = Catalogue.model_validate(
        {**CATALOGUE.model_dump(mode="json"), "actions": CATALOGUE.model_dump(mode="json")["actions"][:1]}
    )
    [left] = narrower.actions
    smaller, grown = PolicyLearner(narrower), PolicyLearner(CATALOGUE)
    smaller.restore(before.sums())
    assert set(smaller.snapshot().beliefs) == {left.name}
    grown.restore(smaller.sums())
    fresh, again = PolicyLearner(CATALOGUE).snapshot().beliefs, grown.snapshot().beliefs
    for name in set(fresh) - {left.name}:
        assert again[name].take_rate == fresh[name].take_rate
        # What any contact was seen to do is kept; of its own, the action has only the catalogue's word.
        assert again[name].deviations[2] > before.snapshot().beliefs[name].deviations[2]
    unknown = prior_snapshot(narrower)
    assert set(vector(2, unknown)) == {"nothing", *(action.name for action in CATALOGUE.actions)}


def test_a_block_teaches_what_its_decisions_teach_one_by_one() -> None:
    log = [outcome for outcome in outcomes(PRIOR, 60, 6) if outcome.arm == "treatment"]
    one_by_one, at_once = PolicyLearner(CATALOGUE), PolicyLearner(CATALOGUE)
    for outcome in log:
        assert one_by_one.learn(outcome)
    names = at_once.names
    at_once.learn_block(
        np.array([outcome.context for outcome in log]),
        np.array([names.index(outcome.action) if outcome.sent else -1 for outcome in log]),
        np.array([[outcome.alternatives.get(name, 0.0) for name in names] for outcome in log]),
        np.array([float(outcome.orders > 0) for outcome in log]),
        np.array([outcome.redeemed for outcome in log]),
    )
    for name, belief in one_by_one.snapshot().beliefs.items():
        assert at_once.snapshot().beliefs[name].means == pytest.approx(belief.means, abs=1e-9)
        assert at_once.snapshot().beliefs[name].take_rate == belief.take_rate


def test_what_the_policy_prefers_is_no_bias_of_what_it_learns() -> None:
    """Contact those who would have ordered anyway, with a base that no line follows: the uplift stays what it is."""
    rng, learner, count = np.random.default_rng(2), PolicyLearner(CATALOGUE), 40_000
    hidden = rng.random(count)
    contexts = np.zeros((count, len(CONTEXT)))
    contexts[:, 2] = 1.0
    contexts[:, 4] = hidden
    column = learner.names.index("coupon-10")
    propensities = np.zeros((count, len(learner.names)))
    propensities[:, column] = np.where(hidden > 0.5, 0.9, 0.1)
    sent = rng.random(count) < propensities[:, column]
    ordered = rng.random(count) < 0.1 + 0.6 * (np.abs(hidden - 0.5) > 0.4) * (hidden > 0.5) + 0.05 * sent
    learner.learn_block(
        contexts, np.where(sent, column, -1), propensities, ordered.astype(np.float64), np.zeros(count, dtype=np.bool_)
    )
    belief = learner.snapshot().beliefs["coupon-10"]
    uplift = belief.means[2] + belief.means[4] * float(hidden.mean())
    assert uplift == pytest.approx(0.05, abs=0.02)
