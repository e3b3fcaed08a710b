"""The shop: one day at a time, all customers at once, out come events in order of time; in come interventions.

`Shop.events` is the whole run. Whoever reads it may call `Shop.react` between two events: the message is felt from the
next day on, and its feedback appears in the same stream at its time. Without reactions it is `simulate_shop`.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from stream_app.core.outputs import Intervention
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.simulation.actions import ACTION_KINDS, action_index
from stream_app.simulation.announcements import calendar_events, product_events, profile_values
from stream_app.simulation.baskets import draw_baskets, line_counts
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.day_events import DayEvents
from stream_app.simulation.dynamics import (
    State,
    age,
    initial_state,
    leave_probability,
    order_intensity,
    settle_orders,
)
from stream_app.simulation.encoding import Encoder
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.messages import Messages
from stream_app.simulation.people import Flags, People, draw_people
from stream_app.simulation.places import REGIONS, Assortment, Indexes, utc_offset_ms
from stream_app.simulation.presets import preset_of
from stream_app.simulation.randomness import Chance
from stream_app.simulation.traffic import visit_intensity
from stream_app.simulation.visits import draw_visits
from stream_app.simulation.voices import Voices, experience_orders
from stream_app.simulation.world import World


@dataclass(slots=True)
class _Today:
    """The customers present on one day (views into the shop's columns) and the events gathered."""

    day: int
    start_ms: int
    people: People
    state: State
    found: DayEvents


class Shop:
    """A shop under way. `day` is the day that comes next; `state` is how its customers are as it begins."""

    def __init__(self, config: ShopConfig) -> None:
        self.config = config
        self.preset = preset_of(config.preset)
        self.chance = Chance(config.seed)
        self.world = World(config, self.chance)
        self.people = draw_people(config, self.preset, self.chance, len(ACTION_KINDS))
        self.state = initial_state(self.people)
        self.assortment = Assortment(config.products, self.preset, self.chance)
        self.names = [f"c{number:08d}" for number in range(config.customers)]
        self.day = 0
        self.now_ms = config.first_day * DAY_MS
        """Time of the event that was handed out last."""
        self.revenue = np.zeros(config.customers)
        """EUR paid so far by each customer, discounts taken off."""
        self.expected_orders = np.zeros(config.days)
        """By day: the sum over customers of P(order on that day), as the intensities had it."""
        self.placed_orders = np.zeros(config.days, dtype=np.int64)
        """By day: orders placed."""
        self.messages = Messages(self.chance, self.people, self.state, config.effects)
        self._encoder = Encoder(self.assortment, self.names, config.first_day)
        self._voices = Voices(self.chance, self._encoder, self.names, self.assortment.ids)
        self._prices = self.assortment.prices(1.0)
        self._price_level = 0.0
        self._calendar = calendar_events(self.world, config.days)
        self._feedback: list[tuple[int, int, SimulatedEvent]] = []
        self._feedback_count = 0
        self._received: set[str] = set()

    def present(self, day: int) -> int:
        """Return how many customers have arrived by a day (they come first in all columns)."""
        return int(np.searchsorted(self.people.arrival, day, side="right"))

    def number_of(self, customer_id: str) -> int | None:
        """Return the row of a customer, or None for an id that is not of this shop."""
        digits = customer_id[1:]
        if not digits.isdecimal():
            return None
        number = int(digits)
        return number if number < len(self.names) and self.names[number] == customer_id else None

    def events(self, at_daybreak: Callable[["Shop"], None] | None = None) -> Iterator[SimulatedEvent]:
        """Go through the run: all events in order of time, with the feedback of what `react` was told.

        Parameters
        ----------
        at_daybreak
            Called with the shop before each day is lived: the place to read the truth from.
        """
        while self.day < self.config.days:
            if at_daybreak is not None:
                at_daybreak(self)
            if self._reprice():
                yield from product_events(self.assortment, self._prices, self._encoder.day_ms(self.day))
            yield from self._calendar.get(self.day, ())
            for event in self.live_day():
                while self._feedback and self._feedback[0][0] <= event.at_ms:
                    yield self._pop_feedback()
                self.now_ms = event.at_ms
                yield event
            end_ms = self._encoder.day_ms(self.day)
            while self._feedback and self._feedback[0][0] < end_ms:
                yield self._pop_feedback()

    def react(self, customer_id: str, intervention_id: str, action_kind: str, channel: str, at_ms: int) -> bool:
        """Let a message reach a customer: it is felt from the next day on, and feedback follows in `events`.

        Returns False, and does nothing, for customers of another shop and for an intervention that was received before:
        interventions may be delivered again, with the same id.

        Parameters
        ----------
        customer_id
            Whom it is sent to.
        intervention_id
            Comes back in the feedback.
        action_kind
            A kind of the action catalogue (see `actions.action_index`).
        channel
            email, sms, push, phone or onsite.
        at_ms
            When it is sent; what lies before the newest event handed out is sent then.
        """
        number = self.number_of(customer_id)
        if number is None or intervention_id in self._received:
            return False
        self._received.add(intervention_id)
        moment = max(at_ms, self.now_ms)
        action = action_index(action_kind)
        for event in self.messages.send(number, customer_id, intervention_id, action, channel, self.day, moment):
            self._feedback_count += 1
            heapq.heappush(self._feedback, (event.at_ms, self._feedback_count, event))
        return True

    def react_to(self, intervention: Intervention) -> bool:
        """React to an intervention as the engine gives it, at its event time."""
        at_ms = int(intervention.event_time.timestamp() * 1000)
        return self.react(
            intervention.customer_id,
            intervention.intervention_id,
            intervention.action_kind,
            intervention.channel,
            at_ms,
        )

    def _reprice(self) -> bool:
        """Take the prices of the next day; return whether they are to be announced."""
        level = float(self.world.price_level[self.day])
        if level == self._price_level:
            return False
        self._price_level = level
        self._prices = self.assortment.prices(level)
        self._encoder.reprice(self._prices)
        return True

    def _pop_feedback(self) -> SimulatedEvent:
        event = heapq.heappop(self._feedback)[2]
        self.now_ms = max(self.now_ms, event.at_ms)
        return event

    def live_day(self) -> Iterator[SimulatedEvent]:
        """Let everybody live through the next day and return its events; the state is then that of the day after."""
        day = self.day
        self._reprice()
        prefix = slice(0, self.present(day))
        people, state = self.people.rows(prefix), self.state.rows(prefix)
        today = _Today(day, self._encoder.day_ms(day), people, state, DayEvents())
        leaving = self.chance.uniforms("leave", people.key, day) < leave_probability(people, self.world, state, day)
        state.alive[leaving & state.alive] = False
        probability = -np.expm1(-order_intensity(people, self.world, state, day))
        ordering = self.chance.uniforms("order", people.key, day) < probability
        self.expected_orders[day] = probability.sum()
        self.placed_orders[day] = ordering.sum()
        visiting = visit_intensity(people, self.world, state, day)
        curious = self.chance.uniforms("visit", people.key, day) < -np.expm1(-visiting)
        curious |= ordering | ((people.arrival == day) & (day > 0))
        twice = curious & (self.chance.uniforms("second visit", people.key, day) < np.minimum(0.25, visiting))
        self._welcome(today)
        buyers = np.flatnonzero(ordering)
        lines = line_counts(people, self.preset, self.chance, day, buyers)
        closing = self._visit(today, curious, twice, buyers, lines)
        if len(buyers):
            self._order(today, buyers, lines, closing)
        if self.config.texts:
            self._speak(today, curious)
        age(people, state)
        self.day += 1
        return today.found.in_order(self.names)

    def skip_day(self) -> None:
        """Live through the next day without asking for its events or feedback; the shop is then the same."""
        self.live_day()
        self._feedback.clear()

    def _welcome(self, today: _Today) -> None:
        arriving = np.flatnonzero(today.people.arrival == today.day)
        if len(arriving):
            at_ms, values = profile_values(today.people, self.chance, self.config.first_day, arriving, self.names)
            today.found.add(Topic.CUSTOMERS, arriving, at_ms, values)

    def _visit(self, today: _Today, curious: Flags, twice: Flags, buyers: Indexes, lines: Indexes) -> Indexes:
        """Add the day's clicks; return when each buyer's order is placed, in ms since midnight."""
        once, again = np.flatnonzero(curious), np.flatnonzero(twice)
        lines_of = np.zeros(len(today.people), dtype=np.int64)
        lines_of[buyers] = lines
        offsets = np.array([utc_offset_ms(region, self.config.first_day + today.day) for region in REGIONS])
        visits = draw_visits(
            today.people,
            self.assortment,
            self.chance,
            today.day,
            np.concatenate([once, again]),
            np.concatenate([np.zeros_like(once), np.ones_like(again)]),
            np.concatenate([lines_of[once], np.zeros_like(again)]),
            offsets,
            self.world.discount[:, today.day] > 0,
        )
        values = self._encoder.clicks(today.people, visits, today.day)
        today.found.add(Topic.CLICKSTREAM, visits.customer, visits.at_ms + today.start_ms, values)
        last_click: Indexes = visits.at_ms[visits.visit_end[: len(once)]]
        return last_click[lines_of[once] > 0] + 5_000

    def _order(self, today: _Today, buyers: Indexes, lines: Indexes, closing: Indexes) -> None:
        people, state, day = today.people, today.state, today.day
        promotion = self.world.discount[:, day][people.region[buyers]]
        with_coupon = state.coupon_days[buyers] > 0
        baskets = draw_baskets(
            people,
            self.assortment,
            self.preset,
            self.chance,
            day,
            buyers,
            lines,
            promotion,
            with_coupon,
            self._prices,
        )
        values = self._encoder.orders(people, baskets, closing, day)
        placed_ms = closing + today.start_ms
        today.found.add(Topic.ORDERS, buyers, placed_ms, values)
        self.revenue[buyers] += baskets.gross - baskets.discount
        for row in np.flatnonzero(with_coupon).tolist():
            number = int(buyers[row])
            event = self.messages.redeemed(number, self.names[number], int(placed_ms[row]) + 1)
            if event is not None:
                self._feedback_count += 1
                heapq.heappush(self._feedback, (event.at_ms, self._feedback_count, event))
        first_product = baskets.product[np.cumsum(baskets.lines) - baskets.lines]
        felt = experience_orders(people, self.world, self.chance, day, buyers, first_product)
        parting = settle_orders(people, state, buyers, felt.level)
        gone = self.chance.uniforms("leave after order", people.key[buyers], day) < parting
        state.alive[buyers[gone]] = False
        self._voices.after_orders(people, felt, day, values, placed_ms)

    def _speak(self, today: _Today, curious: Flags) -> None:
        said = self._voices.said_on(today.people, today.state, curious, today.day)
        at_ms, values = self._voices.encode(today.people, said, today.day)
        today.found.add(Topic.REVIEWS, said.who, at_ms, values)
        who, back_ms, reversals = self._voices.reversals(today.people, today.day)
        today.found.add(Topic.ORDERS, who, back_ms, reversals)


def simulate_shop(config: ShopConfig) -> Iterator[SimulatedEvent]:
    """Simulate a shop that contacts nobody; yields its events in order of time.

    Parameters
    ----------
    config
        The shop; the same values give the same bytes.
    """
    yield from Shop(config).events()
