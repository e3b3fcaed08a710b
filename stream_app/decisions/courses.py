"""The course of a customer: what a decision today leaves behind for the next one, and what the last ones left.

A policy that looks further than one window needs to tell customers apart by what was already tried with them: messages
tire, an offer that comes again works otherwise than the first, a coupon teaches to wait for coupons. The columns are
made from facts and ledger alone, not from a score, so that they can be noted at the draw and once more when its window
ends: every outcome then tells a whole step: where the customer was, what was drawn, what came of it, where that led.

Who was contacted often differs from who was not by more than the contacts: they were chosen. What contacts leave behind
is therefore also told by surprises: draws less their logged probabilities, which no trait of the customer explains.
"""

import math
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.core.compact import single
from stream_app.core.facts import Facts
from stream_app.core.ledger import Ledger
from stream_app.core.times import DAY_MS
from stream_app.decisions.types import NOTHING

COURSE: Final = (
    "ln_recency",
    "ln_rate",
    "overdue",
    "ln_orders",
    "fatigue",
    "response",
    "discount_share",
    "unhappiness",
    "unreachable",
    "freshness",
    "contacts",
    "answered",
    "after_incentive",
    "ln_value",
    "idle_month",
    "contact_surprise",
    "incentive_surprise",
)
"""`overdue`: orders that were to be expected since the last one; `unreachable`: unsubscribed from a channel;
`freshness`: how fresh the last contact is; `contacts`: how many in `MEMORY_DAYS`; `answered`: an order followed the
last one; `after_incentive`: the last one gave something away; `idle_month`: how probable it is, by rate alone, that 30
days pass without an order; the surprises are `core.ledger.Ledger.surprise`, faded."""
USUAL: Final = (
    "ln_recency",
    "ln_rate",
    "overdue",
    "ln_orders",
    "response",
    "discount_share",
    "unhappiness",
    "unreachable",
    "ln_value",
    "idle_month",
    "contact_surprise",
    "incentive_surprise",
)
"""What orders depend on where nothing is sent: of contacts, only surprises."""
STEP: Final = ("ln_recency", "freshness", "contacts", "answered", "after_incentive", "repeated")
"""What uplifts depend on, besides `decisions.policy.CONTEXT`. `repeated`: it is the action of the last contact."""
MEMORY_DAYS: Final = 45.0
"""Contacts before are forgotten: ledgers keep them at least so long."""
USUAL_CLICKS: Final = 0.2
FATIGUE_LIMIT: Final = 4.0
_FRESH_DAYS: Final = 14.0
_MOST_OVERDUE: Final = 5.0
_MOST_RECENCY_DAYS: Final = 365.0
_HALF_LIFE_DAYS: Final = 90.0
_MONTH_DAYS: Final = 30.0
_LN2: Final = math.log(2.0)
_OF_STEP: Final = tuple(COURSE.index(name) for name in STEP[:-1])
Floats = NDArray[np.float64]


class Course(NamedTuple):
    """Where a customer stands."""

    columns: tuple[float, ...]
    """Values of `COURSE`."""
    last_action: str = ""
    """Action of the last contact, empty where none is remembered."""

    def step(self, action: str) -> tuple[float, ...]:
        """Return the values of `STEP` for an action."""
        return (*(self.columns[index] for index in _OF_STEP), float(action == self.last_action))

    def surprise_after(
        self, drawn: str, probabilities: Mapping[str, float], incentives: Collection[str]
    ) -> tuple[float, float]:
        """Return the surprises of contacts and incentives once something was drawn, in the precision that is stored."""
        contact = probabilities[NOTHING] - (drawn == NOTHING)
        given = (drawn in incentives) - sum(p for name, p in probabilities.items() if name in incentives)
        return single(self.columns[-2] + contact), single(self.columns[-1] + given)


