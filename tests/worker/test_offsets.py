import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule

from stream_app.worker.offsets import Delivery, OffsetLedger, SourcePartition

SOURCES = [SourcePartition("orders", 0), SourcePartition("clickstream", 0), SourcePartition("clickstream", 1)]
# Compaction and transaction markers leave gaps: offsets are ascending and not consecutive.
GAPS = st.lists(st.integers(1, 4), min_size=1, max_size=40)


class OffsetBookkeeping(RuleBasedStateMachine):
    """A log, a worker that reads, finishes, drops, loses and regains its partitions, and a group that keeps commits."""

    deliveries = Bundle("deliveries")

    @initialize(gaps=st.lists(GAPS, min_size=len(SOURCES), max_size=len(SOURCES)))
    def write_logs(self, gaps: list[list[int]]) -> None:
        self.logs = {}
        for source, steps in zip(SOURCES, gaps, strict=True):
            offsets, at = [], -1
            for step in steps:
                at += step
                offsets.append(at)
            self.logs[source] = offsets
        self.committed = dict.fromkeys(SOURCES, 0)
        self.next_read = dict.fromkeys(SOURCES, 0)
        self.processed: dict[SourcePartition, set[int]] = {source: set() for source in SOURCES}
        self.live: list[Delivery] = []
        self.ledger = OffsetLedger()

    def _unread(self, source: SourcePartition) -> list[int]:
        return [offset for offset in self.logs[source] if offset >= self.next_read[source]]

    @rule(target=deliveries, source=st.sampled_from(SOURCES), size=st.integers(1, 6))
    def deliver(self, source: SourcePartition, size: int) -> list[Delivery]:
        chunk = self._unread(source)[:size]
        if not chunk:
            return []
        delivery = self.ledger.deliver(source, chunk[0], chunk[-1], len(chunk), 10 * len(chunk))
        self.next_read[source] = chunk[-1] + 1
        self.live.append(delivery)
        return [delivery]

    @rule(taken=consumes(deliveries))
    def finish(self, taken: list[Delivery]) -> None:
        for delivery in taken:
            was_live = delivery in self.live
            assert self.ledger.finish(delivery) == was_live
            if was_live:
                self.live.remove(delivery)
                inside = {o for o in self.logs[delivery.source] if delivery.first <= o <= delivery.last}
                self.processed[delivery.source] |= inside
            assert not self.ledger.finish(delivery)

    @rule()
    def commit(self) -> None:
        for source in self.ledger.sources():
            offset = self.ledger.committable(source)
            assert offset is not None
            self.committed[source] = max(self.committed[source], offset)

    @rule()
    def seek_back(self) -> None:
        self.commit()
        self.ledger.drop()
        self.live.clear()
        self.next_read = dict(self.committed)

    @rule(source=st.sampled_from(SOURCES), commits=st.booleans())
    def lose_and_regain(self, source: SourcePartition, commits: bool) -> None:
        if commits:
            self.commit()
        self.ledger.forget([source])
        self.live = [delivery for delivery in self.live if delivery.source != source]
        self.next_read[source] = self.committed[source]

    @rule()
    def crash(self) -> None:
        # The process is gone: nobody can finish its chunks with the next one's ledger.
        self.ledger.drop()
        self.ledger = OffsetLedger()
        self.live.clear()
        self.next_read = dict(self.committed)

    @invariant()
    def commits_never_pass_an_unprocessed_record(self) -> None:
        for source, offset in self.committed.items():
            assert {o for o in self.logs[source] if o < offset} <= self.processed[source]

    @invariant()
    def held_is_what_is_under_way(self) -> None:
        assert self.ledger.held_records == sum(delivery.records for delivery in self.live)
        assert self.ledger.held_bytes == 10 * self.ledger.held_records
        for source in SOURCES:
            of_source = [delivery.records for delivery in self.live if delivery.source == source]
            assert self.ledger.held_of(source) == sum(of_source)

    @precondition(lambda self: not self.live)
    @rule()
    def lag_is_zero_once_all_is_read_and_finished(self) -> None:
        for source in SOURCES:
            while self._unread(source):
                (delivery,) = self.deliver(source, 3)
                self.finish([delivery])
        self.commit()
        for source, offsets in self.logs.items():
            assert self.committed[source] == offsets[-1] + 1


OffsetBookkeeping.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOffsetBookkeeping = OffsetBookkeeping.TestCase


def test_a_chunk_must_follow_what_is_under_way() -> None:
    ledger = OffsetLedger()
    ledger.deliver(SOURCES[0], 5, 9, 5, 50)
    with pytest.raises(ValueError, match="does not follow"):
        ledger.deliver(SOURCES[0], 9, 12, 4, 40)


def test_only_unfinished_chunks_are_held() -> None:
    ledger = OffsetLedger()
    first = ledger.deliver(SOURCES[0], 0, 9, 10, 100)
    second = ledger.deliver(SOURCES[0], 10, 19, 10, 100)
    ledger.finish(second)
    assert ledger.held_of(SOURCES[0]) > 0
    assert ledger.committable(SOURCES[0]) is None
    ledger.finish(first)
    assert ledger.held_of(SOURCES[0]) == 0
    assert ledger.committable(SOURCES[0]) == 20
