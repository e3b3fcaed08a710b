"""The closed loop in process, at full speed: shop to engine, interventions back to the shop, feedback to the engine."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from stream_app.core.effects import Effects
from stream_app.core.outputs import Intervention
from stream_app.core.records import Record
from stream_app.core.topics import CUSTOMER_TOPICS
from stream_app.engine.engine import Engine
from stream_app.engine.shard import Shard
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.shop import Shop
from stream_app.wire.decode import DecodeLimits, decode
from stream_app.wire.rejection import Rejection

_CUSTOMER_TOPICS = frozenset(CUSTOMER_TOPICS)
_LIMITS = DecodeLimits(future_tolerance_ms=None)


@dataclass(slots=True)
class LoopReport:
    """What a closed loop did."""

    records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Refused records, by reason."""
    actions: Counter[str] = field(default_factory=Counter)
    """Interventions, by action."""
    reacted: int = 0
    cost: float = 0.0
    """Of all interventions, as they say themselves."""


class ClosedLoop:
    """Runs an engine over a shop that answers it.

    Parameters
    ----------
    shop
        A shop that has not begun.
    engine, shard
        The engine and one partition that holds all customers of the shop.
    chunk_events
        How many events the engine gets at a time: how long the shop waits for interventions.
    on_effects
        Called with the effects of every chunk, e.g. to feed a learner and install its model.
    """

    def __init__(
        self,
        shop: Shop,
        engine: Engine,
        shard: Shard,
        chunk_events: int = 200,
        on_effects: Callable[[Effects], None] | None = None,
    ) -> None:
        self._shop = shop
        self._engine = engine
        self._shard = shard
        self._chunk_events = chunk_events
        self._on_effects = on_effects
        self._offset = 0
        self.report = LoopReport()

    def run(self, events: Iterable[SimulatedEvent] | None = None) -> LoopReport:
        """Live through the whole run of the shop.

        Parameters
        ----------
        events
            The shop's events where they are spoiled or watched on the way, drawn from it lazily; absent: its own.
        """
        chunk: list[Record] = []
        for event in self._shop.events() if events is None else events:
            if event.topic not in _CUSTOMER_TOPICS:
                continue
            record = self._decoded(event)
            if record is not None:
                chunk.append(record)
            if len(chunk) >= self._chunk_events:
                self._process(chunk)
                chunk = []
        self._process(chunk)
        return self.report

    def _decoded(self, event: SimulatedEvent) -> Record | None:
        key = None if event.key is None else event.key.encode()
        decoded = decode(event.topic, key, event.value, None, self._shard.partition, self._offset, event.at_ms, _LIMITS)
        self._offset += 1
        self.report.records += 1
        if isinstance(decoded, Rejection):
            self.report.rejected[decoded.code] += 1
            return None
        assert isinstance(decoded, Record)
        return decoded

    def _process(self, chunk: list[Record]) -> None:
        effects = self._engine.process(self._shard, chunk)
        if self._on_effects is not None:
            self._on_effects(effects)
        for output in effects.interventions:
            assert isinstance(output.body, Intervention)
            self.report.actions[output.body.action] += 1
            self.report.cost += output.body.cost
            self.report.reacted += self._shop.react_to(output.body)
