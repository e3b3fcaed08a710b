"""The report finds what is there, keeps quiet about what is not, and notices broken arms."""

import math

import numpy as np
import pytest

from stream_app.core.outputs import Arm, DecisionOutcome
from stream_app.core.times import from_ms
from stream_app.decisions.lift import LiftBook, LiftReport, SliceLift, ratio_of
from stream_app.decisions.sequences import UNKNOWN, Interval
from tests.support.decisions import NOON_MS


def outcome(number: int, arm: Arm, revenue: float, action: str = "coupon", act_number: int = 0) -> DecisionOutcome:
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
        redeemed=False,
        unsubscribed=False,
        complained=False,
        cost=cost,
        reward=0.35 * revenue - cost,
        policy_version="p",
        catalogue_version="c",
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
