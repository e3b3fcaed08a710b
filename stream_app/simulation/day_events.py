"""The events of one day, gathered by topic and put in order of time."""

from collections.abc import Iterator

import numpy as np

from stream_app.core.topics import RANK, Topic
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.places import Indexes


class DayEvents:
    """A day's events as columns, customers named by their number."""

    def __init__(self) -> None:
        self._topics: list[Topic] = []
        self._who: list[Indexes] = []
        self._at: list[Indexes] = []
        self._values: list[bytes] = []

    def add(self, topic: Topic, who: Indexes, at_ms: Indexes, values: list[bytes]) -> None:
        """Add events of one topic; `at_ms` counts from the epoch."""
        self._topics.append(topic)
        self._who.append(who)
        self._at.append(at_ms)
        self._values.extend(values)

    def in_order(self, names: list[str]) -> Iterator[SimulatedEvent]:
        """Go through all events by time, ties by the topics' rank and then by the order of adding."""
        if not self._values:
            return
        topic = np.repeat(np.arange(len(self._topics)), [len(who) for who in self._who])
        who = np.concatenate(self._who)
        at_ms = np.concatenate(self._at)
        rank = np.array([RANK[topic] for topic in self._topics])[topic]
        order = np.lexsort((rank, at_ms))  # stable: what was added first comes first
        topics, values, event = self._topics, self._values, SimulatedEvent
        rows = zip(order.tolist(), topic[order].tolist(), who[order].tolist(), at_ms[order].tolist(), strict=True)
        for row, index, number, moment in rows:
            name = names[number]
            yield event(topics[index], name, moment, values[row], name)
