"""The report finds what is there, keeps quiet about what is not, and notices broken arms."""

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_app.core.outputs import Arm, DecisionOutcome
from stream_app.core.times import from_ms
from stream_app.decisions.lift import LiftBook, LiftState
from stream_app.decisions.lift_report import LiftReport, SliceLift, ratio_of, to_document
from stream_app.decisions.sequences import UNKNOWN, Interval
from tests.support.decisions import NOON_MS


def outcome(
    number: int, arm: Arm, revenue: float, action: str = "coupon", act_number: int = 0, **more: Any
) -> DecisionOutcome:
    sent = arm == "treatment"
    cost = 0.5 if sent else 0.0
    return DecisionOutcome(
        outcome_id=f"o{number}",
        customer_id=f"c{number}",
        drawn_at=from_ms(NOON_MS),
        matured_at=from_ms(NOON_MS),
        number=0,
        act_number=act_number,
        arm=arm,
        action=action,
        propensity=0.5,
        alternatives={"nothing": 0.5, action: 0.5},
        context=(),
        tier="high",
        probability=0.7,
        value_at_stake=1.0,
        usual_order=1.0,
        sent=sent,
        orders=int(revenue > 0),
        revenue=revenue,
        redeemed=more.pop("redeemed", False),
        unsubscribed=False,
        complained=False,
        cost=cost,
        reward=0.35 * revenue - cost,
        policy_version="p",
        catalogue_version="c",
        **more,
    )


def report(customers: int, extra_conversion: float, treated_share: float = 0.8, configured: float = 0.2) -> LiftReport:
    rng = np.random.default_rng(3)
    book = LiftBook(configured)
    for number in range(customers):
        arm: Arm = "treatment" if rng.random() < treated_share else "holdout"
        action = "coupon" if rng.random() < 0.5 else "survey"
        chance = 0.3 + (extra_conversion if arm == "treatment" and action == "coupon" else 0.0)
        revenue = float(rng.exponential(50)) if rng.random() < chance else 0.0
        book.add(outcome(number, arm, revenue, action))
    return book.report()


def named(of: LiftReport, name: str) -> SliceLift:
    return next(each for each in of.slices if each.name == name)


def test_an_effect_is_found_where_it_is_and_only_there() -> None:
    found = report(6000, extra_conversion=0.3)
    assert not found.ratio_alarm
    coupon, survey, everything = (named(found, name) for name in ("action:coupon", "action:survey", "all"))
    assert coupon.conversion.low > 0.15
    assert coupon.conversion.high < 0.45
    assert not survey.conversion.excludes_zero
    assert everything.conversion.low <= 0.15 <= everything.conversion.high
    assert everything.cost.estimate == pytest.approx(0.5, abs=0.02)
    assert coupon.cost_per_saved.estimate == pytest.approx(0.5 / 0.3, rel=0.2)
    assert coupon.treated + coupon.held + survey.treated + survey.held == found.customers == 6000


def test_without_an_effect_ratios_are_unbounded() -> None:
    found = named(report(3000, extra_conversion=0.0), "all")
    assert not found.conversion.excludes_zero
    assert found.cost_per_saved.estimate is None


def test_broken_arms_raise_the_alarm() -> None:
    assert report(3000, 0.0, treated_share=0.7, configured=0.2).ratio_alarm


def test_without_a_holdout_there_are_rates_and_no_comparison() -> None:
    found = report(300, 0.0, treated_share=1.1, configured=0.0)
    assert (found.slices, found.ratio_alarm) == ((), False)
    assert sum(rates.sent for rates in found.rates.values()) == 300


def test_later_draws_feed_rates_and_not_the_comparison() -> None:
    book = LiftBook(0.2)
    for number in range(10):
        book.add(outcome(number, "treatment", 10.0, act_number=number % 2))
    assert (book.report().customers, book.report().rates["coupon"].sent) == (5, 10)
    assert book.report().rates["coupon"].converted == 1.0


def test_the_error_rate_is_shared_and_never_exceeded() -> None:
    book = LiftBook(0.5, alpha=0.05)
    for number in range(400):
        book.add(outcome(number, "treatment" if number % 2 else "holdout", 1.0, action=f"a{number % 40}"))
    assert sum(4 * each.alpha for each in book.report().slices) <= 0.05


def test_ratios_hold_both_bounds() -> None:
    ratio = ratio_of(Interval(2.0, 1.0, 3.0), Interval(1.0, 0.5, 2.0))
    assert (ratio.estimate, ratio.low, ratio.high) == (2.0, 0.5, 6.0)
    negative = ratio_of(Interval(2.0, -1.0, 3.0), Interval(-1.0, -2.0, -0.5))
    assert (negative.low, negative.high) == (-6.0, 2.0)
    assert ratio_of(UNKNOWN, Interval(1.0, 0.5, 2.0)).low is None
    assert math.isinf(UNKNOWN.high)


