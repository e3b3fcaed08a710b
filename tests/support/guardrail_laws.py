"""The law of each guardrail: any customer and limits, and whether the guardrail must stop an action there.

What must be stopped is worked out without the guardrail's own code. All other guardrails are wide open, so that a "no"
of the whole decider is this one's.
"""

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from hypothesis import strategies as st

from stream_app.core.ledger import Contact, Ledger
from stream_app.core.partition import PartitionState
from stream_app.core.state import ProfileState
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS, from_ms
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.types import NOTHING, Act, Suppress
from tests.support.decisions import NOON_MS, SHIPPED, WILLING, decider, facts, point

SENT = "sent"
CHANNELS = ("email", "sms", "push", "phone", "onsite")
SAME, OTHER = "email", "push"
ZONES = ("Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Auckland", "UTC")
OPEN: dict[str, Any] = {
    "quiet_hours": {"channels": []},
    "total_caps": [],
    "channel_caps": {},
    "order_cooldown_hours": 0,
    "complaint_cooldown_days": 0,
    "message_complaint_days": 0,
    "discount_share_limit": 1,
    "stale_hours": 10_000,
    "budget": {},
    "breaker": {"minimum": 10_000_000},
}
"""Guardrails that stop nobody who is willing."""
_RAW = next(action for action in SHIPPED.model_dump(mode="json")["actions"] if action["name"] == "coupon-10")
ACTION = {
    **_RAW,
    "signals": ["risk"],
    "cooldown_days": 0,
    "cost": 1,
    "incentive_share": 0,
    "uplift": {"by_tier": dict.fromkeys(("low", "medium", "high", "critical"), 0.1)},
}
OTHERS = {
    name: value for name, value in SHIPPED.model_dump(mode="json").items() if name not in {"actions", "guardrails"}
}


class Case(msgspec.Struct, frozen=True):
    """A customer, an action and limits, and whether the guardrail of the law must stop it."""

    stopped: bool
    facts: dict[str, Any] = {}
    profile: dict[str, Any] | None = {}
    """Changes of a willing customer's profile; None: there is none."""
    action: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    where: dict[str, Any] = {}
    contacts: list[Contact] = []
    would_be: list[Contact] = []
    memory: dict[str, Any] = {}
    settings: dict[str, Any] = {}


def catalogue_of(case: Case, **limits: Any) -> Catalogue:
    return Catalogue.model_validate(
        {**OTHERS, "actions": [{**ACTION, **case.action}], "guardrails": {**OPEN, **case.limits, **limits}}
    )


def profile_of(case: Case) -> ProfileState | None:
    if case.profile is None:
        return None
    return ProfileState(**{**{name: getattr(WILLING, name) for name in WILLING.__struct_fields__}, **case.profile})


def told(case: Case, **unlimited: Any) -> str:
    """Return `SENT`, or the reason why nothing was."""
    by = decider(catalogue_of(case, **unlimited), **({} if unlimited else case.settings))
    at = point(facts=facts(profile=profile_of(case), **case.facts), **case.where)
    ledger = Ledger(contacts=[*case.contacts], would_be=[*case.would_be])
    decision = by.decide(at, ledger, PartitionState(**({} if unlimited else case.memory)))
    if isinstance(decision, Act):
        return SENT
    return decision.suppressed.reason if isinstance(decision, Suppress) else decision.reason


def holds(code: str, case: Case) -> bool:
    """Say whether a decision keeps the law of a guardrail."""
    found = told(case)
    if not case.stopped:
        return found in {SENT, NOTHING}
    if code in LIMITS:
        # What was drawn passes the filters; a limit stops the sending of it, and doing nothing needs no limit.
        free = told(case, budget={}, breaker=OPEN["breaker"])
        return found == (code if free == SENT else NOTHING)
    return found == code


def ages(limit_ms: int) -> st.SearchStrategy[int]:
    """How long ago something was, often just within or beyond a limit."""
    return st.sampled_from([0, 1, limit_ms - 1, limit_ms, limit_ms + 1]).filter(lambda age: age >= 0) | st.integers(
        0, 2 * limit_ms
    )


@st.composite
def profiling(draw: st.DrawFn) -> Case:
    stated, erased = draw(st.sampled_from([None, True, False])), draw(st.booleans())
    return Case(stated is False or erased, {"erased": erased}, {"profiling": stated})


@st.composite
def stale_data(draw: st.DrawFn) -> Case:
    hours = draw(st.integers(1, 100))
    behind_ms = draw(ages(hours * HOUR_MS))
    where = {"frontier_ms": NOON_MS + behind_ms}
    return Case(behind_ms > hours * HOUR_MS, limits={"stale_hours": hours}, where=where)


