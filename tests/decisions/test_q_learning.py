"""The Q-learner sees past one window, keeps floors, and is a function of the log, however often it is restarted."""

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.outputs import DecisionOutcome
from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.courses import USUAL
from stream_app.decisions.policy import (
    FLOOR_ACTION,
    FLOOR_NOTHING,
    SEQUENTIAL,
    PolicySnapshot,
    check_policy,
    choose_by,
    prior_snapshot,
)
from stream_app.decisions.q_learning import DISCOUNT, QLearner
from stream_app.decisions.types import NOTHING
from tests.support.decisions import SHIPPED
from tests.support.tiring_shop import (
    CATALOGUE,
    CONTEXT,
    PLEASANT,
    PLEASANT_LIFT,
    RESTED_RATE,
    TIRED_RATE,
    TIRING,
    TIRING_LIFT,
    USUAL_ORDER,
    course,
    outcomes,
    vector,
)

PRIOR = prior_snapshot(CATALOGUE)


@cache
def log(customers: int = 300, windows: int = 12, seed: int = 1) -> tuple[DecisionOutcome, ...]:
    return tuple(outcomes(PRIOR, customers, windows, seed))


def taught(told: Sequence[DecisionOutcome], learner: QLearner | None = None) -> QLearner:
    learner = learner or QLearner(CATALOGUE)
    for outcome in told:
        assert learner.learn(outcome)
    return learner


@pytest.fixture(scope="module")
def lived() -> tuple[QLearner, PolicyLearner]:
    sequential, bandit = QLearner(CATALOGUE), PolicyLearner(CATALOGUE)
    for turn in range(4):
        for outcome in outcomes(sequential.snapshot(), 600, 10, 10 + turn):
            sequential.learn(outcome)
            bandit.learn(outcome)
    return sequential, bandit


def test_it_leaves_the_offer_that_sells_today_and_costs_tomorrow_where_the_bandit_takes_it(
    lived: tuple[QLearner, PolicyLearner],
) -> None:
    sequential, bandit = (learner.snapshot() for learner in lived)
    assert vector(sequential, is_tired=False)[PLEASANT] > 0.85
    assert vector(sequential, is_tired=False)[TIRING] < 0.1
    assert vector(bandit, is_tired=False)[TIRING] > 0.85


def test_uplifts_and_values_are_those_of_the_known_law(lived: tuple[QLearner, PolicyLearner]) -> None:
    """The best policy sends the pleasant offer for ever: its values follow from the law by hand."""
    learner, _ = lived
    rested = (RESTED_RATE + PLEASANT_LIFT) / (1 - DISCOUNT)
    loss = RESTED_RATE - TIRED_RATE
    weights = learner.value_weights()
    # A year is looked ahead, and the floors are left out of both: the greedy policy is what is valued.
    assert weights[0] == pytest.approx(rested, rel=0.12)
    # Surprises are halved when the window ends: a whole one makes half of a tired customer more.
    surprise = weights[1 + USUAL.index("incentive_surprise")] + weights[1 + USUAL.index("contact_surprise")]
    assert surprise / 2 == pytest.approx(-loss, abs=0.12)
    belief = learner.snapshot().beliefs
    of_tiring, of_pleasant = (np.array(belief[name].means)[2] for name in (TIRING, PLEASANT))
    assert of_pleasant - of_tiring == pytest.approx(PLEASANT_LIFT - (TIRING_LIFT - DISCOUNT * loss), abs=0.06)


@given(st.sets(st.sampled_from([action.name for action in SHIPPED.actions]), min_size=1), st.booleans())
def test_floors_hold_and_the_vector_sums_to_one_also_for_actions_it_never_met(names: set[str], is_tired: bool) -> None:
    snapshot = _briefly().snapshot()
    actions = [action for action in SHIPPED.actions if action.name in names]
    choice = choose_by(actions, CONTEXT, 20.0, USUAL_ORDER, snapshot, course(is_tired, TIRING)).probabilities
    assert sum(choice.values()) == pytest.approx(1.0, abs=1e-9)
    assert choice[NOTHING] >= FLOOR_NOTHING
    assert all(choice[action.name] >= FLOOR_ACTION for action in actions)


@cache
def _briefly() -> QLearner:
    return taught(log(100, 6))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 1200), max_size=3))
def test_a_restored_checkpoint_is_the_uninterrupted_learner(cuts: list[int]) -> None:
    told = log(100, 12)
    learner = QLearner(CATALOGUE)
    bounds = [0, *sorted(cuts), len(told)]
    for start, end in pairwise(bounds):
        kept = msgspec.json.decode(msgspec.json.encode(learner.sums()))
        learner = QLearner(CATALOGUE)
        learner.restore(kept)
        taught(told[start:end], learner)
    assert learner.snapshot() == _uncut().snapshot()
    assert learner.sums() == _uncut().sums()


@cache
def _uncut() -> QLearner:
    return taught(log(100, 12))


def test_actions_come_and_go() -> None:
    before = taught(log(200, 6))
    wider, narrower, again = QLearner(SHIPPED), QLearner(_only(TIRING)), QLearner(CATALOGUE)
    wider.restore(before.sums())
    narrower.restore(before.sums())
    again.restore(wider.sums())
    old, new = before.snapshot(), wider.snapshot()
    assert set(new.beliefs) == {action.name for action in SHIPPED.actions}
    for name in (TIRING, PLEASANT):
        assert new.beliefs[name].means == pytest.approx(old.beliefs[name].means, abs=1e-6)
    assert again.snapshot().beliefs[TIRING].means == pytest.approx(old.beliefs[TIRING].means, abs=1e-9)
    assert set(narrower.snapshot().beliefs) == {TIRING}
    with pytest.raises(ValueError, match="begin anew"):
        again.restore({**before.sums(), "columns": ["x"]})


def _only(name: str) -> Catalogue:
    raw = CATALOGUE.model_dump(mode="json")
    return Catalogue.model_validate({**raw, "actions": [a for a in raw["actions"] if a["name"] == name]})


def test_what_says_nothing_is_passed_over() -> None:
    learner, (first, *_) = QLearner(CATALOGUE), (each for each in log() if each.sent)
    for change in (
        {"sent": False},
        {"arm": "holdout", "sent": False},
        {"action": "unknown"},
        {"is_care": True},
        {"value_at_stake": 0.0},
        {"usual_order": 0.0},
        {"course": ()},
        {"course_after": ()},
    ):
        assert not learner.learn(first.model_copy(update=change)), change
    assert learner.learned == 0
    assert learner.learn(first)


def test_before_any_evidence_it_chooses_as_the_catalogue_believes() -> None:
    fresh = QLearner(CATALOGUE).snapshot()
    for name, belief in fresh.beliefs.items():
        assert belief.means[:4] == pytest.approx(PRIOR.beliefs[name].means[:4])
    assert vector(fresh, is_tired=False) == pytest.approx(vector(PRIOR, is_tired=False), abs=0.12)


def test_what_it_publishes_is_a_policy_as_any_other() -> None:
    snapshot = _briefly().snapshot()
    check_policy(snapshot)
    assert msgspec.json.decode(msgspec.json.encode(snapshot), type=PolicySnapshot) == snapshot
    assert snapshot.context == SEQUENTIAL
    with pytest.raises(ValueError, match="without it"):
        choose_by(list(CATALOGUE.actions), CONTEXT, 20.0, USUAL_ORDER, snapshot)