def test_a_repeat_changes_nothing() -> None:
    book = LiftBook(0.2)
    assert book.add(outcome(1, "treatment", 10.0))
    once = book.report()
    assert not book.add(outcome(1, "treatment", 10.0))
    assert book.report() == once


def test_a_book_goes_on_from_its_state_to_the_last_bit() -> None:
    rng = np.random.default_rng(5)
    told = [outcome(n, "treatment" if n % 5 else "holdout", float(rng.exponential(9))) for n in range(800)]
    whole, first = LiftBook(0.2), LiftBook(0.2)
    for number, each in enumerate(told):
        whole.add(each)
        if number < 500:
            first.add(each)
    saved = msgspec.msgpack.decode(msgspec.msgpack.encode(first.state), type=LiftState)
    second = LiftBook(0.2, state=saved)
    for each in told[490:]:
        second.add(each)
    assert second.report() == whole.report()


SHARES = {"size": {"small": 0.5, "big": 0.25, "none": 0.25}}


def test_arms_of_an_experiment_are_compared_with_the_first_whatever_was_drawn() -> None:
    rng = np.random.default_rng(11)
    book = LiftBook(0.1)
    for number in range(12_000):
        held: Arm = "holdout" if rng.random() < 0.1 else "treatment"
        arm = str(rng.choice(["small", "big", "none"], p=[0.5, 0.25, 0.25]))
        chance = {"small": 0.3, "big": 0.5, "none": 0.3}[arm] if held == "treatment" else 0.1
        revenue = 10.0 if rng.random() < chance else 0.0
        entered: dict[str, Any] = {"experiments": {"size": arm}, "experiment_shares": SHARES}
        book.add(outcome(number, held, revenue, "nothing", act_number=-1, **entered))
    found = book.report()
    big, none = named(found, "experiment:size:big"), named(found, "experiment:size:none")
    assert big.conversion.low <= 0.2 <= big.conversion.high
    assert big.conversion.excludes_zero
    assert not none.conversion.excludes_zero
    assert big.conversion_treated == pytest.approx(0.5, abs=0.03)
    assert not found.ratio_alarm
    assert {check.name for check in found.ratios} == {"experiment:size"}


def test_lopsided_arms_of_an_experiment_raise_the_alarm() -> None:
    book = LiftBook(0.0)
    for number in range(3_000):
        arm = ("small", "big", "none")[number % 3]
        entered: dict[str, Any] = {"experiments": {"size": arm}, "experiment_shares": SHARES}
        book.add(outcome(number, "treatment", 0.0, act_number=-1, **entered))
    assert book.report().ratio_alarm


def test_assignments_are_watched_as_well_as_first_triggers() -> None:
    book = LiftBook(0.1)
    book.add_assignments("treatment", 9_000)
    book.add_assignments("holdout", 1_000)
    assert not book.report().ratio_alarm
    book.add_assignments("holdout", 400)
    checks = {check.name: check.alarm for check in book.report().ratios}
    assert checks == {"assignments": True}
    assert book.report().ratio_alarm


def test_what_became_of_messages_is_told_in_shares_and_coupons_by_what_they_added() -> None:
    rng = np.random.default_rng(3)
    book = LiftBook(0.5)
    for number in range(4_000):
        is_treated = number % 2 == 0
        ordered = rng.random() < (0.5 if is_treated else 0.3)
        redeemed = is_treated and ordered
        arm: Arm = "treatment" if is_treated else "holdout"
        book.add(outcome(number, arm, 10.0 * ordered, redeemed=redeemed, clicked=is_treated, responded=redeemed))
    rates = book.report().rates["coupon"]
    assert (rates.clicked, rates.opened, rates.responded) == (1.0, 0.0, rates.redeemed)
    assert rates.incremental_per_redeemed is not None
    assert rates.incremental_per_redeemed.estimate == pytest.approx(0.2 / 0.5, abs=0.1)
    low, high = rates.incremental_per_redeemed.low, rates.incremental_per_redeemed.high
    assert low is not None
    assert high is not None
    assert 0 < low < 0.4 < high < 1


def test_a_document_is_json_and_says_null_where_nothing_is_known() -> None:
    book = LiftBook(0.2)
    book.add(outcome(1, "treatment", 10.0))
    document = json.loads(json.dumps(to_document(book.report()), allow_nan=False))
    assert document["slices"][0]["conversion"] == {"estimate": 0.0, "low": None, "high": None}