@st.composite
def consent(draw: st.DrawFn) -> Case:
    channel, purpose = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(["marketing", "service"]))
    unknown = draw(st.sampled_from(["deny", "allow"]))
    stated = {what: draw(st.sampled_from([None, True, True, False])) for what in ("marketing", *CHANNELS)}
    known = draw(st.booleans())
    asked = [
        stated[what] if known else None for what in ({"marketing", channel} if purpose == "marketing" else {channel})
    ]
    stopped = False in asked or (None in asked and unknown == "deny")
    action = {"channel": channel, "purpose": purpose}
    return Case(stopped, {}, stated if known else None, action, {"unknown_consent": unknown})


@st.composite
def unsubscribed(draw: st.DrawFn) -> Case:
    since_ms = draw(st.sampled_from([0, 1, NOON_MS]))
    channels = draw(st.lists(st.sampled_from([*CHANNELS, "all"]), unique=True, max_size=3))
    channel = draw(st.sampled_from(CHANNELS))
    stopped = since_ms > 0 and (not channels or "all" in channels or channel in channels)
    left = {"unsubscribed_ms": since_ms, "unsubscribed_channels": tuple(channels)}
    return Case(stopped, left, action={"channel": channel, "purpose": draw(st.sampled_from(["marketing", "service"]))})


@st.composite
def message_complaint(draw: st.DrawFn) -> Case:
    days = draw(st.integers(1, 400))
    age_ms = draw(ages(days * DAY_MS))
    action = {"purpose": draw(st.sampled_from(["marketing", "service"]))}
    known = {"message_complaint_ms": NOON_MS - age_ms}
    return Case(age_ms < days * DAY_MS, known, action=action, limits={"message_complaint_days": days})


@st.composite
def complaint_cooldown(draw: st.DrawFn) -> Case:
    days, purpose = draw(st.integers(1, 60)), draw(st.sampled_from(["marketing", "marketing", "service"]))
    age_ms = draw(ages(days * DAY_MS))
    stopped = purpose == "marketing" and age_ms < days * DAY_MS
    known = {"last_complaint_ms": NOON_MS - age_ms}
    return Case(stopped, known, action={"purpose": purpose}, limits={"complaint_cooldown_days": days})


@st.composite
def order_cooldown(draw: st.DrawFn) -> Case:
    hours, purpose = draw(st.integers(1, 200)), draw(st.sampled_from(["marketing", "marketing", "service"]))
    signals = draw(st.sampled_from([["risk"], ["risk"], ["risk", "order"]]))
    age_ms = draw(ages(hours * HOUR_MS))
    stopped = purpose == "marketing" and "order" not in signals and age_ms < hours * HOUR_MS
    action = {"purpose": purpose, "signals": signals}
    known = {"last_order_ms": NOON_MS - age_ms}
    return Case(stopped, known, action=action, limits={"order_cooldown_hours": hours})


@st.composite
def discount_dependence(draw: st.DrawFn) -> Case:
    orders, limit = draw(st.integers(1, 20)), draw(st.integers(0, 10))
    discounted, least = draw(st.integers(0, orders)), draw(st.integers(1, 10))
    is_cut = draw(st.sampled_from([True, True, False]))
    stopped = is_cut and orders >= least and 10 * discounted > limit * orders
    known = {"orders": orders, "discounted_orders": discounted}
    limits = {"discount_share_limit": limit / 10, "discount_min_orders": least}
    return Case(stopped, known, action={"price_cut": is_cut}, limits=limits)


@st.composite
def cooldown(draw: st.DrawFn) -> Case:
    days = draw(st.integers(1, 60))
    past = draw(st.lists(st.tuples(ages(days * DAY_MS), st.sampled_from(["coupon-10", "care-call"])), max_size=3))
    made = [Contact(NOON_MS - age_ms, name, SAME) for age_ms, name in past]
    stopped = any(age_ms < days * DAY_MS and name == "coupon-10" for age_ms, name in past)
    contacts, would_be = draw(st.sampled_from([(made, []), ([], made)]))
    return Case(stopped, action={"cooldown_days": days}, contacts=contacts, would_be=would_be)


