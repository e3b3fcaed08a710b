"""The deterministic filters: each says in a sentence why an action may not be taken now, or None.

Information that is missing counts against contact. Every function looks at one action in one situation and changes
nothing.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from stream_app.core.ledger import Contact, Ledger
from stream_app.core.state import ProfileState
from stream_app.core.times import DAY_MS, HOUR_MS, from_ms, to_ms
from stream_app.decisions.catalogue import Action, Cap, Catalogue, QuietHours
from stream_app.decisions.local_time import clock_ms, moments_of, steady_offset_ms
from stream_app.decisions.signals import zone_of
from stream_app.decisions.types import DecisionPoint

ALL_CHANNELS = "all"
"""Stands among unsubscribed channels for every channel."""


class Situation(msgspec.Struct, frozen=True):
    """What a guardrail looks at, besides the action."""

    point: DecisionPoint
    now_ms: int
    ledger: Ledger
    catalogue: Catalogue

    @property
    def reserved(self) -> list[Contact]:
        """Contacts that count: those sent, and those that the holdout or a shadow action would have got."""
        return self.ledger.contacts + self.ledger.would_be if self.ledger.would_be else self.ledger.contacts


Guard = Callable[[Action, Situation], str | None]


def profiling(_action: Action, situation: Situation) -> str | None:
    """Respect a no to profiling."""
    profile = situation.point.facts.profile
    if situation.point.facts.erased or (profile is not None and profile.profiling is False):
        return "The customer does not want to be profiled."
    return None


def stale_data(_action: Action, situation: Situation) -> str | None:
    """Do not act on what is long past."""
    limit_hours = situation.catalogue.guardrails.stale_hours
    if situation.now_ms - situation.point.at_ms > limit_hours * HOUR_MS:
        return f"The event is more than {limit_hours:g} hours behind the newest one: what is known may be outdated."
    return None


def consent(action: Action, situation: Situation) -> str | None:
    """Ask for consent to the channel, and to marketing where the purpose is marketing. A stated no always holds."""
    profile = situation.point.facts.profile
    unknown_is_fine = situation.catalogue.guardrails.unknown_consent == "allow"
    needed = (action.channel,) if action.purpose == "service" else ("marketing", action.channel)
    for what in needed:
        stated: bool | None = getattr(profile, what) if profile is not None else None
        if stated is False:
            return f"The customer said no to {what}."
        if stated is None and not unknown_is_fine:
            return f"No consent to {what} is known."
    return None


def unsubscribed(action: Action, situation: Situation) -> str | None:
    """Respect an unsubscription: from one channel, or from all."""
    facts = situation.point.facts
    if facts.unsubscribed_ms and (
        not facts.unsubscribed_channels
        or ALL_CHANNELS in facts.unsubscribed_channels
        or action.channel in facts.unsubscribed_channels
    ):
        return f"The customer unsubscribed ({', '.join(facts.unsubscribed_channels) or ALL_CHANNELS})."
    return None


def message_complaint(_action: Action, situation: Situation) -> str | None:
    """Leave in peace who complained about our messages."""
    since_ms = situation.point.facts.message_complaint_ms
    days = situation.catalogue.guardrails.message_complaint_days
    if since_ms and situation.now_ms - since_ms < days * DAY_MS:
        return f"The customer complained about messages within the last {days:g} days."
    return None


def complaint_cooldown(action: Action, situation: Situation) -> str | None:
    """Advertise nothing to who just complained about the shop; care is what helps then."""
    since_ms = situation.point.facts.last_complaint_ms
    days = situation.catalogue.guardrails.complaint_cooldown_days
    if action.purpose == "marketing" and since_ms and situation.now_ms - since_ms < days * DAY_MS:
        return f"The customer complained within the last {days:g} days: no marketing."
    return None


def order_cooldown(action: Action, situation: Situation) -> str | None:
    """Do not sell to who has just bought."""
    since_ms = situation.point.facts.last_order_ms
    hours = situation.catalogue.guardrails.order_cooldown_hours
    if (
        action.purpose == "marketing"
        and "order" not in action.signals
        and since_ms
        and situation.now_ms - since_ms < hours * HOUR_MS
    ):
        return f"The customer ordered within the last {hours:g} hours."
    return None


def discount_dependence(action: Action, situation: Situation) -> str | None:
    """Do not teach customers to wait for discounts."""
    facts, guards = situation.point.facts, situation.catalogue.guardrails
    if (
        action.price_cut
        and facts.orders >= guards.discount_min_orders
        and facts.discount_share > guards.discount_share_limit
    ):
        return f"{facts.discount_share:.0%} of the customer's orders were discounted: no further price cuts."
    return None


def action_cooldown(action: Action, situation: Situation) -> str | None:
    """Keep a distance between two contacts with the same action."""
    span_ms = action.cooldown_days * DAY_MS
    if any(c.action == action.name and situation.now_ms - c.at_ms < span_ms for c in situation.reserved):
        return f"{action.name} was used within the last {action.cooldown_days:g} days."
    return None


def caps(action: Action, situation: Situation) -> str | None:
    """Hold the caps of the action, its channel and the total, each on its rolling window."""
    contacts = situation.reserved
    if not contacts and not _zero_caps(action, situation.catalogue):
        return None
    guards = situation.catalogue.guardrails
    now_ms = situation.now_ms
    full = _full([c for c in contacts if c.action == action.name], action.caps, now_ms)
    if full is not None:
        return f"{action.name} is capped at {full.count} in {full.days:g} days."
    full = _full(
        [c for c in contacts if c.channel == action.channel], guards.channel_caps.get(action.channel, ()), now_ms
    )
    if full is not None:
        return f"{action.channel} is capped at {full.count} in {full.days:g} days."
    full = _full(contacts, guards.total_caps, now_ms)
    if full is not None:
        return f"Contacts are capped at {full.count} in {full.days:g} days."
    return None


def quiet_hours(action: Action, situation: Situation) -> str | None:
    """Keep interruptive channels silent at night where the customer lives; an unknown zone is night."""
    quiet = situation.catalogue.guardrails.quiet_hours
    if action.channel not in quiet.channels:
        return None
    local = _local_time(quiet, situation.point.facts.profile, situation.now_ms)
    if local is None:
        return "The customer's time zone is unknown, so it may be night."
    if _is_quiet(local, quiet):
        span = f"from {quiet.start:%H:%M} to {quiet.end:%H:%M}"
        return f"It is {local:%H:%M} where the customer lives; {action.channel} is silent {span}."
    return None


def quiet_end_ms(quiet: QuietHours, profile: ProfileState | None, at_ms: int) -> int:
    """Return when the quiet hours of a customer end, or 0 if it is not quiet at `at_ms` or the zone is unknown."""
    zone_name = profile.time_zone if profile is not None else ""
    offset_ms = steady_offset_ms(zone_name, at_ms // HOUR_MS)
    if offset_ms is None:
        return quiet_end_by_calendar_ms(quiet, profile, at_ms)
    day, now_ms = divmod(at_ms + offset_ms, DAY_MS)
    start_ms, end_ms = clock_ms(quiet.start), clock_ms(quiet.end)
    if not (start_ms <= now_ms < end_ms if start_ms <= end_ms else now_ms >= start_ms or now_ms < end_ms):
        return 0
    first_ms, second_ms = moments_of(zone_name, day if now_ms < end_ms else day + 1, quiet.end)
    return first_ms if first_ms > at_ms else second_ms


def quiet_end_by_calendar_ms(quiet: QuietHours, profile: ProfileState | None, at_ms: int) -> int:
    """Return the same as `quiet_end_ms`, in hours in which clocks change, too."""
    local = _local_time(quiet, profile, at_ms)
    if local is None or not _is_quiet(local, quiet):
        return 0
    day = local.date() if local.time() < quiet.end else local.date() + timedelta(days=1)
    end = datetime.combine(day, quiet.end, tzinfo=local.tzinfo)
    end_ms = to_ms(end)
    # Where clocks go back past the end, that time comes twice, and the first may be over.
    return end_ms if end_ms > at_ms else to_ms(end.replace(fold=1))


GUARDS: tuple[tuple[str, Guard], ...] = (
    ("profiling", profiling),
    ("stale_data", stale_data),
    ("consent", consent),
    ("unsubscribed", unsubscribed),
    ("message_complaint", message_complaint),
    ("complaint_cooldown", complaint_cooldown),
    ("order_cooldown", order_cooldown),
    ("discount_dependence", discount_dependence),
    ("cooldown", action_cooldown),
    ("cap", caps),
    ("quiet_hours", quiet_hours),
)
"""Reason code and filter, in the order in which they are asked."""


def passing(actions: Iterable[Action], situation: Situation) -> tuple[list[Action], str, str]:
    """Return the actions that all guardrails let pass, and what stopped the last of the others (code and sentence)."""
    remaining: Sequence[Action] = list(actions)
    for code, guard in GUARDS:
        kept = []
        sentence = ""
        for action in remaining:
            objection = guard(action, situation)
            if objection is None:
                kept.append(action)
            else:
                sentence = objection
        if not kept:
            return [], code, sentence
        remaining = kept
    return list(remaining), "", ""


def most_urgent(allowed: Sequence[Action]) -> list[Action]:
    """Return the actions of the highest priority: a birthday gift is not drawn against promotion news."""
    highest = max((action.priority for action in allowed), default=0)
    return [action for action in allowed if action.priority == highest]


def _full(contacts: list[Contact], limits: tuple[Cap, ...], now_ms: int) -> Cap | None:
    for cap in limits:
        since_ms = now_ms - cap.days * DAY_MS
        if sum(contact.at_ms > since_ms for contact in contacts) >= cap.count:
            return cap
    return None


def _zero_caps(action: Action, catalogue: Catalogue) -> bool:
    guards = catalogue.guardrails
    return any(
        cap.count == 0 for cap in (*action.caps, *guards.channel_caps.get(action.channel, ()), *guards.total_caps)
    )


def _local_time(quiet: QuietHours, profile: ProfileState | None, at_ms: int) -> datetime | None:
    zone = zone_of(profile.time_zone) if profile is not None else None
    if zone is None and quiet.unknown_zone != "deny":
        zone = zone_of(quiet.unknown_zone)
    return from_ms(at_ms).astimezone(zone) if zone is not None else None


def _is_quiet(local: datetime, quiet: QuietHours) -> bool:
    clock = local.time()
    if quiet.start <= quiet.end:
        return quiet.start <= clock < quiet.end
    return clock >= quiet.start or clock < quiet.end
