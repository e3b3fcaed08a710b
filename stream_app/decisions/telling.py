"""The record of a "no", and how often the same one is told.

A "no" is told once per reason and day. One that stands for long (no consent, unsubscribed, ...) is told once per epoch:
a customer without consent is not news at every look.
"""

from collections.abc import Mapping
from typing import Final

from stream_app.core.hashing import stable_id
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import TIERS, Arm, Intervention, SuppressedIntervention
from stream_app.core.times import DAY_MS, day_of, from_ms
from stream_app.decisions.policy import EPOCH_DAYS
from stream_app.decisions.types import NOTHING, DecisionPoint

PROBABILITY_DIGITS: Final = 6
STANDING: Final = frozenset({"profiling", "consent", "unsubscribed", "message_complaint"})
"""Reasons that hold until the customer says otherwise."""


class Versions:
    """What stands on every record of a decider: which policy and catalogue it came from."""

    __slots__ = ("catalogue", "policy")

    def __init__(self, policy: str, catalogue: str) -> None:
        self.policy = policy
        self.catalogue = catalogue


def record_of(
    point: DecisionPoint,
    ledger: Ledger,
    arm: Arm,
    versions: Versions,
    code: str,
    sentence: str,
    action: tuple[str, str] | None = None,
    alternatives: Mapping[str, float] | None = None,
    proposal: Intervention | None = None,
) -> SuppressedIntervention:
    """Return the record of one "no", and count it in the ledger: its number is part of its id.

    Parameters
    ----------
    point, ledger, arm
        Whose it is.
    versions
        Which policy and catalogue said so.
    code, sentence
        The reason, for programs and for people.
    action
        Name and channel of what would have been done.
    alternatives
        The whole choice, where one was drawn.
    proposal
        What waits for a person.
    """
    ledger.told += 1
    drawn = dict(alternatives or {})
    return SuppressedIntervention(
        suppression_id=stable_id("sup", point.customer_id, point.at_ms, point.trigger, code, ledger.told),
        customer_id=point.customer_id,
        event_time=from_ms(point.at_ms),
        reason=code,
        detail=sentence,
        action=action[0] if action is not None else None,
        channel=action[1] if action is not None else None,
        tier=TIERS[point.tier],
        probability=round(point.probability, PROBABILITY_DIGITS),
        arm=arm,
        propensity=drawn.get(action[0] if action is not None else NOTHING) if drawn else None,
        alternatives=drawn,
        policy_version=versions.policy,
        catalogue_version=versions.catalogue,
        model_version=point.model_version,
        trigger=point.trigger,
        proposal=proposal,
    )


def is_news(point: DecisionPoint, ledger: Ledger, code: str) -> bool:
    """Say whether a "no" is to be told: not again on the day, nor in the epoch if it stands for long."""
    now_ms = point.now_ms
    if code in STANDING:
        told_ms = ledger.standing_told.get(code)
        return told_ms is None or now_ms >= told_ms + EPOCH_DAYS * DAY_MS
    return ledger.suppressed_day != day_of(now_ms) or code not in ledger.suppressed_reasons


def note_told(point: DecisionPoint, ledger: Ledger, code: str) -> None:
    """Remember that a "no" was told."""
    now_ms = point.now_ms
    if code in STANDING:
        ledger.standing_told[code] = now_ms
        return
    day = day_of(now_ms)
    told = ledger.suppressed_reasons if ledger.suppressed_day == day else ()
    ledger.suppressed_day = day
    ledger.suppressed_reasons = (*told, code)
