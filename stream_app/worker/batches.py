"""One partition's share of a micro-batch: from released entries to encoded effects, all synchronous."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from stream_app.adapters.metrics import Recorder
from stream_app.core.effects import Effects, Output
from stream_app.core.outputs import Intervention
from stream_app.core.records import Entry, TimePassed
from stream_app.core.times import DAY_MS, to_ms
from stream_app.core.topics import Topic
from stream_app.engine.engine import Engine
from stream_app.engine.points import Folded
from stream_app.wire.encode import EncodePolicy, encode
from stream_app.wire.partition_record import PendingSend, SourcePosition
from stream_app.worker.aligner import Item, last_ms_of, records_in
from stream_app.worker.intake import Intake, Source
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.owned import Owned, Work

MAX_TIME_STEP_MS = DAY_MS
"""Event time is let on in such steps where much may be due, so that a long silence is worked off in pieces."""

CHANGES_PER_BATCH = 2_000
"""Customers changed, roughly, after which a batch is written: it bounds memory and the pause of the event loop."""

_WORK = attrgetter("work")


class BatchPolicy(NamedTuple):
    """What shapes batches; made from the settings."""

    records: int
    """Entries of one partition in a batch, at most."""
    encoding: EncodePolicy
    source_epoch: int
    max_intervention_age_ms: int | None
    """An intervention decided longer ago than this (wall clock) is not sent; None: age is not judged."""


class Share:
    """One partition's share of a micro-batch under way: folded, and not yet concluded.

    Parameters
    ----------
    owned
        The partition.
    """

    def __init__(self, owned: Owned) -> None:
        self.owned = owned
        self.folded: list[Folded] = []
        self.dead_letters: list[Outgoing] = []
        self.finished: list[Work] = []
        self.records = 0
        self.oldest_ms = 0

    @property
    def open_points(self) -> int:
        """Return how many points wait for their conclusion."""
        return len(self.folded[-1].block.points)

    @property
    def changes(self) -> int:
        """Return how many customers changed, roughly."""
        return sum(one.effects.counts["timers"] + one.effects.counts["applied"] for one in self.folded)


class Batch(NamedTuple):
    """What one partition's share of a micro-batch leads to."""

    owned: Owned
    changelog: list[tuple[bytes, bytes | None]]
    outputs: list[Outgoing]
    interventions: tuple[PendingSend, ...]
    effects: list[Effects]
    finished: list[Work]
    records: int
    oldest_ms: int
    """Smallest Kafka timestamp of the topics' first records; 0: none has one."""


