"""What becomes of one message: sent, delivered, opened, clicked, answered, resented; and how it changes the customer.

Draws are keyed by (customer, day, number of the message that day), never by the action: the same luck meets every
action, so the outcomes of all actions at one decision time are drawn at once, and a policy is judged against them.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stream_app.core.events import FeedbackEvent
from stream_app.core.times import HOUR_MS, MINUTE_MS, SECOND_MS, from_ms
from stream_app.core.topics import Topic
from stream_app.simulation.actions import COUPON, COUPON_DAYS, SURVEY
from stream_app.simulation.dynamics import State, contact
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.people import Flags, Kind, People
from stream_app.simulation.randomness import Chance, Floats, Keys

BOUNCE = 0.015
"""Share of messages that reach nobody, and so do nothing."""
FeedbackKind = Literal[
    "sent", "delivered", "opened", "clicked", "redeemed", "responded", "unsubscribed", "complained", "bounced"
]
_OPENED = {"email": 0.34, "sms": 0.7, "push": 0.25, "phone": 0.5, "onsite": 0.4}
_CLICKED = {
    Kind.PERSUADABLE: 0.35,
    Kind.SURE_THING: 0.25,
    Kind.LOST_CAUSE: 0.08,
    Kind.SLEEPING_DOG: 0.06,
    Kind.COUPON_LOVER: 0.4,
}
_ANSWERING = frozenset({2, 3, 7, 8})
"""Action kinds that ask for an answer: VIP service, personal care, survey, interactive activity."""
_DEPARTED_INTEREST, _WEARY = 0.3, 0.15
_RESENTED, _RESENTED_PER_FATIGUE, _DOG_RESENTMENT = 0.004, 0.006, 5.0
_COMPLAINING = 0.25
"""Share of the unsubscribed who complain, too."""
_COMPLAINT_AFTER_ALL = 0.3
"""Probability of a complaint about a message after unsubscribing."""
_COUPON_MS = COUPON_DAYS * 24 * HOUR_MS


@dataclass(slots=True)
class _History:
    """What one customer has had from the shop's messages."""

    day: int = -1
    today: int = 0
    unsubscribed: bool = False
    coupon_id: str = ""
    coupon_until_ms: int = 0


@dataclass(slots=True)
class _Letter:
    """One message on its way, and what is told about it."""

    chance: Chance
    key: Keys
    day: int
    item: int
    customer_id: str
    intervention_id: str
    channel: str
    at_ms: int
    found: list[SimulatedEvent] = field(default_factory=list)

    def luck(self, purpose: str) -> float:
        return float(self.chance.uniforms(purpose, self.key, self.day, self.item)[0])

    def tell(self, kind: FeedbackKind, delay_ms: float, detail: str | None = None) -> None:
        moment = self.at_ms + int(delay_ms)
        self.found.append(_feedback(self.customer_id, self.intervention_id, kind, moment, self.channel, detail))

    def read(self, kind: Kind, action: int, interest: float, fatigue: float, delay_ms: float) -> bool:
        """Tell how the customer takes a delivered message; return whether that ends in an unsubscription."""
        if self.luck("open") >= _OPENED.get(self.channel, _OPENED["email"]) * interest:
            return False
        read_ms = delay_ms + MINUTE_MS * (1 + 600 * self.luck("open delay") ** 3)
        self.tell("opened", read_ms)
        if self.luck("click") < _CLICKED[kind] * interest:
            self.tell("clicked", read_ms + 30 * SECOND_MS)
        if action in _ANSWERING and self.luck("respond") < (0.35 if action == SURVEY else 0.25) * interest:
            self.tell("responded", read_ms + 5 * MINUTE_MS)
        resentment = _resentment(kind, fatigue)
        resent = self.luck("resent")
        if resent >= resentment:
            return False
        self.tell("unsubscribed", read_ms + MINUTE_MS)
        if resent < _COMPLAINING * resentment:
            self.tell("complained", read_ms + 2 * MINUTE_MS, "too many messages")
        return True


def _interest(alive: bool, fatigue: float) -> float:
    return (1.0 if alive else _DEPARTED_INTEREST) * float(np.exp(-_WEARY * fatigue))


def _resentment(kind: Kind, fatigue: float) -> float:
    resentment = _RESENTED + _RESENTED_PER_FATIGUE * float(fatigue**1.5)
    return resentment * (_DOG_RESENTMENT if kind is Kind.SLEEPING_DOG else 1.0)


def _feedback(
    customer_id: str,
    intervention_id: str,
    kind: FeedbackKind,
    at_ms: int,
    channel: str | None = None,
    detail: str | None = None,
) -> SimulatedEvent:
    event = FeedbackEvent(
        customer_id=customer_id,
        timestamp=from_ms(at_ms),
        event_id=f"{intervention_id[:112]}:{kind}",
        intervention_id=intervention_id,
        kind=kind,
        channel=channel,
        detail=detail,
    )
    value = event.model_dump_json(exclude_none=True).encode()
    return SimulatedEvent(Topic.FEEDBACK, customer_id, at_ms, value, customer_id)


