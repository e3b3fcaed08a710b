"""Every guardrail says no when it must, yes when it may, and why."""

from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.core.facts import Facts
from stream_app.core.ledger import Contact, Ledger
from stream_app.core.state import ProfileState
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS, to_ms
from stream_app.decisions import guardrails
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.guardrails import Situation, most_urgent, passing
from tests.support.decisions import NOON_MS, SHIPPED, WILLING, facts, guarded, point

ACTIONS = {action.name: action for action in SHIPPED.actions}
COUPON, CALL, SMS, SURVEY = (ACTIONS[n] for n in ("coupon-10", "care-call", "care-sms", "satisfaction-survey"))


def situation(
    known: Facts | None = None,
    contacts: list[Contact] | None = None,
    catalogue: Catalogue = SHIPPED,
    **where: Any,
) -> Situation:
    at = point(facts=known or facts(), **where)
    return Situation(at, at.now_ms, Ledger(contacts=contacts or []), catalogue)


def profile(**changes: Any) -> Facts:
    kept = {name: getattr(WILLING, name) for name in WILLING.__struct_fields__}
    return facts(profile=ProfileState(**{**kept, **changes}))


def contact(days_ago: float, action: Action = COUPON) -> Contact:
    return Contact(NOON_MS - int(days_ago * DAY_MS), action.name, action.channel)


def test_a_willing_customer_may_be_sent_anything_that_fits() -> None:
    allowed, code, sentence = passing([COUPON, SURVEY], situation())
    assert (allowed, code, sentence) == ([COUPON, SURVEY], "", "")


@pytest.mark.parametrize(
    ("known", "action", "code", "words"),
    [
        (facts(profile=None), COUPON, "consent", "No consent to marketing is known"),
        (profile(marketing=None), COUPON, "consent", "No consent to marketing is known"),
        (profile(marketing=False), COUPON, "consent", "said no to marketing"),
        (profile(email=None), COUPON, "consent", "No consent to email is known"),
        (profile(phone=False), CALL, "consent", "said no to phone"),
        (profile(profiling=False), COUPON, "profiling", "profiled"),
        (facts(erased=True), COUPON, "profiling", "profiled"),
        (facts(unsubscribed_ms=1, unsubscribed_channels=("email",)), COUPON, "unsubscribed", "email"),
        (facts(unsubscribed_ms=1, unsubscribed_channels=("all",)), CALL, "unsubscribed", "all"),
        (facts(unsubscribed_ms=1), CALL, "unsubscribed", "all"),
        (facts(message_complaint_ms=NOON_MS - 300 * DAY_MS), CALL, "message_complaint", "365 days"),
        (facts(last_complaint_ms=NOON_MS - 13 * DAY_MS), COUPON, "complaint_cooldown", "14 days"),
        (facts(last_order_ms=NOON_MS - 47 * HOUR_MS), COUPON, "order_cooldown", "48 hours"),
        (facts(orders=4, discounted_orders=3), COUPON, "discount_dependence", "75%"),
        (profile(time_zone=""), SMS, "quiet_hours", "unknown"),
        (profile(time_zone="../etc/passwd"), SMS, "quiet_hours", "unknown"),
        (profile(time_zone="Europe"), SMS, "quiet_hours", "unknown"),
        (profile(time_zone="Pacific/Auckland"), SMS, "quiet_hours", "01:00"),
    ],
)
def test_a_no_has_its_code_and_says_why(known: Facts, action: Action, code: str, words: str) -> None:
    allowed, told_code, sentence = passing([action], situation(known))
    assert (allowed, told_code) == ([], code)
    assert words in sentence


@pytest.mark.parametrize(
    ("known", "action"),
    [
        (profile(marketing=None), CALL),
        (facts(unsubscribed_ms=1, unsubscribed_channels=("sms",)), COUPON),
        (facts(message_complaint_ms=NOON_MS - 365 * DAY_MS), COUPON),
        (facts(last_complaint_ms=NOON_MS - 14 * DAY_MS), COUPON),
        (facts(last_complaint_ms=NOON_MS - DAY_MS), CALL),
        (facts(last_order_ms=NOON_MS - 48 * HOUR_MS), COUPON),
        (facts(last_order_ms=NOON_MS - HOUR_MS), SURVEY),
        (facts(last_order_ms=NOON_MS - HOUR_MS), CALL),
        (facts(orders=2, discounted_orders=2), COUPON),
        (facts(orders=4, discounted_orders=3), SURVEY),
        (profile(time_zone=""), COUPON),
        (profile(time_zone="Pacific/Auckland"), COUPON),
    ],
)
def test_a_guardrail_stops_no_more_than_it_says(known: Facts, action: Action) -> None:
    assert passing([action], situation(known))[0] == [action]


@pytest.mark.parametrize("list_name", ["contacts", "would_be"])
def test_an_action_keeps_its_cooldown_from_what_was_or_would_have_been_sent(list_name: str) -> None:
    for days, expected in ((COUPON.cooldown_days - 0.001, "cooldown"), (COUPON.cooldown_days, "")):
        at = situation()
        getattr(at.ledger, list_name).append(contact(days))
        assert passing([COUPON], at)[1] == expected