class Batcher:
    """Runs the engine over what is ready in a partition and encodes what follows.

    Parameters
    ----------
    engine
        Shared by all partitions.
    intake
        Makes dead letters of entries that only the engine could refuse.
    policy
        Sizes and encoding.
    topic_name
        From a topic's role to its name on this broker.
    metrics
        Where records and what is dropped are counted.
    """

    def __init__(
        self,
        engine: Engine,
        intake: Intake,
        policy: BatchPolicy,
        topic_name: Callable[[Topic], str],
        metrics: Recorder,
    ) -> None:
        self._engine = engine
        self._intake = intake
        self._policy = policy
        self._topic_name = topic_name
        self._metrics = metrics

    @property
    def limit(self) -> int:
        """Entries of one partition that one batch takes, at most."""
        return self._policy.records

    def fold(self, owned: Owned) -> Share | None:
        """Fold in what is ready, or what time has come to; None if there is nothing.

        Raises
        ------
        DeadLetterFloodError
            The engine refused too many records.
        """
        share = Share(owned)
        if owned.ready:
            while owned.ready and share.records < self._policy.records and share.changes < CHANGES_PER_BATCH:
                head = owned.ready[0]
                if self._engine.is_far_future(owned.shard, head.entry):
                    items = [owned.ready.popleft()]
                else:
                    self._catch_up(share, head.at_ms)
                    if share.changes >= CHANGES_PER_BATCH:
                        break
                    items = self._within_a_day(owned, self._policy.records - share.records)
                rejected = self._fold(share, [item.entry for item in items]).rejected
                for index, offset, code, detail in rejected:
                    item = items[index]
                    record = item.records[offset - item.offset if len(item.records) > 1 else 0]
                    source = item.work.source
                    letter = self._intake.refuse_as(source, owned.partition, record, code, "timestamp", detail)
                    share.dead_letters.append(letter)
                noted_ms = self._note(owned, items, share.finished)
                share.oldest_ms = min(filter(None, (share.oldest_ms, noted_ms)), default=0)
                owned.seen_ms = max(owned.seen_ms, _newest_ms(items, Counter(one.entry for one in rejected)))
                share.records += records_in(items)
        elif owned.seen_ms > owned.shard.memory.frontier_ms and (
            owned.hold_ms is None or owned.hold_ms > owned.shard.memory.frontier_ms
        ):
            # A topic that lagged has caught up and brought nothing newer: what it held back may pass now.
            self._catch_up(share, owned.seen_ms)
            self._fold(share, [TimePassed(owned.seen_ms)])
        return share if share.folded else None

    def conclude(self, shares: Sequence[Share]) -> None:
        """Score and decide what is open in the shares of several partitions, all at once."""
        self._engine.conclude([share.folded[-1] for share in shares])

    def close(self, share: Share, now_ms: int) -> Batch:
        """Encode what a concluded share leads to."""
        owned, effects = share.owned, [one.effects for one in share.folded]
        outputs = share.dead_letters
        pending: list[PendingSend] = []
        for effect in effects:
            outputs += [self._outgoing(output, now_ms) for output in effect.outputs]
            pending += [
                self._pending(output, now_ms) for output in effect.interventions if self._is_fresh(output, now_ms)
            ]
        outbox = tuple(pending)
        changelog = owned.changelog_batch(outbox)
        return Batch(owned, changelog, outputs, outbox, effects, share.finished, share.records, share.oldest_ms)

    def _fold(self, share: Share, entries: Sequence[Entry]) -> Effects:
        before = share.folded[-1] if share.folded else None
        folded = self._engine.fold(share.owned.shard, entries, share.owned.hold_ms, before)
        share.folded.append(folded)
        return folded.effects

    def _within_a_day(self, owned: Owned, most: int) -> list[Item]:
        """Take what is ready up to a day of event time: what comes due between entries belongs to the batch as well."""
        ready = owned.ready
        last_ms = ready[0].at_ms + MAX_TIME_STEP_MS
        items = [ready.popleft()]
        taken = len(items[0].records)
        while ready and taken < most and ready[0].at_ms <= last_ms:
            items.append(ready.popleft())
            taken += len(items[-1].records)
        return items

    def to_outgoing(self, pending: PendingSend) -> Outgoing:
        """Return an outbox entry as it is sent, the first time and every time again."""
        timestamp_ms = pending.timestamp_ms if pending.timestamp_ms >= 0 else None
        name = self._topic_name(pending.topic)
        return Outgoing(name, None, pending.key, pending.value, pending.headers, timestamp_ms)

    def _catch_up(self, share: Share, to: int) -> None:
        """Let event time on to near `to` in steps while much is due, and stop early when a batch is full."""
        owned = share.owned
        memory, timers = owned.shard.memory, owned.shard.timers
        target = to if owned.hold_ms is None else min(to, owned.hold_ms)
        while memory.frontier_ms and memory.frontier_ms + MAX_TIME_STEP_MS < target:
            due_ms = timers.earliest_hint_ms()
            if due_ms is None or due_ms + MAX_TIME_STEP_MS >= target or share.changes >= CHANGES_PER_BATCH:
                return
            step_ms = max(due_ms, memory.frontier_ms) + MAX_TIME_STEP_MS
            self._fold(share, [TimePassed(step_ms)])

    def _note(self, owned: Owned, items: Sequence[Item], finished: list[Work]) -> int:
        """Count entries off their chunks; return the Kafka timestamp that latency is measured from."""
        oldest: dict[Source, Item] = {}
        newest: dict[Source, Item] = {}
        counts: Counter[Source] = Counter()
        for work, part in groupby(items, key=_WORK):
            done = list(part)
            oldest.setdefault(work.source, done[0])
            newest[work.source] = done[-1]
            records = records_in(done)
            counts[work.source] += records
            work.remaining -= records
            if not work.remaining:
                finished.append(work)
        for source, item in newest.items():
            position = SourcePosition(self._policy.source_epoch, item.offset + len(item.records))
            owned.positions[source.role.value] = position
            self._metrics.count("events", counts[source], topic=source.name)
        first_ms = [item.records[0].timestamp for item in oldest.values()]
        return min((recorded_ms for recorded_ms in first_ms if recorded_ms > 0), default=0)

    def _outgoing(self, output: Output, now_ms: int) -> Outgoing:
        encoded = encode(output, self._policy.encoding)
        timestamp_ms = min(encoded.timestamp_ms, now_ms) if encoded.timestamp_ms >= 0 else None
        name = self._topic_name(encoded.topic)
        return Outgoing(name, None, encoded.key, encoded.value, encoded.headers, timestamp_ms)

    def _pending(self, output: Output, now_ms: int) -> PendingSend:
        encoded = encode(output, self._policy.encoding)
        # Brokers refuse record timestamps that lie in the future, as those of simulated or badly clocked events may.
        timestamp_ms = min(encoded.timestamp_ms, now_ms)
        return PendingSend(encoded.topic, encoded.key, encoded.value, encoded.headers, timestamp_ms)

    def _is_fresh(self, output: Output, now_ms: int) -> bool:
        """Staleness is the shell's: what is too old to send is dropped and counted, and no state knows of it."""
        max_age_ms, body = self._policy.max_intervention_age_ms, output.body
        if max_age_ms is None or not isinstance(body, Intervention):
            return True
        if now_ms - to_ms(body.approved_at or body.decided_at) <= max_age_ms:
            return True
        self._metrics.count("expired_interventions", action=body.action)
        return False


def _newest_ms(items: Sequence[Item], refused: Counter[int]) -> int:
    """Return the largest event time; that of what was refused, so many of an entry's last records, is no time."""
    if refused:
        kept = [(item, len(item.records) - refused[index]) for index, item in enumerate(items)]
        items = [item if count == len(item.records) else item.part(0, count) for item, count in kept if count]
    return max(map(last_ms_of, items), default=0)
