"""Fairness at run time: silent on chance however often it is looked at, and certain where groups are treated apart."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.effects import TrainingExample
from stream_app.core.observations import AFTER_ORDER, ON_CALENDAR
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS
from stream_app.decisions.fairness import UNDECLARED
from stream_app.decisions.fairness_report import to_document
from stream_app.decisions.fairness_watch import MOST_GROUPS, OTHER, FairnessState, FairnessWatch
from stream_app.decisions.policy import prior_snapshot
from stream_app.decisions.sequences import share_interval
from tests.support.decision_shop import CATALOGUE, outcomes

HORIZON, EVERY = 30, 14
AT_MS = 20_000 * DAY_MS
TREATED, HELD = 1, 2
MATURED = next(outcomes(prior_snapshot(CATALOGUE), 1, 1))


def example(
    customer: str,
    group: str = "",
    *,
    at_ms: int = AT_MS,
    kind: int = ON_CALENDAR,
    contacts: int = 0,
    churned: bool = False,
    probability: float = 0.5,
    arm: int = TREATED,
    stay: float = 1.0,
) -> TrainingExample:
    return TrainingExample(
        example_id=f"{customer}/{at_ms}/{kind}",
        customer_id=customer,
        partition=0,
        sequence=1,
        at_ms=at_ms,
        due_ms=at_ms + HORIZON * DAY_MS,
        horizon_days=HORIZON,
        kind=kind,
        churned=churned,
        weight=1.0,
        features=b"",
        features_hash="",
        probability=probability,
        model_version="m",
        contacts=contacts,
        arm=arm,
        stay_propensity=stay,
        groups={"gender": group} if group else {},
    )


def turns(customer: str, group: str = "", **changes: Any) -> Iterator[TrainingExample]:
    """Yield what is observed of a customer until it is its turn: the watch counts exactly one."""
    for look in range(4):
        yield example(customer, group, at_ms=AT_MS + look * EVERY * DAY_MS, **changes)


def outcome(customer: str, group: str, offer: float) -> DecisionOutcome:
    told = {"outcome_id": f"out/{customer}", "sent": True, "offer": offer, "groups": {"gender": group}}
    return MATURED.model_copy(update=told)


def watch(state: FairnessState | None = None) -> FairnessWatch:
    return FairnessWatch(["gender"], EVERY, state=state)


def shop(
    seed: int,
    customers: int,
    rates: dict[str, float],
    offers: dict[str, float] | None = None,
    bias: dict[str, float] | None = None,
    looks: int = 1,
) -> FairnessWatch:
    """Return the watch over a shop whose customers come in any order; it is looked at `looks` times on the way."""
    rng = np.random.default_rng(seed)
    by = watch()
    names = list(rates)
    for number in range(customers):
        group = names[int(rng.integers(len(names)))]
        contacted = bool(rng.random() < rates[group])
        churn = float(rng.beta(2, 3))
        probability = min(1.0, max(0.0, churn + (bias or {}).get(group, 0.0)))
        churned = bool(rng.random() < churn)
        stay = 1 - rates[group]
        for each in turns(f"c{number}", group, contacts=contacted, churned=churned, probability=probability, stay=stay):
            by.add_example(each)
        if contacted:
            by.add_outcome(outcome(f"c{number}", group, (offers or {}).get(group, 5.0) * float(rng.uniform(0.5, 1.5))))
        if looks > 1 and number % (customers // looks) == 0 and by.report().alarm:
            break
    return by


def test_a_share_is_missed_at_any_look_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(1)
    missed = 0
    for share in (0.002, 0.1, 0.5):
        for hits in np.cumsum(rng.random((150, 1_000)) < share, axis=1):
            for count in (1, 2, 5, 10, 20, 50, 100, 200, 400, 700, 1_000):
                found = share_interval(int(hits[count - 1]), count, 0.05)
                assert 0 <= found.low <= found.estimate <= found.high <= 1
                if not found.low <= share <= found.high:
                    missed += 1
                    break
    assert missed <= 0.05 * 450


@given(st.integers(0, 50), st.integers(1, 50), st.floats(0.001, 0.2))
def test_bounds_of_a_share_close_in_as_more_is_seen(hits: int, more: int, alpha: float) -> None:
    count = hits + more
    few, many = share_interval(hits, count, alpha), share_interval(10 * hits, 10 * count, alpha)
    assert many.high - many.low < few.high - few.low
    assert share_interval(hits, count, alpha / 10).high >= few.high


@pytest.mark.parametrize("rates", [{"a": 0.4, "b": 0.4, "c": 0.4}, {"a": 0.5, "b": 0.4}])
def test_at_the_bound_hardly_any_shop_ever_alarms(rates: dict[str, float]) -> None:
    # The second shop keeps four fifths just so: that is allowed.
    alarms = sum(shop(seed, 600, rates, looks=20).report().alarm for seed in range(40))
    assert alarms <= 2


@pytest.mark.parametrize(
    ("rates", "offers", "bias", "measure", "lower", "higher"),
    [
        ({"a": 0.6, "b": 0.2}, None, None, "contact_rate", "b", "a"),
        ({"a": 0.5, "b": 0.5}, {"a": 10.0, "b": 5.0}, None, "offer_value", "b", "a"),
        ({"a": 0.1, "b": 0.1}, None, {"a": 0.25}, "score_error", "b", "a"),
    ],
)
def test_each_kind_of_difference_is_found_alone(
    rates: dict[str, float],
    offers: dict[str, float] | None,
    bias: dict[str, float] | None,
    measure: str,
    lower: str,
    higher: str,
) -> None:
    found = shop(1, 3_000, rates, offers, bias).report()
    (attribute,) = found.attributes
    alarms = [each for each in attribute.comparisons if each.alarm]
    assert [(each.measure, each.lower, each.higher) for each in alarms] == [(measure, lower, higher)]
    (sentence,) = found.findings
    assert sentence.startswith("gender: ")
    assert found.alarm


def test_a_group_that_has_met_no_rare_offer_yet_is_not_surer_than_the_others() -> None:
    by = watch()
    rng = np.random.default_rng(5)
    for number in range(2_000):
        by.add_outcome(outcome(f"a{number}", "a", 100.0 if rng.random() < 0.02 else 1.0))
    for number in range(120):
        by.add_outcome(outcome(f"b{number}", "b", 1.0))
    (attribute,) = by.report().attributes
    low, high = (next(g for g in attribute.groups if g.group == name).offer_value for name in "ba")
    assert low.estimate < 0.5 * high.estimate
    assert not by.report().alarm


def test_a_contact_that_keeps_a_customer_is_no_error_of_the_score() -> None:
    # Group a is contacted half of the time, and whoever is contacted stays: the label alone would say "score too high".
    by = watch()
    rng = np.random.default_rng(2)
    for number in range(4_000):
        group, contacted = ("a", rng.random() < 0.5) if number % 2 else ("b", False)
        churned = bool(rng.random() < 0.6) and not contacted
        stay = 0.5 if group == "a" else 1.0
        for each in turns(f"c{number}", group, contacts=int(contacted), churned=churned, probability=0.6, stay=stay):
            by.add_example(each)
    (attribute,) = by.report().attributes
    errors = {group.group: group.score_error for group in attribute.groups}
    assert errors["a"].low < 0 < errors["a"].high
    assert not next(each for each in attribute.comparisons if each.measure == "score_error").alarm


def test_the_holdout_counts_for_errors_and_not_for_contacts() -> None:
    by = watch()
    for number in range(60):
        for each in turns(f"c{number}", "a", arm=HELD if number % 2 else TREATED):
            by.add_example(each)
    tally = by.state.tallies["gender"]["a"]
    assert (tally.windows, tally.errors.count) == (30, 60)


@given(st.text(min_size=1, max_size=8), st.integers(0, EVERY * DAY_MS), st.integers(8, 40))
def test_windows_of_a_customer_never_overlap_and_its_turn_comes(customer: str, phase_ms: int, looks: int) -> None:
    by = watch()
    counted = [
        at_ms
        for at_ms in range(AT_MS + phase_ms, AT_MS + phase_ms + looks * EVERY * DAY_MS, EVERY * DAY_MS)
        if by.add_example(example(customer, at_ms=at_ms))
    ]
    assert len(counted) >= looks // 4
    assert all(later - earlier >= HORIZON * DAY_MS for earlier, later in pairwise(counted))
    assert not any(by.add_example(example(customer, at_ms=at_ms)) for at_ms in counted)
    assert not by.add_example(example(customer, kind=AFTER_ORDER))


def test_who_counts_when_is_no_matter_of_the_group() -> None:
    first, second = watch(), watch()
    for number in range(200):
        first.add_example(example(f"c{number}", "a"))
        second.add_example(example(f"c{number}", "b", contacts=1, churned=True))
    assert first.state.tallies["gender"]["a"].windows == second.state.tallies["gender"]["b"].windows > 20


def test_what_was_told_again_changes_nothing() -> None:
    once, twice = watch(), watch()
    for number in range(50):
        for by, times in ((once, 1), (twice, 2)):
            for _ in range(times):
                by.add_outcome(outcome(f"c{number}", "a", 5.0))
                by.add_example(example(f"c{number}", "a"))
    assert once.state == twice.state


def test_a_restart_leaves_no_trace_and_another_attribute_begins_anew() -> None:
    by = shop(3, 400, {"a": 0.5, "b": 0.2})
    restored = watch(msgspec.msgpack.decode(msgspec.msgpack.encode(by.state), type=FairnessState))
    assert restored.report() == by.report()
    other = FairnessWatch(["region"], EVERY, state=restored.state)
    assert other.report().attributes[0].groups == ()


def test_only_so_many_groups_are_told_apart_and_who_could_be_recognised_is_not_shown() -> None:
    by = watch()
    for number in range(3_000):
        group = f"g{number % 20}" if number % 100 else f"rare{number}"
        for each in turns(f"c{number}", group):
            by.add_example(each)
    names = set(by.state.tallies["gender"])
    assert len(names - {OTHER, UNDECLARED}) == MOST_GROUPS
    (attribute,) = by.report().attributes
    shown = {group.group for group in attribute.groups}
    assert not any(name.startswith("rare") for name in shown)
    assert OTHER in shown
    assert attribute.too_small == len(names) - len(shown) > 0


def test_undeclared_and_other_are_shown_and_not_judged() -> None:
    by = watch()
    for number in range(2_000):
        for each in turns(f"c{number}", "a" if number % 2 else "", contacts=number % 2):
            by.add_example(each)
    (attribute,) = by.report().attributes
    assert {group.group for group in attribute.groups} == {"a", UNDECLARED}
    assert not by.report().alarm
    assert {each.estimate for each in attribute.comparisons} == {None}


def test_without_attributes_nothing_is_counted() -> None:
    by = FairnessWatch([], EVERY)
    assert not any(by.add_example(each) for each in turns("c1", "a"))
    assert not by.add_outcome(outcome("c1", "a", 5.0))
    assert by.report().attributes == ()


def test_the_document_holds_no_infinite_number_and_says_what_was_found() -> None:
    document = to_document(shop(1, 2_000, {"a": 0.6, "b": 0.2}).report())
    assert document["findings"]
    assert "inf" not in msgspec.json.encode(document).decode()
    assert document["attributes"][0]["comparisons"][0]["alarm"] is True
