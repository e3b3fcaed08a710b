"""The product over a stream of records without Kafka: decode, engine and learner in one loop, on one shard.

Everything is a function of the records and the configuration: a second run gives the same report, to the last bit. The
learner publishes after each day of event time on which it learned something, as the trainer does by the clock.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from itertools import count
from typing import Any, NamedTuple

import msgspec

from stream_app.core.effects import Effects, Output, PopulationDay, TrainingExample
from stream_app.core.outputs import TIERS, Intervention, SuppressedIntervention
from stream_app.core.partition import PartitionState
from stream_app.core.records import Entry, Record
from stream_app.core.times import DAY_MS, day_of, iso
from stream_app.core.told import ScoreTold, WarningTold
from stream_app.core.topics import RANK, Topic
from stream_app.engine.engine import Engine
from stream_app.engine.shard import DictStore
from stream_app.learning.horizons import with_horizons
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import SnapshotScorer
from stream_app.wire.decode import DecodeLimits, decode, decode_reference
from stream_app.wire.rejection import Rejection

CHUNK_RECORDS = 2_000
_SHOWN_INTERVENTIONS = 5

OutputSink = Callable[[Output], None]


class SourceRecord(NamedTuple):
    """One record as it would stand on its topic."""

    topic: Topic
    key: bytes | None
    value: bytes | None


class FirstFault(NamedTuple):
    """The first record that was refused for a reason: enough to start mending."""

    number: int
    """Position in the stream, from 1."""
    topic: str
    field: str
    detail: str


class Replay:
    """One pass over a stream of records.

    Parameters
    ----------
    engine
        The engine, with the model that serves first; its policy should run on the event clock.
    learner
        Learns from matured labels and has its snapshots served; None: the engine's model serves throughout.
    limits
        Bounds of what is decoded.
    sink
        Is handed every output as it arises, in order; None: outputs are only counted.
    further
        Learners of longer horizons, shortest first; only beside `learner`.
    """

    def __init__(
        self,
        engine: Engine,
        learner: Learner | None,
        limits: DecodeLimits,
        sink: OutputSink | None = None,
        further: Sequence[Learner] = (),
    ) -> None:
        self.engine = engine
        self.learner = learner
        self.further = tuple(further)
        self.store = DictStore()
        self.shard = engine.open_shard(0, self.store, PartitionState())
        self.records = 0
        self.references = 0
        """Products and calendar days: valid, and about no customer."""
        self.by_topic: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.first_faults: dict[str, FirstFault] = {}
        self.counts: Counter[str] = Counter()
        self.outputs: Counter[str] = Counter()
        self.actions: Counter[str] = Counter()
        self.suppressions: Counter[str] = Counter()
        self.snapshots = 0
        self.latest: list[Intervention] = []
        """The last few interventions, oldest first."""
        self.first_ms = 0
        self.last_ms = 0
        self._limits = limits
        self._sink = sink
        self._offsets = {topic: count() for topic in RANK}
        self._chunk: list[Entry] = []
        self._numbers: list[int] = []
        self._examples: list[TrainingExample] = []
        self._population_moved = False

    def run(self, records: Iterable[SourceRecord], on_progress: Callable[[int, int], None] | None = None) -> None:
        """Process all records, in the order given (event-time order is the caller's to make).

        Parameters
        ----------
        records
            What is on the topics.
        on_progress
            Called after each chunk with the number of records and the event time reached.
        """
        day = -1
        for source in records:
            self.records += 1
            self.by_topic[source.topic.value] += 1
            entry = self._decode(source)
            if entry is None:
                continue
            # A chunk never spans two days, so that a published model is served from the same record on, however many
            # records there are in a day.
            is_new_day = day_of(entry.at_ms) > day
            if len(self._chunk) >= CHUNK_RECORDS or (is_new_day and self._chunk):
                self._process()
                if on_progress is not None:
                    on_progress(self.records, self.last_ms)
            if is_new_day and not self._will_be_refused(entry):
                self._publish()
                day = day_of(entry.at_ms)
            self._chunk.append(entry)
            self._numbers.append(self.records)
        self._process()
        self._publish()

    def advance(self, to_ms: int) -> None:
        """Let event time pass, a day at a time, so that labels, looks and expiries up to there fire."""
        at_ms = self.shard.memory.frontier_ms
        while at_ms < to_ms:
            at_ms = min(to_ms, (day_of(at_ms) + 1) * DAY_MS)
            self._take(self.engine.advance(self.shard, at_ms))
            self._publish()

    def report(self) -> dict[str, Any]:
        """Return what happened, JSON-ready and free of anything that differs between two runs."""
        tiers = {name: self.shard.tiers.get(index, 0) for index, name in enumerate(TIERS)}
        learner = self.learner
        return {
            "records": self.records,
            "records_by_topic": dict(sorted(self.by_topic.items())),
            "events": self.counts["applied"],
            "duplicates": self.counts["duplicates"],
            "late": self.counts["late"],
            "reference_records": self.references,
            "dead_letters": sum(self.dead_letters.values()),
            "dead_letters_by_reason": dict(sorted(self.dead_letters.items())),
            "first_fault_by_reason": {code: fault._asdict() for code, fault in sorted(self.first_faults.items())},
            "customers": len(self.store.states),
            "first_event": iso(self.first_ms) if self.first_ms else None,
            "last_event": iso(self.last_ms) if self.last_ms else None,
            "event_time_reached": iso(self.shard.memory.frontier_ms) if self.shard.memory.frontier_ms else None,
            "scores": self.outputs[ScoreTold.__name__],
            "tiers": tiers,
            "warnings": self.outputs[WarningTold.__name__],
            "interventions": self.outputs[Intervention.__name__],
            "interventions_by_action": dict(sorted(self.actions.items())),
            "suppressed": self.outputs[SuppressedIntervention.__name__],
            "suppressed_by_reason": dict(sorted(self.suppressions.items())),
            "examples": self.outputs[TrainingExample.__name__],
            "model": self.engine.scorer.version,
            "snapshots": self.snapshots,
            "learner": dict(sorted(learner.counts.items())) if learner else {},
            "metrics": learner.metrics() if learner else {},
            "further_horizons": {str(one.horizon_days): one.metrics() for one in self.further},
            "state_digest": self.state_digest(),
        }

    def state_digest(self) -> str:
        """Return a hash over all that is kept of every customer: equal digests, equal states."""
        digest = sha256()
        for customer_id, state in sorted(self.store.items()):
            digest.update(customer_id.encode("utf-8") + b"\0" + msgspec.msgpack.encode(state.parts()))
        return digest.hexdigest()

    def _decode(self, source: SourceRecord) -> Entry | None:
        topic, value = source.topic, source.value
        if topic not in RANK:
            fact = decode_reference(topic, value or b"", self._limits)
            if isinstance(fact, Rejection):
                self._refuse(self.records, topic, fact.code, fact.field, fact.detail)
            else:
                self.references += 1
            return None
        offset = next(self._offsets[topic])
        decoded = decode(topic, source.key, value, None, 0, offset, 0, self._limits)
        if isinstance(decoded, Rejection):
            self._refuse(self.records, topic, decoded.code, decoded.field, decoded.detail)
            return None
        return decoded

    def _will_be_refused(self, entry: Entry) -> bool:
        """Say whether the engine takes this entry for far future: then it does not begin a day either."""
        frontier_ms = self.shard.memory.frontier_ms
        return 0 < frontier_ms < entry.at_ms - self.engine.policy.max_jump_ms

    def _refuse(self, number: int, topic: Topic, code: str, field: str, detail: str) -> None:
        self.dead_letters[code] += 1
        self.first_faults.setdefault(code, FirstFault(number, topic.value, field, detail))

    def _process(self) -> None:
        if not self._chunk:
            return
        chunk, numbers = self._chunk, self._numbers
        self._chunk, self._numbers = [], []
        self.first_ms = self.first_ms or chunk[0].at_ms
        effects = self.engine.process(self.shard, chunk)
        refused = {rejected.entry for rejected in effects.rejected}
        self.last_ms = max(
            (entry.at_ms for index, entry in enumerate(chunk) if index not in refused), default=self.last_ms
        )
        for index, _, code, detail in effects.rejected:
            entry = chunk[index]
            topic = entry.position.topic if isinstance(entry, Record) else Topic.TICKS
            self._refuse(numbers[index], topic, code, "timestamp", detail)
        self._take(effects)

    def _take(self, effects: Effects) -> None:
        self.counts.update(effects.counts)
        for output in [*effects.outputs, *effects.interventions]:
            body = output.body
            self.outputs[type(body).__name__] += 1
            match body:
                case TrainingExample():
                    self._examples.append(body)
                case PopulationDay() if self.learner is not None:
                    for learner in (self.learner, *self.further):
                        learner.observe_population(body)
                    self._population_moved = True
                case Intervention():
                    self.actions[body.action] += 1
                    self.latest = [*self.latest[1 - _SHOWN_INTERVENTIONS :], body]
                case SuppressedIntervention():
                    self.suppressions[body.reason] += 1
                case _:
                    pass
            if self._sink is not None:
                self._sink(output)

    def _publish(self) -> None:
        """Learn the labels of the day in one block, whatever the chunks were, and serve what was learned.

        Before the first labels are due, newer population statistics alone make a better prior.
        """
        examples, self._examples = self._examples, []
        moved, self._population_moved = self._population_moved, False
        if self.learner is None or not (examples or moved):
            return
        for learner in (self.learner, *self.further):
            learner.learn(examples)
        self.snapshots += 1
        first, *further = (SnapshotScorer(learner.snapshot()) for learner in (self.learner, *self.further))
        self.engine.install(with_horizons(first, further))