@st.composite
def cap(draw: st.DrawFn) -> Case:
    count, days = draw(st.integers(0, 3)), draw(st.integers(1, 60))
    kind = draw(st.sampled_from(["action", "channel", "total"]))
    past = draw(
        st.lists(
            st.tuples(ages(days * DAY_MS), st.sampled_from(["coupon-10", "care-call"]), st.sampled_from([SAME, OTHER])),
            max_size=5,
        )
    )
    counted = [
        age_ms
        for age_ms, name, channel in past
        if age_ms < days * DAY_MS
        and (kind == "total" or (kind == "action" and name == "coupon-10") or (kind == "channel" and channel == SAME))
    ]
    made = sorted((Contact(NOON_MS - age_ms, name, channel) for age_ms, name, channel in past), key=lambda c: c.at_ms)
    rule = [{"count": count, "days": days}]
    by_kind: dict[str, dict[str, Any]] = {
        "action": {},
        "channel": {"channel_caps": {SAME: rule}},
        "total": {"total_caps": rule},
    }
    limits = by_kind[kind]
    contacts, would_be = draw(st.sampled_from([(made, []), ([], made)]))
    action = {"caps": rule if kind == "action" else [], "channel": SAME}
    return Case(len(counted) >= count, action=action, limits=limits, contacts=contacts, would_be=would_be)


@st.composite
def quiet_hours(draw: st.DrawFn) -> Case:
    start, end = draw(st.integers(0, 1439)), draw(st.integers(0, 1439))
    zone = draw(st.sampled_from([*ZONES, "", "Nowhere/At_All", "../etc"]))
    instead = draw(st.sampled_from(["deny", "Asia/Tokyo"]))
    channel = draw(st.sampled_from([SAME, "sms", "phone"]))
    at_ms = NOON_MS + draw(st.integers(0, 3 * 1440)) * MINUTE_MS
    used = zone if zone in ZONES else instead
    stopped = channel != SAME
    if used != "deny":
        local = from_ms(at_ms).astimezone(ZoneInfo(used))
        stopped = stopped and (60 * local.hour + local.minute - start) % 1440 < (end - start) % 1440
    clock = [str(timedelta(minutes=minute)).zfill(8)[:5] for minute in (start, end)]
    quiet = {"start": clock[0], "end": clock[1], "channels": ["sms", "phone"], "unknown_zone": instead}
    where = {"at_ms": at_ms, "frontier_ms": at_ms}
    return Case(stopped, {}, {"time_zone": zone}, {"channel": channel}, {"quiet_hours": quiet}, where)


@st.composite
def budget(draw: st.DrawFn) -> Case:
    partitions, day = draw(st.integers(1, 8)), NOON_MS // DAY_MS
    count, money = draw(st.integers(0, 5)) * partitions, draw(st.integers(0, 5)) * partitions
    spent_count, spent_money = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    is_today = draw(st.booleans())
    memory = {
        "budget_day": day if is_today else day - 1,
        "budget_count": spent_count,
        "budget_spent": float(spent_money),
    }
    used_count, used_money = (spent_count, spent_money) if is_today else (0, 0)
    # The action costs 1, and each partition owns an equal share.
    stopped = used_count + 1 > count // partitions or used_money + 1 > money // partitions
    limits = {"budget": {"count_per_day": count, "money_per_day": money}}
    name = {"customer_id": f"c{draw(st.integers(0, 10**6))}"}
    return Case(stopped, limits=limits, memory=memory, settings={"partitions": partitions}, where=name)


@st.composite
def rate_breaker(draw: st.DrawFn) -> Case:
    minimum, factor = draw(st.integers(1, 50)), draw(st.integers(2, 10))
    usual, sent = draw(st.integers(0, 20)), draw(st.integers(0, 250))
    window_ms = NOON_MS - NOON_MS % HOUR_MS
    memory = {"breaker_window_ms": window_ms, "breaker_count": sent, "breaker_baseline": float(usual)}
    limits = {"breaker": {"minimum": minimum, "factor": factor, "window_minutes": 60}}
    name = {"customer_id": f"c{draw(st.integers(0, 10**6))}"}
    return Case(sent + 1 > max(minimum, factor * usual), limits=limits, memory=memory, where=name)


@st.composite
def kill_switch(draw: st.DrawFn) -> Case:
    enabled = draw(st.booleans())
    name = {"customer_id": f"c{draw(st.integers(0, 10**6))}", "tier": draw(st.integers(1, 3))}
    return Case(not enabled, settings={"enabled": enabled}, where=name)


LAWS: dict[str, st.SearchStrategy[Case]] = {
    "profiling": profiling(),
    "stale_data": stale_data(),
    "consent": consent(),
    "unsubscribed": unsubscribed(),
    "message_complaint": message_complaint(),
    "complaint_cooldown": complaint_cooldown(),
    "order_cooldown": order_cooldown(),
    "discount_dependence": discount_dependence(),
    "cooldown": cooldown(),
    "cap": cap(),
    "quiet_hours": quiet_hours(),
    "budget": budget(),
    "rate_breaker": rate_breaker(),
    "kill_switch": kill_switch(),
}
"""The law of each reason code."""
LIMITS = {"budget", "rate_breaker", "kill_switch"}
"""What comes after the draw."""