def course_of(facts: Facts, ledger: Ledger, at_ms: int, incentives: Collection[str]) -> Course:
    """Return where a customer stands at a moment.

    Parameters
    ----------
    facts, ledger
        Of the customer.
    at_ms
        Event time; contacts that were made at it count.
    incentives
        Names of the actions that give something away.
    """
    sent, clicked = facts.messages_30d(at_ms)
    recency_days = min((at_ms - facts.last_order_ms) / DAY_MS, _MOST_RECENCY_DAYS) if facts.orders else 0.0
    recency_days = max(0.0, recency_days)
    fade = 2.0 ** (-max(0, at_ms - facts.order_days_at_ms) / DAY_MS / _HALF_LIFE_DAYS)
    per_90d = facts.order_days_90d * fade * _LN2
    recent = [each for each in ledger.contacts if at_ms - each.at_ms < MEMORY_DAYS * DAY_MS]
    last = recent[-1] if recent else None
    fresh = 2.0 ** (-(at_ms - ledger.drawn_at_ms) / DAY_MS / _FRESH_DAYS) if ledger.drawn_at_ms else 0.0
    columns = (
        math.log1p(recency_days),
        math.log1p(per_90d),
        min(per_90d / _HALF_LIFE_DAYS * recency_days, _MOST_OVERDUE),
        math.log1p(facts.orders),
        min(sent, FATIGUE_LIMIT),
        (clicked + USUAL_CLICKS) / (sent + 1.0) - USUAL_CLICKS,
        facts.discount_share,
        max(0.0, -facts.sentiment),
        float(bool(facts.unsubscribed_channels or facts.unsubscribed_ms)),
        2.0 ** (-(at_ms - last.at_ms) / DAY_MS / _FRESH_DAYS) if last is not None else 0.0,
        float(len(recent)),
        float(last is not None and facts.last_order_ms > last.at_ms),
        float(last is not None and last.action in incentives),
        math.log1p(facts.value_at_stake(at_ms)),
        math.exp(-per_90d / _HALF_LIFE_DAYS * _MONTH_DAYS),
        ledger.surprise[0] * fresh,
        ledger.surprise[1] * fresh,
    )
    return Course(columns, last.action if last is not None else "")


class Trail(NamedTuple):
    """The same as `course_of` looks at, of many customers; each field has a row a customer."""

    recency_days: Floats
    decayed_order_days: Floats
    """Decayed count of order days (half-life 90 days)."""
    orders: Floats
    sent: Floats
    clicked: Floats
    discount_share: Floats
    unhappiness: Floats
    unreachable: Floats
    contact_age_days: Floats
    """Of the last contact; infinite where none is remembered."""
    contacts: Floats
    answered: Floats
    after_incentive: Floats
    values: Floats
    """At stake, shop currency."""
    surprises: Floats
    """(customer, contacts and incentives), faded."""


def course_matrix(trail: Trail) -> Floats:
    """Return the columns of `COURSE` of many customers, (customer, column), as `course_of` does for one."""
    recency = np.clip(trail.recency_days, 0.0, _MOST_RECENCY_DAYS)
    per_90d = trail.decayed_order_days * _LN2
    return np.column_stack(
        [
            np.log1p(recency),
            np.log1p(per_90d),
            np.minimum(per_90d / _HALF_LIFE_DAYS * recency, _MOST_OVERDUE),
            np.log1p(trail.orders),
            np.minimum(trail.sent, FATIGUE_LIMIT),
            (trail.clicked + USUAL_CLICKS) / (trail.sent + 1.0) - USUAL_CLICKS,
            trail.discount_share,
            trail.unhappiness,
            trail.unreachable,
            2.0 ** (-trail.contact_age_days / _FRESH_DAYS),
            trail.contacts,
            trail.answered,
            trail.after_incentive,
            np.log1p(trail.values),
            np.exp(-per_90d / _HALF_LIFE_DAYS * _MONTH_DAYS),
            trail.surprises,
        ]
    )


def step_matrix(courses: Floats, repeated: Floats) -> Floats:
    """Return the columns of `STEP` of many customers for one action, (customer, column), as `Course.step` does."""
    return np.column_stack([courses[:, list(_OF_STEP)], repeated])
