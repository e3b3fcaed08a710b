from itertools import pairwise
from math import exp2, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.folds.clicks import fold_click
from stream_app.core.folds.orders import fold_order
from stream_app.core.folds.people import fold_feedback
from stream_app.core.folds.reviews import fold_review
from stream_app.core.state import CLICK_STEPS, ClicksState, ContactState, OrdersState, ReviewsState
from stream_app.core.times import DAY_MS, MINUTE_MS
from tests.support.logs import START_MS, click, feedback, order, review

_DAYS = st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True)


def fold_days(days: list[int], *, amount: float = 20.0) -> OrdersState:
    orders = OrdersState()
    for day in days:
        at_ms = START_MS + day * DAY_MS
        fold_order(orders, order("ada", at_ms, amount=amount), at_ms, amount)
    return orders


@given(_DAYS)
def test_decayed_counts_are_the_sums_of_their_definition_in_any_order(days: list[int]) -> None:
    orders = fold_days(days)

    newest = max(days)
    assert orders.count_30d == pytest.approx(sum(exp2((day - newest) / 30) for day in days))
    assert orders.amount_60d == pytest.approx(sum(20 * exp2((day - newest) / 60) for day in days))
    assert orders.completed == len(days)


@given(_DAYS)
def test_gaps_are_those_between_consecutive_days(days: list[int]) -> None:
    ordered = sorted(days)
    orders = fold_days(ordered)

    gaps = [later - earlier for earlier, later in pairwise(ordered)]
    assert orders.gaps == len(gaps)
    assert orders.sum_ln_gap == pytest.approx(sum(log(gap) for gap in gaps))
    assert orders.max_gap_days == max(gaps, default=0)
    assert orders.repeat_60d == pytest.approx(sum(exp2((day - ordered[-1]) / 60) for day in ordered[1:]))


def test_two_orders_of_one_day_are_one_order_day() -> None:
    orders = OrdersState()
    for hour in (9, 15):
        at_ms = START_MS + hour * 60 * MINUTE_MS
        fold_order(orders, order("ada", at_ms), at_ms, 20.0)

    assert (orders.completed, orders.days, orders.gaps) == (2, 1, 0)
    assert orders.count_14d == pytest.approx(1.0, abs=0.03)


def test_a_cancelled_order_is_no_sign_of_life() -> None:
    orders = fold_days([0])

    stayed = fold_order(orders, order("ada", START_MS + DAY_MS, status="cancelled"), START_MS + DAY_MS, 20.0)

    assert not stayed
    assert (orders.completed, orders.cancelled, orders.last_ms) == (1, 1, START_MS)


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30))
def test_visits_are_split_by_half_an_hour_of_silence(minutes: list[int]) -> None:
    clicks = ClicksState()
    starts = 0
    for minute in sorted(minutes):
        at_ms = START_MS + minute * MINUTE_MS
        starts += fold_click(clicks, click("ada", at_ms), at_ms)

    ordered = sorted(minutes)
    expected = 1 + sum(later - earlier > 30 for earlier, later in pairwise(ordered))
    assert starts == clicks.sessions == expected


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=30))
def test_decayed_counts_of_clicks_are_the_sum_over_all_of_them_in_any_order(minutes: list[int]) -> None:
    clicks = ClicksState()
    for minute in minutes:
        at_ms = START_MS + minute * MINUTE_MS
        fold_click(clicks, click("ada", at_ms), at_ms)

    ages_days = [(clicks.decayed_at_ms - START_MS - minute * MINUTE_MS) / DAY_MS for minute in minutes]
    for counted, half_life in ((clicks.clicks_7d, 7), (clicks.clicks_30d, 30), (clicks.product_views_30d, 30)):
        exact = sum(2 ** (-age / half_life) for age in ages_days)
        # A click is rounded when it comes, and all at once whenever counts fade, which happens less often.
        assert counted / CLICK_STEPS == pytest.approx(exact, abs=2 * len(minutes) / CLICK_STEPS)
    assert clicks.last_ms - DAY_MS <= clicks.decayed_at_ms <= clicks.last_ms


@given(st.permutations([1, 2, 60, 300, 1_000, 1_439]))
def test_clicks_of_one_day_count_the_same_to_the_last_bit_in_any_order(minutes: list[int]) -> None:
    clicks = ClicksState()
    for minute in (0, *minutes):
        fold_click(clicks, click("ada", START_MS + minute * MINUTE_MS), START_MS + minute * MINUTE_MS)
    assert (clicks.clicks_7d, clicks.clicks_30d) == (7_373, 7_215)


def test_what_a_daily_visitor_once_did_is_forgotten_in_the_end() -> None:
    clicks = ClicksState()
    fold_click(clicks, click("ada", START_MS, kind="search"), START_MS)
    for day in range(1, 400):
        at_ms = START_MS + day * (DAY_MS + MINUTE_MS)
        fold_click(clicks, click("ada", at_ms, kind="page_view"), at_ms)
    assert clicks.searches_30d == 0
    assert clicks.clicks_30d / CLICK_STEPS == pytest.approx(1 / (1 - 2 ** (-(1 + 1 / 1440) / 30)), rel=1e-3)


def test_a_visit_left_with_goods_in_the_cart_is_counted_when_the_next_begins() -> None:
    clicks = ClicksState()
    fold_click(clicks, click("ada", START_MS, kind="add_to_cart"), START_MS)
    fold_click(clicks, click("ada", START_MS + 2 * DAY_MS), START_MS + 2 * DAY_MS)

    assert clicks.full_carts_30d == CLICK_STEPS
    assert clicks.session_cart == 0
    assert clicks.last_cart_ms == START_MS


def test_sentiment_is_a_decayed_mean() -> None:
    reviews = ReviewsState()
    fold_review(reviews, review("ada", START_MS), START_MS, 1.0)
    later_ms = START_MS + 60 * DAY_MS
    fold_review(reviews, review("ada", later_ms), later_ms, -1.0)

    assert reviews.sentiment_60d == pytest.approx(-0.5)
    assert reviews.weight_60d == pytest.approx(1.5)


def test_an_unsubscription_names_its_channel() -> None:
    contact = ContactState()

    fold_feedback(contact, feedback("ada", START_MS, unsubscribed=True), START_MS)

    assert contact.unsubscribed_channels == ("email",)
    assert contact.unsubscribed_ms == START_MS