def read_by(
    people: People, state: State, channels: NDArray[np.str_], reached: Flags, chance: Chance, day: int
) -> tuple[Flags, Flags, Flags]:
    """Return who of many customers clicks on a message, unsubscribes over it, and complains: as `Messages` has it.

    Parameters
    ----------
    people, state
        Whom it is sent to, as they are before they feel it.
    channels
        Of each message.
    reached
        Who has not bounced.
    chance, day
        The shop's; the message is the first of the day.
    """
    opened_shares = np.array([_OPENED.get(channel, _OPENED["email"]) for channel in channels.tolist()])
    clicked_shares = np.array([_CLICKED[kind] for kind in Kind])[people.kind]
    interest = np.where(state.alive, 1.0, _DEPARTED_INTEREST) * np.exp(-_WEARY * state.fatigue)
    opened = reached & (chance.uniforms("open", people.key, day) < opened_shares * interest)
    clicked = opened & (chance.uniforms("click", people.key, day) < clicked_shares * interest)
    resentment = np.array([_resentment(Kind.SURE_THING, fatigue) for fatigue in state.fatigue.tolist()])
    resentment *= np.where(people.kind == Kind.SLEEPING_DOG, _DOG_RESENTMENT, 1.0)
    resent = chance.uniforms("resent", people.key, day)
    return clicked, opened & (resent < resentment), opened & (resent < _COMPLAINING * resentment)


def penalised(people: People, state: State, channel: str) -> tuple[Floats, Floats]:
    """Return the probabilities that a message now would end in an unsubscription and in a complaint."""
    interest = np.where(state.alive, 1.0, _DEPARTED_INTEREST) * np.exp(-_WEARY * state.fatigue)
    resentment = (_RESENTED + _RESENTED_PER_FATIGUE * state.fatigue**1.5) * np.where(
        people.kind == Kind.SLEEPING_DOG, _DOG_RESENTMENT, 1.0
    )
    unsubscribing = (1.0 - BOUNCE) * _OPENED.get(channel, _OPENED["email"]) * interest * resentment
    return unsubscribing, _COMPLAINING * unsubscribing


@dataclass(slots=True)
class Messages:
    """Applies messages to a shop's state and tells what becomes of them."""

    chance: Chance
    people: People
    state: State
    effects: bool
    _history: dict[int, _History] = field(default_factory=dict)
    contacts: int = 0
    """Messages sent so far."""

    def send(
        self, number: int, name: str, intervention_id: str, action: int, channel: str, day: int, at_ms: int
    ) -> list[SimulatedEvent]:
        """Send a message to customer `number`; returns its feedback, in order of time.

        Parameters
        ----------
        number
            Row of the customer in `people`.
        name
            Customer id.
        intervention_id
            Comes back in all feedback.
        action
            Index into `ACTION_KINDS`.
        channel
            email, sms, push, phone or onsite; others are read like e-mail.
        day
            The day from which the message is felt.
        at_ms
            When it is sent, ms since the epoch.
        """
        history = self._history.setdefault(number, _History())
        if history.day != day:
            history.day, history.today = day, 0
        item = history.today
        history.today += 1
        self.contacts += 1
        letter = _Letter(
            self.chance, self.people.key[number : number + 1], day, item, name, intervention_id, channel, at_ms
        )
        delay_ms = (5 + 90 * letter.luck("send delay")) * SECOND_MS
        letter.tell("sent", delay_ms)
        if letter.luck("bounce") < BOUNCE:
            letter.tell("bounced", delay_ms + 10 * SECOND_MS, "mailbox unavailable")
            return letter.found
        letter.tell("delivered", delay_ms + 20 * SECOND_MS)
        alive, fatigue = bool(self.state.alive[number]), float(self.state.fatigue[number])
        if self.effects:
            self._feel(number, action, driven_away=letter.luck("driven away"))
        if action == COUPON:
            history.coupon_id, history.coupon_until_ms = intervention_id, at_ms + _COUPON_MS
        if history.unsubscribed:
            if letter.luck("resent") < _COMPLAINT_AFTER_ALL:
                letter.tell("complained", delay_ms + HOUR_MS, "contacted after unsubscribing")
            return letter.found
        interest = _interest(alive, fatigue)
        history.unsubscribed = letter.read(Kind(self.people.kind[number]), action, interest, fatigue, delay_ms)
        return letter.found

    def _feel(self, number: int, action: int, *, driven_away: float) -> None:
        who = np.array([number], dtype=np.int64)
        one = self.state.rows(who)
        leaving = contact(self.people.rows(who), one, action)
        if driven_away < leaving[0]:
            one.alive[:] = False
        for name in ("alive", "mood", "boost", "fatigue", "coupon_days", "wait"):
            getattr(self.state, name)[who] = getattr(one, name)

    def redeemed(self, number: int, name: str, at_ms: int) -> SimulatedEvent | None:
        """Return the feedback that an order used the customer's newest coupon, or None when there is none to name."""
        history = self._history.get(number)
        if history is None or not history.coupon_id:
            return None
        intervention_id, history.coupon_id = history.coupon_id, ""
        if at_ms > history.coupon_until_ms + 24 * HOUR_MS:
            return None
        return _feedback(name, intervention_id, "redeemed", at_ms)
