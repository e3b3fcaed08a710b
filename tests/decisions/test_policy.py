"""The choice: floors, preferences, one reproducible draw that follows its probabilities; and the arms."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from stream_app.core.facts import Facts
from stream_app.decisions.arms import arm_of
from stream_app.decisions.policy import (
    CONTEXT,
    FLOOR_ACTION,
    FLOOR_NOTHING,
    Belief,
    Choice,
    PolicyError,
    PolicySnapshot,
    choose,
    choose_by,
    committed_cost,
    context_of,
    draw,
    expected_gain,
    load_policy,
    prior_snapshot,
)
from stream_app.decisions.types import NOTHING
from tests.support.decisions import SHIPPED, any_facts, facts, point

PRIOR = prior_snapshot(SHIPPED)
ACTIONS = list(SHIPPED.actions)


@given(st.sets(st.integers(0, len(ACTIONS) - 1), min_size=1), any_facts, st.integers(0, 3))
def test_the_vector_sums_to_one_with_floors_in_any_order_of_actions(chosen: set[int], known: Facts, tier: int) -> None:
    actions = [ACTIONS[index] for index in chosen]
    at = point(facts=known, tier=tier)
    choice = choose(actions, at, SHIPPED, PRIOR)
    assert abs(sum(choice.probabilities.values()) - 1) < 1e-9
    assert choice.probabilities[NOTHING] >= FLOOR_NOTHING
    assert all(choice.probabilities[action.name] >= FLOOR_ACTION for action in actions)
    assert choose(actions[::-1], at, SHIPPED, PRIOR) == choice


def belief(mean: float, deviation: float) -> Belief:
    width = len(CONTEXT)
    return Belief(
        means=(0.0, 0.0, mean, *(0.0,) * (width - 3)), deviations=(0.0, 0.0, deviation, *(0.0,) * (width - 3))
    )


def test_evidence_moves_the_choice_and_harm_moves_it_to_nothing() -> None:
    actions = [a for a in ACTIONS if a.name in {"coupon-10", "product-picks"}]
    good = PolicySnapshot("p1", CONTEXT, {"coupon-10": belief(0.2, 0.001), "product-picks": belief(0.0, 0.001)})
    harm = PolicySnapshot("p2", CONTEXT, {"coupon-10": belief(-0.1, 0.001), "product-picks": belief(-0.1, 0.001)})
    at = point(tier=2)
    assert choose(actions, at, SHIPPED, good).probabilities["coupon-10"] == pytest.approx(
        1 - FLOOR_NOTHING - FLOOR_ACTION
    )
    assert choose(actions, at, SHIPPED, harm).probabilities[NOTHING] == pytest.approx(1 - 2 * FLOOR_ACTION)


def test_equal_beliefs_share_and_uncertainty_explores() -> None:
    pair = [a.model_copy(update={"name": name, "cost": 0.0}) for a in ACTIONS[10:11] for name in ("first", "second")]
    unsure = PolicySnapshot("p", CONTEXT, {"first": belief(0.05, 0.03), "second": belief(0.05, 0.03)})
    chosen = choose(pair, point(tier=2), SHIPPED, unsure).probabilities
    assert chosen["first"] == pytest.approx(chosen["second"], abs=0.2)
    assert min(chosen["first"], chosen["second"]) > 0.3


def test_an_action_that_the_policy_does_not_know_is_believed_what_the_catalogue_says() -> None:
    empty = PolicySnapshot("p", CONTEXT, {})
    at = point()
    assert choose(ACTIONS, at, SHIPPED, empty) == choose(ACTIONS, at, SHIPPED, PRIOR)


def test_a_decision_that_was_logged_with_another_context_is_refused() -> None:
    with pytest.raises(ValueError, match=f"7 context columns, this build uses {len(CONTEXT)}"):
        choose_by(ACTIONS[:1], (0.0,) * 7, 10.0, 50.0, PRIOR)


def test_a_policy_of_another_context_is_refused() -> None:
    with pytest.raises(ValueError, match="was learned on the context"):
        choose(ACTIONS, point(), SHIPPED, PolicySnapshot("old", ("x",), {}))


def test_a_policy_file_is_read_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(msgspec.json.encode(PRIOR))
    assert load_policy(file) == PRIOR
    file.write_bytes(msgspec.json.encode(PolicySnapshot("old", ("x",), {})))
    with pytest.raises(PolicyError, match="learn it anew"):
        load_policy(file)
    file.write_bytes(msgspec.json.encode(PolicySnapshot("p", CONTEXT, {"coupon-10": Belief((1.0,), (1.0,))})))
    with pytest.raises(PolicyError, match=f"coupon-10 have not {len(CONTEXT)} weights"):
        load_policy(file)
    with pytest.raises(PolicyError, match="no learned policy"):
        load_policy(tmp_path / "none.json")


def test_expected_gain_is_uplift_times_value_less_cost() -> None:
    coupon = ACTIONS[0]
    at = point(tier=2, facts=facts(orders=4, total_amount=400.0, order_days_90d=0.0))
    assert expected_gain(coupon, at, SHIPPED, PRIOR) == pytest.approx(0.04 * 100 * 0.35 - (0.02 + 0.08 * 10))
    assert committed_cost(coupon, at.facts.mean_amount) == pytest.approx(0.02 + 10)


def test_the_context_has_a_column_for_each_name() -> None:
    for tier in range(4):
        columns = dict(zip(CONTEXT, context_of(point(tier=tier)), strict=True))
        assert [name for name in CONTEXT[:4] if columns[name]] == [CONTEXT[tier]]


def test_draws_follow_their_probabilities_and_repeat() -> None:
    choice = Choice({NOTHING: 0.05, "a": 0.6, "b": 0.33, "c": 0.02}, {})
    drawn = [draw(choice, f"customer {i % 2000}", i // 2000, "salt") for i in range(20_000)]
    assert drawn == [draw(choice, f"customer {i % 2000}", i // 2000, "salt") for i in range(20_000)]
    counts = Counter(drawn)
    expected = [20_000 * p for p in choice.probabilities.values()]
    assert chisquare([counts[name] for name in choice.probabilities], expected).pvalue > 1e-4


def test_arms_hold_their_share_are_permanent_and_independent_of_draws() -> None:
    customers = [f"customer {i}" for i in range(20_000)]
    arms = {customer: arm_of(customer, "salt", 0.1) for customer in customers}
    held = [customer for customer, arm in arms.items() if arm == "holdout"]
    assert len(held) == pytest.approx(2000, abs=150)
    assert all(arm_of(customer, "salt", 0.2) == "holdout" for customer in held)
    assert {arm_of(customer, "other", 0.1) for customer in held} == {"treatment", "holdout"}
    even = Choice({NOTHING: 0.5, "a": 0.5}, {})
    acted = sum(draw(even, customer, 1, "salt") == "a" for customer in held) / len(held)
    assert acted == pytest.approx(0.5, abs=0.05)
