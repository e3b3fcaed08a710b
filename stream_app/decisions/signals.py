"""What calls for an action: signs in a customer's facts, besides the risk itself."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

from stream_app.core.facts import Facts
from stream_app.core.ledger import Ledger
from stream_app.core.times import DAY_MS, MINUTE_MS, from_ms
from stream_app.decisions.catalogue import Guardrails, Signal
from stream_app.decisions.policy import EPOCH_DAYS
from stream_app.decisions.types import DecisionPoint

MEDIUM = 1
"""Index of the tier from which a customer counts as at risk."""
PASSIVE_SURVEY_SCORE = 7
"""A net promoter score below this is a detractor's (Reichheld, 2003)."""
URGENT: frozenset[Signal] = frozenset({"complaint", "unhappy", "birthday", "open_cart"})
"""Signals that make a "no" worth telling even for a customer at low risk."""


def signals_of(point: DecisionPoint, guardrails: Guardrails) -> frozenset[Signal]:
    """Return the signals that hold at a decision point."""
    facts = point.facts
    found: list[Signal] = []
    if point.tier >= MEDIUM:
        found.append("risk")
    if point.trigger == "order":
        found.append("order")
    elif point.trigger == "timer":
        found.append("routine")
    fresh_from_ms = point.now_ms - int(guardrails.signal_days * DAY_MS)
    if facts.last_complaint_ms and facts.last_complaint_ms >= fresh_from_ms:
        found.append("complaint")
    sounds_unhappy = facts.sentiment_weight > 0 and facts.sentiment < guardrails.unhappy_below
    if sounds_unhappy or 0 <= facts.last_survey_score < PASSIVE_SURVEY_SCORE:
        found.append("unhappy")
    left_ms = facts.last_click_ms + guardrails.open_cart_minutes * MINUTE_MS
    if facts.session_cart > 0 and facts.last_cart_ms > facts.last_order_ms and fresh_from_ms <= left_ms <= point.now_ms:
        found.append("open_cart")
    profile = facts.profile
    if (
        profile is not None
        and profile.birthday_month
        and days_to_birthday(profile.birthday_month, profile.birthday_day, point.now_ms, profile.time_zone)
        <= guardrails.birthday_days
    ):
        found.append("birthday")
    return frozenset(found)


def days_to_birthday(month: int, day: int, at_ms: int, time_zone: str = "") -> int:
    """Return the days until the next birthday in the customer's zone (UTC where unknown); 0 on the day itself.

    A 29 February is kept on 1 March in other years.
    """
    zone = zone_of(time_zone)
    moment = from_ms(at_ms)
    today = (moment.astimezone(zone) if zone is not None else moment).date()
    this_year = _birthday_in(today.year, month, day)
    if this_year >= today:
        return (this_year - today).days
    return (_birthday_in(today.year + 1, month, day) - today).days


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone by its IANA name, or None if there is no such zone."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _birthday_in(year: int, month: int, day: int) -> date:
    try:
        return date(year, month, day)
    except ValueError:
        return date(year, month, 1) + timedelta(days=day - 1)


def complained_since(facts: Facts, ledger: Ledger) -> bool:
    """Say whether a complaint came after the epoch's draw that has led to no draw yet, the first of its epoch."""
    complained_ms = facts.last_complaint_ms
    return complained_ms > ledger.drawn_at_ms and (
        not ledger.care_at_ms or complained_ms >= ledger.care_at_ms + EPOCH_DAYS * DAY_MS
    )
