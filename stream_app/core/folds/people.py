"""Folds of profiles and of intervention feedback."""

from math import exp2

from stream_app.core.events import CustomerProfile, FeedbackEvent
from stream_app.core.state import ContactState, ProfileState
from stream_app.core.times import DAY_MS, to_ms

_HALF_LIFE_DAYS = 30
_COUNTER_OF_KIND = {"sent": "sent_30d", "opened": "opened_30d", "clicked": "clicked_30d", "redeemed": "redeemed_30d"}


def profile_of(event: CustomerProfile, at_ms: int) -> ProfileState:
    """Return the profile that an event states; what it leaves out is unknown, not unchanged."""
    consent = event.consent
    return ProfileState(
        at_ms=at_ms,
        marketing=consent.marketing,
        email=consent.email,
        sms=consent.sms,
        push=consent.push,
        phone=consent.phone,
        onsite=consent.onsite,
        profiling=consent.profiling,
        birthday_month=event.birthday.month if event.birthday else 0,
        birthday_day=event.birthday.day if event.birthday else 0,
        time_zone=event.time_zone or "",
        language=event.language or "",
        region=event.region or "",
        signed_up_ms=to_ms(event.signed_up_at) if event.signed_up_at else 0,
        loyalty_tier=event.loyalty_tier or "",
        attributes=tuple(sorted(event.attributes.items())),
    )


def fold_feedback(contact: ContactState, event: FeedbackEvent, at_ms: int) -> None:
    """Apply one report of what became of an intervention; an approval is none, but an answer to a proposal."""
    if event.kind == "approved":
        return
    days = (at_ms - contact.decayed_at_ms) / DAY_MS if contact.decayed_at_ms else 0.0
    weight = 1.0
    if days >= 0:
        fade = exp2(-days / _HALF_LIFE_DAYS)
        contact.sent_30d *= fade
        contact.opened_30d *= fade
        contact.clicked_30d *= fade
        contact.redeemed_30d *= fade
        contact.decayed_at_ms = at_ms
    else:
        weight = exp2(days / _HALF_LIFE_DAYS)
    if event.kind == "opened":
        contact.opened += 1
    elif event.kind == "clicked":
        contact.clicked += 1
    elif event.kind == "responded":
        contact.responded += 1
    counter = _COUNTER_OF_KIND.get(event.kind)
    if counter is not None:
        setattr(contact, counter, getattr(contact, counter) + weight)
    elif event.kind == "bounced":
        contact.bounced += 1
    elif event.kind == "complained":
        contact.complained_ms = max(contact.complained_ms, at_ms)
    elif event.kind == "unsubscribed":
        contact.unsubscribed_ms = max(contact.unsubscribed_ms, at_ms)
        channel = event.channel or "all"
        contact.unsubscribed_channels = tuple(sorted({*contact.unsubscribed_channels, channel}))
    contact.last_ms = max(contact.last_ms, at_ms)