@pytest.mark.parametrize(
    ("limits", "past", "stopped"),
    [
        ({"total_caps": [{"count": 2, "days": 10}]}, [contact(9, SURVEY), contact(1, CALL)], True),
        ({"total_caps": [{"count": 2, "days": 10}]}, [contact(10, SURVEY), contact(1, CALL)], False),
        ({"channel_caps": {"email": [{"count": 1, "days": 10}]}}, [contact(9, SURVEY)], True),
        ({"channel_caps": {"email": [{"count": 1, "days": 10}]}}, [contact(9, CALL)], False),
        ({"total_caps": [{"count": 0, "days": 10}]}, [], True),
    ],
)
def test_caps_count_contacts_on_a_rolling_window(limits: dict[str, Any], past: list[Contact], stopped: bool) -> None:
    allowed, code, _ = passing([COUPON], situation(contacts=past, catalogue=guarded(**{"channel_caps": {}, **limits})))
    assert (allowed == [], code == "cap") == (stopped, stopped)


def test_what_is_far_behind_event_time_leads_to_no_contact() -> None:
    assert passing([COUPON], situation(frontier_ms=NOON_MS + 48 * HOUR_MS))[0] == [COUPON]
    late = situation(frontier_ms=NOON_MS + 48 * HOUR_MS + 1)
    assert passing([COUPON], late)[1] == "stale_data"


@pytest.mark.parametrize(
    ("moment", "quiet", "end"),
    [
        (datetime(2026, 7, 1, 18, 59, tzinfo=UTC), False, None),
        (datetime(2026, 7, 1, 19, 0, tzinfo=UTC), True, datetime(2026, 7, 2, 6, 0, tzinfo=UTC)),
        (datetime(2026, 7, 2, 5, 59, tzinfo=UTC), True, datetime(2026, 7, 2, 6, 0, tzinfo=UTC)),
        (datetime(2026, 7, 2, 6, 0, tzinfo=UTC), False, None),
        # The night in which Vienna's clocks go back: quiet hours are an hour longer.
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), True, datetime(2026, 10, 25, 7, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_follow_the_customers_clock(moment: datetime, quiet: bool, end: datetime | None) -> None:
    at = situation(at_ms=to_ms(moment))
    assert (guardrails.quiet_hours(SMS, at) is not None) == quiet
    hours = SHIPPED.guardrails.quiet_hours
    assert guardrails.quiet_end_ms(hours, WILLING, at.now_ms) == (to_ms(end) if end else 0)


@given(
    st.sampled_from(["Europe/Vienna", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Africa/Monrovia"]),
    st.integers(0, to_ms(datetime(2038, 1, 1, tzinfo=UTC)) // HOUR_MS),
    st.integers(0, HOUR_MS - 1),
    st.times(),
    st.times(),
)
@example("Europe/Vienna", to_ms(datetime(2026, 10, 25, tzinfo=UTC)) // HOUR_MS, HOUR_MS // 4, time(22), time(2, 30))
@example("Europe/Vienna", to_ms(datetime(2026, 3, 28, 22, tzinfo=UTC)) // HOUR_MS, 0, time(22), time(2, 30))
@example("Africa/Monrovia", to_ms(datetime(1972, 1, 7, tzinfo=UTC)) // HOUR_MS, 44 * MINUTE_MS, time(23), time(8))
def test_quiet_hours_end_when_a_calendar_says(zone: str, hour: int, within_ms: int, start: time, end: time) -> None:
    quiet = SHIPPED.guardrails.quiet_hours.model_copy(update={"start": start, "end": end})
    known = ProfileState(time_zone=zone)

    at_ms = hour * HOUR_MS + within_ms
    expected_ms = guardrails.quiet_end_by_calendar_ms(quiet, known, at_ms)

    assert guardrails.quiet_end_ms(quiet, known, at_ms) == expected_ms


@pytest.mark.parametrize(
    ("moment", "end"),
    [
        (datetime(2026, 10, 25, 0, 15, tzinfo=UTC), datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        (datetime(2026, 10, 25, 1, 15, tzinfo=UTC), datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
    ],
)
def test_an_end_that_comes_twice_in_a_night_is_never_in_the_past(moment: datetime, end: datetime) -> None:
    hours = guarded(quiet_hours={"start": "22:00", "end": "02:30", "channels": ["sms"]}).guardrails.quiet_hours
    assert guardrails.quiet_end_ms(hours, WILLING, to_ms(moment)) == to_ms(end)


def test_an_unknown_zone_can_be_configured_away() -> None:
    catalogue = guarded(quiet_hours={"unknown_zone": "Europe/Vienna", "channels": ["sms"]})
    assert passing([SMS], situation(profile(time_zone=""), catalogue=catalogue))[0] == [SMS]
    night = situation(profile(time_zone=""), catalogue=catalogue, at_ms=NOON_MS + 9 * HOUR_MS + MINUTE_MS)
    assert passing([SMS], night)[1] == "quiet_hours"


def test_only_the_highest_priority_remains() -> None:
    gift = ACTIONS["birthday-gift"]
    assert most_urgent(passing([COUPON, gift, SURVEY], situation())[0]) == [gift]
    assert most_urgent([]) == []


def test_the_reason_is_what_stopped_the_last_candidate() -> None:
    allowed, code, sentence = passing(
        [COUPON, CALL], situation(profile(marketing=False, phone=True), [contact(1, CALL)])
    )
    assert (allowed, code) == ([], "cooldown")
    assert "care-call" in sentence
