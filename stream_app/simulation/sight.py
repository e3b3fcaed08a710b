"""What the engine would see of all customers of a shop, as columns, and what the guardrails would let pass.

It stands in for folds, facts and guardrails where millions of decisions are to be judged; a law compares both, column
by column and action by action.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.core.events import CustomerProfile
from stream_app.core.outputs import TIERS
from stream_app.core.times import DAY_MS, from_ms
from stream_app.decisions.catalogue import CHANNELS, Action, Cap, Catalogue
from stream_app.decisions.courses import MEMORY_DAYS, Trail, course_matrix
from stream_app.decisions.policy import context_matrix
from stream_app.decisions.signals import days_to_birthday
from stream_app.simulation.announcements import profile_values
from stream_app.simulation.people import Flags
from stream_app.simulation.places import Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.shop import Shop

NOON_MS = DAY_MS // 2
THRESHOLDS = (0.35, 0.6, 0.8)
_LN2 = float(np.log(2.0))
_HALF_LIFE_DAYS = 90.0
_FRESH_DAYS = 14.0
_MESSAGE_FADE = 0.5 ** (1 / 30)
_ORDER_FADE = 0.5 ** (1 / _HALF_LIFE_DAYS)
_PRIOR_WEIGHT = 0.25
_NEVER = -100_000


class View(NamedTuple):
    """Some customers at a decision."""

    who: Indexes
    context: Floats
    """(customer, column of `decisions.policy.CONTEXT`)."""
    seen: Floats
    """(customer, column): the context and more, for an oracle."""
    tier: Indexes
    probability: Floats
    """Churn probability, by the prior."""
    stake: Floats
    """Value at stake, shop currency."""
    usual_order: Floats
    allowed: Flags
    """(customer, action in the order of the catalogue)."""
    courses: Floats
    """(customer, column of `decisions.courses.COURSE`)."""
    last_action: Indexes
    """Of the last contact that is remembered, in the order of the catalogue; -1 for none."""

    def only(self, rows: Flags | Indexes) -> "View":
        """Return some of the customers."""
        return View(
            self.who[rows],
            self.context[rows],
            self.seen[rows],
            self.tier[rows],
            self.probability[rows],
            self.stake[rows],
            self.usual_order[rows],
            self.allowed[rows],
            self.courses[rows],
            self.last_action[rows],
        )


@dataclass(slots=True)
class Sight:
    """Columns over the customers of a shop: what its events say, kept up by `ordered`, `messaged` and `next_day`.

    Parameters
    ----------
    shop
        One that has not begun.
    catalogue
        What can be done.
    """

    shop: Shop
    catalogue: Catalogue
    orders: Indexes
    total: Floats
    discounted: Indexes
    count_90d: Floats
    last_order_day: Indexes
    sent_30d: Floats
    clicked_30d: Floats
    unsubscribed: Flags
    """(customer, channel)."""
    complained_day: Indexes
    sent_on: dict[int, Flags]
    """By day of decision: (customer, action) of what was sent, or would have been to the holdout."""
    consents: Flags
    """(customer, action): profile and consent let the action pass."""
    profiles: tuple[CustomerProfile, ...]
    contacted_on: dict[int, Flags]
    """By day of decision: who was sent something."""
    last_contact_day: Indexes
    last_contact: Indexes
    """Action of the last contact, in the order of the catalogue."""
    surprises: Floats
    """(customer, contacts and incentives) that were drawn beyond what was to be expected, as of `drawn_on`."""
    drawn_on: Indexes
    """Day of the last draw."""

    @classmethod
    def of(cls, shop: Shop, catalogue: Catalogue) -> "Sight":
        """Return the sight of a shop before its first day."""
        count = len(shop.people)
        _, values = profile_values(shop.people, shop.chance, shop.config.first_day, np.arange(count), shop.names)
        profiles = [CustomerProfile.model_validate(orjson.loads(value)) for value in values]
        return cls(
            shop=shop,
            catalogue=catalogue,
            orders=np.zeros(count, dtype=np.int64),
            total=np.zeros(count),
            discounted=np.zeros(count, dtype=np.int64),
            count_90d=np.zeros(count),
            last_order_day=np.full(count, _NEVER, dtype=np.int64),
            sent_30d=np.zeros(count),
            clicked_30d=np.zeros(count),
            unsubscribed=np.zeros((count, len(CHANNELS)), dtype=np.bool_),
            complained_day=np.full(count, _NEVER, dtype=np.int64),
            sent_on={},
            consents=np.array([[_consents(profile, action) for action in catalogue.actions] for profile in profiles]),
            profiles=tuple(profiles),
            contacted_on={},
            last_contact_day=np.full(count, _NEVER, dtype=np.int64),
            last_contact=np.full(count, -1, dtype=np.int64),
            surprises=np.zeros((count, 2)),
            drawn_on=np.full(count, _NEVER, dtype=np.int64),
        )

    def ordered(self, who: Indexes, paid: Floats, discounts: Floats, day: int) -> None:
        """Note the orders of a day."""
        self.orders[who] += 1
        self.total[who] += paid
        self.discounted[who] += discounts > 0
        self.count_90d[who] += 1.0
        self.last_order_day[who] = day

    def messaged(self, who: Indexes, actions: Indexes, clicked: Flags, day: int) -> None:
        """Note messages that were sent, by action in the order of the catalogue."""
        contacted = np.zeros(len(self.orders), dtype=np.bool_)
        contacted[who] = True
        self.contacted_on[day] = contacted
        self.last_contact_day[who] = day
        self.last_contact[who] = actions
        self.sent_30d[who] += 1.0
        self.clicked_30d[who] += clicked

    def drawn(self, view: "View", action: Indexes, chosen: Floats, day: int) -> None:
        """Note draws, by column of what they were drawn from: 0 is nothing."""
        given = np.array([0.0, *(each.name in self.catalogue.incentives for each in self.catalogue.actions)])
        self.surprises[view.who] = view.courses[:, -2:]
        self.surprises[view.who, 0] += chosen[:, 0] - (action == 0)
        self.surprises[view.who, 1] += given[action] - chosen @ given
        self.drawn_on[view.who] = day

    def next_day(self) -> None:
        """Let everything fade by a day."""
        self.count_90d *= _ORDER_FADE
        self.sent_30d *= _MESSAGE_FADE
        self.clicked_30d *= _MESSAGE_FADE

    def view(self, who: Indexes, day: int) -> View:
        """Return some customers, who have ordered, as decisions of a timer on the noon of a day would see them."""
        orders = self.orders[who]
        usual = self.total[who] / np.maximum(orders, 1)
        stake = self._stakes(who)
        rate = self.count_90d[who] * _LN2 / _HALF_LIFE_DAYS
        rate = (rate + _PRIOR_WEIGHT * rate.mean()) / (1.0 + _PRIOR_WEIGHT)
        probability = np.exp(-30.0 * rate)
        tier = np.searchsorted(np.array(THRESHOLDS), probability, side="right")
        discount_share = self.discounted[who] / np.maximum(orders, 1)
        context = context_matrix(
            tier,
            discount_share,
            np.zeros(len(who)),
            stake,
            self.sent_30d[who],
            self.clicked_30d[who],
            probability,
        )
        more = (
            probability,
            np.log1p(day - self.last_order_day[who]),
            np.log1p(orders),
            np.log1p(self.count_90d[who]),
            np.log1p(usual),
            np.log1p(self.clicked_30d[who]),
            np.log1p(self.sent_30d[who]),
            np.log1p(self.discounted[who]),
            self.unsubscribed[who].any(axis=1).astype(np.float64),
        )
        seen = np.column_stack([context, *more])
        allowed = self._allowed(who, day, tier, stake, probability)
        courses, last = self.courses(who, day)
        return View(who, context, seen, tier, probability, stake, usual, allowed, courses, last)

    def _stakes(self, who: Indexes) -> Floats:
        usual = self.total[who] / np.maximum(self.orders[who], 1)
        stakes: Floats = usual * np.maximum(1.0, self.count_90d[who] * _LN2)
        return stakes

    def courses(self, who: Indexes, day: int) -> tuple[Floats, Indexes]:
        """Return where some customers stand on the noon of a day, and their last actions, as `course_of` tells it."""
        age_days = (day - self.last_contact_day[who]).astype(np.float64)
        remembered = age_days < MEMORY_DAYS
        last = np.where(remembered, self.last_contact[who], -1)
        names = self.catalogue.incentives
        gives = np.array([*(action.name in names for action in self.catalogue.actions), False])
        recent = [flags[who] for on, flags in self.contacted_on.items() if day - on < MEMORY_DAYS]
        orders = self.orders[who]
        trail = Trail(
            recency_days=np.where(orders > 0, day - 0.5 - self.last_order_day[who], 0.0),
            decayed_order_days=self.count_90d[who],
            orders=orders.astype(np.float64),
            sent=self.sent_30d[who],
            clicked=self.clicked_30d[who],
            discount_share=self.discounted[who] / np.maximum(orders, 1),
            unhappiness=np.zeros(len(who)),
            unreachable=np.asarray(self.unsubscribed[who].any(axis=1), dtype=np.float64),
            contact_age_days=np.where(remembered, age_days, np.inf),
            contacts=np.sum(recent, axis=0, dtype=np.float64) if recent else np.zeros(len(who)),
            answered=(remembered & (self.last_order_day[who] >= self.last_contact_day[who])).astype(np.float64),
            after_incentive=gives[last].astype(np.float64),
            values=self._stakes(who),
            surprises=self.surprises[who] * 2.0 ** (-(day - self.drawn_on[who]) / _FRESH_DAYS)[:, None],
        )
        return course_matrix(trail), last

    def _allowed(self, who: Indexes, day: int, tier: Indexes, stake: Floats, probability: Floats) -> Flags:
        guards, actions = self.catalogue.guardrails, self.catalogue.actions
        everybody = np.ones(len(who), dtype=np.bool_)
        signals = {"risk": tier >= 1, "routine": everybody, "birthday": self._birthday(who, day)}
        nobody = np.zeros(len(who), dtype=np.bool_)
        after_order_days = (day + 0.5 - (self.last_order_day[who] + 1.0)) * 24 >= guards.order_cooldown_hours
        dependent = (self.orders[who] >= guards.discount_min_orders) & (
            self.discounted[who] / np.maximum(self.orders[who], 1) > guards.discount_share_limit
        )
        resting = day - self.complained_day[who] < guards.message_complaint_days
        longest = self.catalogue.memory_days
        recent = [(day - on, sent[who].astype(np.float32)) for on, sent in self.sent_on.items() if day - on < longest]
        columns = []
        for index, action in enumerate(actions):
            fits = np.logical_or.reduce([signals.get(signal, nobody) for signal in action.signals])
            fits &= np.isin(tier, [TIERS.index(name) for name in action.tiers])
            fits &= (self.orders[who] >= action.min_orders) & (stake >= action.min_value)
            fits &= (probability * stake >= action.min_expected_loss) & self.consents[who, index]
            fits &= ~self.unsubscribed[who, CHANNELS.index(action.channel)] & ~resting
            if not action.sentiment[0] <= 0.0 <= action.sentiment[1] or action.mode == "off":
                fits &= False
            if action.purpose == "marketing" and "order" not in action.signals:
                fits &= after_order_days
            if action.price_cut:
                fits &= ~dependent
            of_action = np.array([other is action for other in actions])
            fits &= _count(recent, of_action, action.cooldown_days) == 0
            of_channel = np.array([other.channel == action.channel for other in actions])
            limits: list[tuple[Flags, Cap]] = [(of_action, cap) for cap in action.caps]
            limits += [(of_channel, cap) for cap in guards.channel_caps.get(action.channel, ())]
            limits += [(np.ones(len(actions), dtype=np.bool_), cap) for cap in guards.total_caps]
            for which, cap in limits:
                fits &= _count(recent, which, cap.days) < cap.count
            columns.append(fits)
        allowed = np.column_stack(columns)
        priority = np.where(allowed, np.array([action.priority for action in actions]), -(10**9))
        urgent: Flags = allowed & (priority == priority.max(axis=1, keepdims=True))
        return urgent

    def _birthday(self, who: Indexes, day: int) -> Flags:
        at_ms = (self.shop.config.first_day + day) * DAY_MS + NOON_MS
        limit = self.catalogue.guardrails.birthday_days
        soon = {from_ms(at_ms + n * DAY_MS).month for n in range(-1, limit + 2)}
        found = []
        for number in who.tolist():
            profile = self.profiles[number]
            born = profile.birthday
            found.append(
                born is not None
                and born.month in soon
                and days_to_birthday(born.month, born.day, at_ms, profile.time_zone or "") <= limit
            )
        return np.array(found, dtype=np.bool_)


def _count(recent: list[tuple[int, NDArray[np.float32]]], which: Flags, days: float) -> NDArray[np.float32]:
    """Count, by customer, what was sent of some actions in the last so many days; `recent` is (days ago, sent)."""
    weights = which.astype(np.float32)
    counts = np.zeros(1, dtype=np.float32)
    for ago, sent in recent:
        if ago < days:
            counts = counts + sent @ weights
    return counts


def _consents(profile: CustomerProfile, action: Action) -> bool:
    given = profile.consent
    if given.profiling is False:
        return False
    needed = (action.channel,) if action.purpose == "service" else ("marketing", action.channel)
    return all(getattr(given, what) is True for what in needed)
