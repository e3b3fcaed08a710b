"""The shop: one day at a time, all customers at once, out come events in order of time; in come interventions.

`Shop.events` is the whole run. Whoever reads it may call `Shop.react` between two events: the message is felt from the
next day on, and its feedback appears in the same stream at its time. Without reactions it is `simulate_shop`.
"""

import heapq
from collections.abc import Iterator

import numpy as np

from stream_app.core.times import DAY_MS
from stream_app.core.topics import RANK, Topic
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.announcements import calendar_events, product_events, profile_values
from stream_app.simulation.baskets import draw_baskets, line_counts
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.dynamics import (
    age,
    initial_state,
    leave_probability,
    order_intensity,
    settle_orders,
)
from stream_app.simulation.encoding import Encoder
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.people import draw_people
from stream_app.simulation.places import REGIONS, Assortment, Indexes, utc_offset_ms
from stream_app.simulation.presets import preset_of
from stream_app.simulation.randomness import Chance
from stream_app.simulation.traffic import visit_intensity
from stream_app.simulation.visits import draw_visits
from stream_app.simulation.world import World


class _DayEvents:
    """The events of one day, gathered by topic and then put in order."""

    def __init__(self) -> None:
        self._topics: list[Topic] = []
        self._who: list[Indexes] = []
        self._at: list[Indexes] = []
        self._values: list[bytes] = []

    def add(self, topic: Topic, who: Indexes, at_ms: Indexes, values: list[bytes]) -> None:
        self._topics.append(topic)
        self._who.append(who)
        self._at.append(at_ms)
        self._values.extend(values)

    def in_order(self, names: list[str]) -> Iterator[SimulatedEvent]:
        if not self._values:
            return
        topic = np.repeat(np.arange(len(self._topics)), [len(who) for who in self._who])
        who = np.concatenate(self._who)
        at_ms = np.concatenate(self._at)
        rank = np.array([RANK[topic] for topic in self._topics])[topic]
        topics, customers, times = topic.tolist(), who.tolist(), at_ms.tolist()
        for row in np.lexsort((np.arange(len(who)), rank, at_ms)).tolist():
            name = names[customers[row]]
            yield SimulatedEvent(self._topics[topics[row]], name, times[row], self._values[row], name)


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
        self._encoder = Encoder(self.assortment, self.names, config.first_day)
        self._calendar = calendar_events(self.world, config.days)
        self._feedback: list[tuple[int, int, SimulatedEvent]] = []

    def present(self, day: int) -> int:
        """Return how many customers have arrived by a day (they come first in all columns)."""
        return int(np.searchsorted(self.people.arrival, day, side="right"))

    def events(self) -> Iterator[SimulatedEvent]:
        """Go through the run: all events in order of time, with the feedback of what `react` was told."""
        yield from product_events(self.assortment, self.config.first_day)
        while self.day < self.config.days:
            yield from self._calendar.get(self.day, ())
            for event in self._live_day():
                while self._feedback and self._feedback[0][0] <= event.at_ms:
                    yield self._pop_feedback()
                self.now_ms = event.at_ms
                yield event
            end_ms = self._encoder.day_ms(self.day)
            while self._feedback and self._feedback[0][0] < end_ms:
                yield self._pop_feedback()

    def _pop_feedback(self) -> SimulatedEvent:
        event = heapq.heappop(self._feedback)[2]
        self.now_ms = max(self.now_ms, event.at_ms)
        return event

    def _live_day(self) -> Iterator[SimulatedEvent]:
        """Let everybody live through the next day and return its events; the state is then that of the day after."""
        day = self.day
        count = self.present(day)
        people, state = self.people.rows(slice(0, count)), self.state.rows(slice(0, count))
        leaving = self.chance.uniforms("leave", people.key, day) < leave_probability(people, self.world, state, day)
        state.alive[leaving & state.alive] = False
        intensity = order_intensity(people, self.world, state, day)
        ordering = self.chance.uniforms("order", people.key, day) < -np.expm1(-intensity)
        visiting = visit_intensity(people, self.world, state, day)
        curious = self.chance.uniforms("visit", people.key, day) < -np.expm1(-visiting)
        curious |= ordering | (people.arrival == day) & (day > 0)
        twice = curious & (self.chance.uniforms("second visit", people.key, day) < np.minimum(0.25, visiting))
        buyers = np.flatnonzero(ordering)
        once, again = np.flatnonzero(curious), np.flatnonzero(twice)
        found = _DayEvents()
        start_ms = self._encoder.day_ms(day)

        arriving = np.flatnonzero(people.arrival == day)
        if len(arriving):
            at_ms, values = profile_values(people, self.chance, self.config.first_day, arriving, self.names)
            found.add(Topic.CUSTOMERS, arriving, at_ms, values)

        lines_by_buyer = line_counts(people, self.preset, self.chance, day, buyers)
        lines = np.zeros(count, dtype=np.int64)
        lines[buyers] = lines_by_buyer
        offsets = np.array([utc_offset_ms(region, self.config.first_day + day) for region in REGIONS])
        promotion = self.world.discount[:, day]
        visits = draw_visits(
            people,
            self.assortment,
            self.chance,
            day,
            np.concatenate([once, again]),
            np.concatenate([np.zeros_like(once), np.ones_like(again)]),
            np.concatenate([lines[once], np.zeros_like(again)]),
            offsets,
            promotion > 0,
        )
        found.add(
            Topic.CLICKSTREAM, visits.customer, visits.at_ms + start_ms, self._encoder.clicks(people, visits, day)
        )
        if len(buyers):
            closing = visits.at_ms[visits.visit_end[: len(once)]][ordering[once]] + 5_000
            baskets = draw_baskets(
                people,
                self.assortment,
                self.preset,
                self.chance,
                day,
                buyers,
                lines_by_buyer,
                promotion[people.region[buyers]],
                state.coupon_days[buyers] > 0,
            )
            found.add(Topic.ORDERS, buyers, closing + start_ms, self._encoder.orders(people, baskets, closing, day))
            experience = self.chance.normals("experience", people.key[buyers], day)
            parting = settle_orders(people, state, buyers, experience)
            gone = self.chance.uniforms("leave after order", people.key[buyers], day) < parting
            state.alive[buyers[gone]] = False
        age(people, state)
        self.day += 1
        return found.in_order(self.names)


def simulate_shop(config: ShopConfig) -> Iterator[SimulatedEvent]:
    """Simulate a shop that contacts nobody; yields its events in order of time.

    Parameters
    ----------
    config
        The shop; the same values give the same bytes.
    """
    yield from Shop(config).events()
