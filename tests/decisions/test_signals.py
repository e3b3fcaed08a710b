"""What calls for an action, and what an intervention then says."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.facts import Facts, facts_of
from stream_app.core.state import ClicksState, ContactState, OrdersState, ProfileState, ReviewsState, new_state
from stream_app.core.times import DAY_MS, MINUTE_MS, from_ms, to_ms
from stream_app.decisions.catalogue import Guardrails
from stream_app.decisions.content import content_of, language_for, picks_for
from stream_app.decisions.signals import days_to_birthday, signals_of
from tests.support.decisions import NOON_MS, SHIPPED, facts, point

GUARDS = Guardrails()


def signals(known: Facts | None = None, **where: Any) -> frozenset[str]:
    return signals_of(point(facts=known or facts(), **{"tier": 0, "trigger": "review", **where}), GUARDS)


CART = {"session_cart": 2, "last_cart_ms": NOON_MS - 40 * MINUTE_MS, "last_click_ms": NOON_MS - 30 * MINUTE_MS}


@pytest.mark.parametrize(
    ("known", "where", "found"),
    [
        (facts(), {}, set()),
        (facts(), {"tier": 1}, {"risk"}),
        (facts(), {"trigger": "order"}, {"order"}),
        (facts(), {"trigger": "timer"}, {"routine"}),
        (facts(last_complaint_ms=NOON_MS - 7 * DAY_MS), {}, {"complaint"}),
        (facts(last_complaint_ms=NOON_MS - 7 * DAY_MS - 1), {}, set()),
        (facts(sentiment_sum=-1.0, sentiment_weight=2.0), {}, {"unhappy"}),
        (facts(sentiment_sum=-0.4, sentiment_weight=2.0), {}, set()),
        (facts(last_survey_score=6), {}, {"unhappy"}),
        (facts(last_survey_score=7), {}, set()),
        (facts(**CART), {}, {"open_cart"}),
        (facts(**{**CART, "last_order_ms": NOON_MS - 35 * MINUTE_MS}), {}, set()),
        (facts(**{**CART, "last_click_ms": NOON_MS - 29 * MINUTE_MS}), {}, set()),
        (facts(**{**CART, "session_cart": 0}), {}, set()),
        (facts(profile=ProfileState(birthday_month=10, birthday_day=11)), {}, {"birthday"}),
        (facts(profile=ProfileState(birthday_month=10, birthday_day=12)), {}, set()),
    ],
)
def test_signals(known: Facts, where: dict[str, Any], found: set[str]) -> None:
    assert signals(known, **where) == found


@given(st.dates(date(1900, 1, 1), date(2020, 12, 31)), st.integers(18_000, 26_000))
def test_the_next_birthday_is_within_a_year_and_on_its_day(born: date, day: int) -> None:
    now_ms = day * DAY_MS + 5
    days = days_to_birthday(born.month, born.day, now_ms)
    assert 0 <= days <= 366
    reached = from_ms(now_ms).date() + timedelta(days=days)
    leap_child_in_other_year = (born.month, born.day) == (2, 29) and (reached.month, reached.day) == (3, 1)
    assert leap_child_in_other_year or (reached.month, reached.day) == (born.month, born.day)


def test_a_birthday_begins_where_the_customer_lives() -> None:
    late = to_ms(datetime(2026, 5, 1, 23, 30, tzinfo=UTC))
    assert days_to_birthday(5, 2, late, "UTC") == 1
    assert days_to_birthday(5, 2, late, "Europe/Vienna") == 0
    assert days_to_birthday(5, 2, late, "Nowhere/At_All") == 1


def test_facts_are_a_copy_that_later_events_do_not_change() -> None:
    state = new_state()
    assert facts_of(state) == Facts()
    state.orders = OrdersState(completed=2, total_amount=50.0, discounted=1, recent_products=("a",), last_ms=5)
    state.clicks = ClicksState(recent_products=("b",), session_cart=1, last_ms=6, last_cart_ms=7)
    state.reviews = ReviewsState(sentiment_60d=-1.0, weight_60d=2.0, last_complaint_ms=8, language="de")
    state.contact = ContactState(unsubscribed_ms=9, unsubscribed_channels=("sms",), complained_ms=10)
    state.profile = ProfileState(language="fr")
    known = facts_of(state)
    state.orders.completed = 3
    state.reviews.last_complaint_ms = 11
    assert (known.orders, known.mean_amount, known.discount_share, known.recent_bought) == (2, 25.0, 0.5, ("a",))
    assert (known.recent_seen, known.session_cart, known.last_click_ms, known.last_cart_ms) == (("b",), 1, 6, 7)
    assert (known.sentiment, known.last_complaint_ms, known.review_language, known.language) == (-0.5, 8, "de", "fr")
    assert (known.unsubscribed_ms, known.unsubscribed_channels, known.message_complaint_ms) == (9, ("sms",), 10)


def test_the_value_at_stake_recovers_a_steady_rate_and_fades() -> None:
    held = sum(2.0 ** (-10 * k / 90) for k in range(1000))
    steady = facts(orders=100, total_amount=5000.0, order_days_90d=held, order_days_at_ms=NOON_MS)
    assert steady.value_at_stake(NOON_MS) == pytest.approx(50 * 9, rel=0.05)
    assert steady.value_at_stake(NOON_MS + 90 * DAY_MS) == pytest.approx(steady.value_at_stake(NOON_MS) / 2)
    assert steady.value_at_stake(NOON_MS + 3000 * DAY_MS) == 50.0
    assert Facts().value_at_stake(NOON_MS) == 0.0


@pytest.mark.parametrize(
    ("wanted", "got"), [("de", "de"), ("de-AT", "de"), ("zh_CN", "zh"), ("pt-BR", "pt-BR"), ("fr", "en"), ("", "en")]
)
def test_a_language_that_exists_is_chosen(wanted: str, got: str) -> None:
    assert language_for(wanted, ("en", "de", "zh", "pt-BR")) == got


def test_content_is_filled_in() -> None:
    coupon = SHIPPED.actions[0]
    content = content_of(coupon, point(), "int_1", to_ms(datetime(2026, 5, 1, 9, tzinfo=UTC)))
    assert content.template == "coupon"
    assert content.parameters == {"discount_percent": 10, "valid_until": "2026-05-01", "usual_order": 80.0}
    assert content.products == ("p3", "p1", "p2")


def test_the_recommenders_picks_come_first() -> None:
    assert picks_for(point(picks=lambda count: ("n1", "n2", "n3")[:count]), 2) == ("n1", "n2")
    assert picks_for(point(), 0) == ()
