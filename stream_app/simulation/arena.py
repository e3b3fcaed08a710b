"""A shop lived through under a policy, all customers at once: fast enough to prove a policy on millions of decisions.

The customers live by the shop's law and luck (`dynamics`), the policy and its learner are the product's; every customer
is decided about on one day in 14. What the engine would see, and what the guardrails would let pass, comes from
`sight`; the truth about each choice from `ahead`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from stream_app.decisions.catalogue import CHANNELS, Catalogue
from stream_app.decisions.policy import EPOCH_DAYS
from stream_app.simulation.actions import COUPON, action_index
from stream_app.simulation.ahead import Truth, gain_of, penalty_of, truth_ahead
from stream_app.simulation.baskets import draw_baskets, line_counts
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.dynamics import age, contact, leave_probability, order_intensity, settle_orders
from stream_app.simulation.lessons import Matured, Pupil, teach
from stream_app.simulation.messages import BOUNCE, read_by
from stream_app.simulation.people import Flags
from stream_app.simulation.places import Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.shop import Shop
from stream_app.simulation.sight import Sight, View
from stream_app.simulation.voices import experience_orders

HOLDOUT_SHARE = 0.1
ELIGIBLE_DAYS = 180
OWN = "own"
"""Among the choices that are judged, the policy that is in force."""
_FELT = ("alive", "mood", "boost", "fatigue", "coupon_days", "wait")

Contender = Callable[[View], Floats]
"""A policy: (customer, doing nothing and then each action) of probabilities, 0 for what is not allowed."""


class ArenaScale(NamedTuple):
    """How large a proof is."""

    customers: int = 3000
    days: int = 364
    horizon_days: int = 30
    """A customer is saved who orders within so many days, and otherwise would not have."""
    judged_share: float = 0.15
    """Share of the customers whose choices are judged by the truth."""
    early_judged_share: float = 0.04
    """The same before the last quarter."""

    def shop(self, seed: int) -> ShopConfig:
        """Return the shop: everybody buys, newcomers replace who leaves, nothing drifts."""
        return ShopConfig(
            customers=self.customers,
            days=self.days,
            seed=seed,
            texts=False,
            existing_share=0.6,
            browser_share=0.0,
            drift=Drift.NONE,
            horizons_days=(self.horizon_days,),
        )


class Truths(NamedTuple):
    """What was judged on one day; rows are customers of the treatment arm."""

    day: int
    weight: float
    """How many customers a row stands for."""
    view: View
    gains: Floats
    """(customer, doing nothing and then each action): true expected gain, shop currency; 0 for nothing."""
    truth: Truth
    penalties: Floats
    """Of an e-mail, shop currency."""
    chosen: dict[str, Floats]
    """Probabilities, by name: the policy in force is `OWN`, the others are what they would choose in its place."""


class _Open(NamedTuple):
    """Draws whose window is running."""

    view: View
    action: Indexes
    """Column of the draw: 0 is nothing."""
    chosen: Floats
    is_treated: Flags
    orders: Indexes


@dataclass(slots=True)
class Ran:
    """What came of a run."""

    truths: list[Truths] = field(default_factory=list)
    decisions: int = 0
    messages: int = 0
    repeats: int = 0
    """Messages whose action was that of the contact before."""
    orders: int = 0


class Arena:
    """One run of one shop under one policy.

    Parameters
    ----------
    scale, seed
        The shop.
    catalogue
        What can be done; everything that is not off is live.
    """

    def __init__(self, scale: ArenaScale, seed: int, catalogue: Catalogue) -> None:
        self.scale = scale
        self.shop = Shop(scale.shop(seed))
        self.sight = Sight.of(self.shop, catalogue)
        self._catalogue = catalogue
        self._actions = catalogue.actions
        self._kinds = np.array([-1, *(action_index(action.kind) for action in self._actions)])
        keys = self.shop.people.key
        self.is_treated = self.shop.chance.uniforms("arena holdout", keys) >= HOLDOUT_SHARE
        self._judged_at = self.shop.chance.uniforms("arena judged", keys)
        self._prices = self.shop.assortment.prices(1.0)
        self._open: _Open | None = None
        self._redeemed = np.zeros(len(keys), dtype=np.bool_)
        self._penalty = np.zeros(len(keys))
        self.spent = np.zeros(len(keys))
        """By customer, shop currency: messages, incentives that were taken, penalties for what was resented."""
        self._rivals: Mapping[str, Contender] = {}
        self.ran = Ran()

    def run(
        self,
        contender: Contender,
        learn: Pupil | None = None,
        rivals: Mapping[str, Contender] | None = None,
        on_day: Callable[[int], None] | None = None,
    ) -> Ran:
        """Live through all days.

        Parameters
        ----------
        contender
            Asked every 14 days about everybody at once.
        learn
            Taught what came of the decisions of 14 days before, just before the next.
        rivals
            Asked what they would choose of what is judged; they decide nothing.
        on_day
            Called after each day with the number of days lived.
        """
        self._rivals = rivals or {}
        for day in range(self.scale.days):
            if day and day % EPOCH_DAYS == 0:
                self._mature(learn, day)
                self._decide(contender, day)
            self.live(day)
            if on_day is not None:
                on_day(day + 1)
        return self.ran

    def live(self, day: int) -> None:
        """Let everybody live through a day, exactly as `Shop.live_day` does, without its events."""
        shop = self.shop
        present = slice(0, shop.present(day))
        people, state, chance = shop.people.rows(present), shop.state.rows(present), shop.chance
        leaving = chance.uniforms("leave", people.key, day) < leave_probability(people, shop.world, state, day)
        state.alive[leaving] = False
        probability = -np.expm1(-order_intensity(people, shop.world, state, day))
        buyers = np.flatnonzero(chance.uniforms("order", people.key, day) < probability)
        if len(buyers):
            self._order(buyers, day)
        age(people, state)
        self.sight.next_day()
        shop.day = day + 1

    def _order(self, buyers: Indexes, day: int) -> None:
        shop = self.shop
        people, state, chance = shop.people, shop.state, shop.chance
        lines = line_counts(people, shop.preset, chance, day, buyers)
        promotion = shop.world.discount[:, day][people.region[buyers]]
        coupon = state.coupon_days[buyers] > 0
        prices = shop.assortment.prices(float(shop.world.price_level[day]))
        baskets = draw_baskets(
            people, shop.assortment, shop.preset, chance, day, buyers, lines, promotion, coupon, prices
        )
        paid = baskets.gross - baskets.discount
        shop.revenue[buyers] += paid
        self.sight.ordered(buyers, paid, baskets.discount, day)
        self._redeemed[buyers] |= coupon
        self._give(buyers[coupon])
        self.ran.orders += len(buyers)
        first_product = baskets.product[np.cumsum(baskets.lines) - baskets.lines]
        felt = experience_orders(people, shop.world, chance, day, buyers, first_product)
        parting = settle_orders(people, state, buyers, felt.level)
        state.alive[buyers[chance.uniforms("leave after order", people.key[buyers], day) < parting]] = False

    def _give(self, who: Indexes) -> None:
        """Charge the coupon of their last contact to some customers."""
        sight = self.sight
        usual = sight.total[who] / np.maximum(sight.orders[who], 1)
        last = sight.last_contact[who]
        for column, action in enumerate(self._actions):
            self.spent[who] += (last == column) * (action.incentive + action.incentive_share * usual)

    def _decide(self, contender: Contender, day: int) -> None:
        sight, shop = self.sight, self.shop
        who = np.flatnonzero((sight.orders > 0) & (day - sight.last_order_day <= ELIGIBLE_DAYS))
        view = sight.view(who, day)
        some = np.flatnonzero(view.allowed.sum(axis=1))
        view = view.only(some)
        chosen = contender(view)
        self._judge(view, chosen, day)
        unit = shop.chance.uniforms("arena draw", shop.people.key[view.who], day)
        drawn = (unit[:, None] >= np.cumsum(chosen, axis=1)[:, :-1]).sum(axis=1)
        sent = np.zeros((len(shop.people), len(self._actions)), dtype=np.bool_)
        sight.drawn(view, drawn, chosen, day)
        acting = drawn > 0
        sent[view.who[acting], drawn[acting] - 1] = True
        sight.sent_on[day] = sent
        treated = self.is_treated[view.who]
        self._open = _Open(view, drawn, chosen, treated, sight.orders[view.who].copy())
        self._redeemed[:] = False
        self._penalty[:] = 0.0
        reached = acting & treated
        self._send(view.who[reached], drawn[reached], day)
        self.ran.decisions += len(drawn)
        self.ran.messages += int(reached.sum())
        self.ran.repeats += int((view.last_action == drawn - 1)[reached].sum())

    def _send(self, who: Indexes, drawn: Indexes, day: int) -> None:
        shop, catalogue = self.shop, self._catalogue
        people, state = shop.people.rows(who), shop.state.rows(who)
        channels = np.array([self._actions[column - 1].channel for column in drawn.tolist()], dtype=np.str_)
        reached = shop.chance.uniforms("bounce", people.key, day) >= BOUNCE
        clicked, left, complained = read_by(people, state, channels, reached, shop.chance, day)
        self.sight.messaged(who, drawn - 1, clicked, day)
        places = np.array([CHANNELS.index(channel) for channel in channels[left].tolist()], dtype=np.int64)
        self.sight.unsubscribed[who[left], places] = True
        self.sight.complained_day[who[complained]] = day
        self.spent[who] += np.array([action.cost for action in self._actions])[drawn - 1]
        self._penalty[who] = catalogue.unsubscribe_penalty * left + catalogue.complaint_penalty * complained
        self.spent[who] += self._penalty[who]
        kinds = self._kinds[drawn]
        for kind in np.unique(kinds[reached]).tolist():
            rows = np.flatnonzero(reached & (kinds == kind))
            one = state.rows(rows)
            leaving = contact(people.rows(rows), one, kind)
            one.alive &= shop.chance.uniforms("driven away", people.key[rows], day) >= leaving
            for name in _FELT:
                getattr(shop.state, name)[who[rows]] = getattr(one, name)

    def _mature(self, learn: Pupil | None, day: int) -> None:
        opened = self._open
        if opened is None or learn is None:
            return
        view = opened.view
        teach(
            learn,
            self._catalogue,
            Matured(
                view=view,
                action=opened.action,
                chosen=opened.chosen,
                is_treated=opened.is_treated,
                orders=self.sight.orders[view.who] - opened.orders,
                penalty=self._penalty[view.who],
                redeemed=self._redeemed[view.who] & (self._kinds[opened.action] == COUPON),
                courses_after=self.sight.courses(view.who, day)[0],
            ),
        )

    def _judge(self, view: View, chosen: Floats, day: int) -> None:
        scale, shop = self.scale, self.shop
        share = scale.judged_share if day * 4 >= scale.days * 3 else scale.early_judged_share
        rows = np.flatnonzero(self.is_treated[view.who] & (self._judged_at[view.who] < share))
        if not len(rows):
            return
        some = view.only(rows)
        people, state = shop.people.rows(some.who), shop.state.rows(some.who)
        truth = truth_ahead(people, shop.world, state, day, scale.horizon_days)
        gains = np.zeros((len(rows), 1 + len(self._actions)))
        for column, action in enumerate(self._actions, start=1):
            penalty = penalty_of(people, state, action.channel, self._catalogue)
            gains[:, column] = gain_of(action, truth, penalty, some.stake, some.usual_order, self._catalogue)
        penalty = penalty_of(people, state, "email", self._catalogue)
        vectors = {OWN: chosen[rows]} | {name: rival(some) for name, rival in self._rivals.items()}
        self.ran.truths.append(Truths(day, 1 / share, some, gains, truth, penalty, vectors))
