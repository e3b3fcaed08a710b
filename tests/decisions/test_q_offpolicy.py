"""A policy over sequences is judged from another policy's log, with intervals that hold what is known to be true."""

import numpy as np

from stream_app.core.outputs import DecisionOutcome
from stream_app.decisions.courses import COURSE, Course
from stream_app.decisions.offpolicy import evaluate
from stream_app.decisions.policy import PolicySnapshot, choose_by, prior_snapshot
from stream_app.decisions.q_learning import QLearner
from stream_app.decisions.types import NOTHING
from tests.support.tiring_shop import (
    ACTIONS,
    CATALOGUE,
    PLEASANT,
    PLEASANT_LIFT,
    RESTED_RATE,
    TIRED_RATE,
    TIRING,
    TIRING_LIFT,
    USUAL_ORDER,
    outcomes,
)

LIFTS = {TIRING: TIRING_LIFT, PLEASANT: PLEASANT_LIFT, NOTHING: 0.0}


def vector(policy: PolicySnapshot, outcome: DecisionOutcome) -> dict[str, float]:
    stake = outcome.value_at_stake * CATALOGUE.margin
    course = Course(outcome.course, outcome.last_action)
    return choose_by(ACTIONS, outcome.context, stake, outcome.usual_order, policy, course).probabilities


def test_the_known_reward_of_a_decision_lies_within_the_intervals() -> None:
    prior = prior_snapshot(CATALOGUE)
    learner = QLearner(CATALOGUE)
    for outcome in outcomes(prior, 300, 8, 1):
        learner.learn(outcome)
    policy, log = learner.snapshot(), list(outcomes(prior, 400, 8, 2))
    found = evaluate(log, lambda outcome: vector(policy, outcome), holdout_share=0.0, level=0.999)
    tired = COURSE.index("after_incentive")
    rates = [
        (TIRED_RATE if outcome.course[tired] else RESTED_RATE)
        + sum(p * LIFTS[name] for name, p in vector(policy, outcome).items())
        for outcome in log
    ]
    truth = float(np.mean(rates)) * USUAL_ORDER * CATALOGUE.margin
    for estimate in (found.dr, found.snips, found.ips):
        assert estimate.low < truth < estimate.high
    assert found.unsupported == 0.0
    assert found.dr.high - found.dr.low < found.ips.high - found.ips.low
