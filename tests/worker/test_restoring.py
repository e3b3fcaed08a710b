"""The changelog's laws: what a new owner reads is what the last rightful owner finished, whoever else wrote."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.stores import MemoryStore
from stream_app.core.partition import PartitionState
from stream_app.core.state import ClicksState, CustomerState, new_state
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    STATE,
    ChangelogFormatError,
    PartitionRecord,
    encode_partition_record,
    envelope,
)
from stream_app.wire.state_codec import encode_state
from stream_app.worker.restoring import Restored, Restorer

CUSTOMERS = ["ada", "bob", "cyd"]


class LogRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None


def state_with(number: int) -> CustomerState:
    state = new_state()
    state.clicks = ClicksState(sessions=number)
    return state


class Log:
    def __init__(self) -> None:
        self.records: list[LogRecord] = []

    def state(self, customer: str, number: int, epoch: int, sequence: int) -> None:
        value = envelope(STATE, epoch, sequence) + encode_state(state_with(number))
        self._add(customer.encode(), value)

    def close(self, frontier_ms: int, epoch: int, sequence: int) -> None:
        record = PartitionRecord(PartitionState(frontier_ms=frontier_ms))
        self._add(PARTITION_KEY, envelope(PARTITION, epoch, sequence) + encode_partition_record(record))

    def tombstone(self, customer: str) -> None:
        self._add(customer.encode(), None)

    def _add(self, key: bytes, value: bytes | None) -> None:
        self.records.append(LogRecord(len(self.records), key, value))

    def compacted(self) -> list[LogRecord]:
        newest = {record.key: record.offset for record in self.records}
        return [record for record in self.records if newest[record.key] == record.offset]


def restore(records: list[LogRecord], end: int, cuts: int = 3) -> tuple[dict[str, int], Restored]:
    store = MemoryStore()
    restorer = Restorer(store)
    for start in range(0, len(records), cuts):
        restorer.take(records[start : start + cuts])
    restored = restorer.finish(end)
    return {name: state.clicks.sessions for name, state in store.items() if state.clicks is not None}, restored


class Batch(NamedTuple):
    changes: dict[str, int]


BATCHES = st.lists(
    st.dictionaries(st.sampled_from(CUSTOMERS), st.integers(1, 1_000), max_size=3).map(Batch), max_size=8
)


def write(log: Log, batches: list[Batch], epoch: int, first_sequence: int = 0) -> dict[str, int]:
    known: dict[str, int] = {}
    for sequence, batch in enumerate(batches, first_sequence):
        for customer, number in batch.changes.items():
            log.state(customer, number, epoch, sequence)
        log.close(sequence + 1, epoch, sequence)
        known |= batch.changes
    return known


@given(batches=BATCHES, compact=st.booleans())
def test_what_was_finished_is_restored_with_and_without_compaction(batches: list[Batch], compact: bool) -> None:
    log = Log()
    expected = write(log, batches, epoch=1)
    states, restored = restore(log.compacted() if compact else log.records, len(log.records))
    assert states == expected
    assert restored.epoch == (1 if batches else 0)
    assert restored.record.memory.frontier_ms == len(batches)
    assert restored.next_offset == len(log.records)
    assert restored.unfinished == ()


@given(batches=BATCHES, torn=st.dictionaries(st.sampled_from(CUSTOMERS), st.integers(1_001, 2_000), min_size=1))
def test_an_unfinished_batch_does_not_count_and_is_named(batches: list[Batch], torn: dict[str, int]) -> None:
    log = Log()
    expected = write(log, batches, epoch=1)
    for customer, number in torn.items():
        log.state(customer, number, 1, len(batches))
    states, restored = restore(log.records, len(log.records))
    assert states == expected
    assert set(restored.unfinished) == set(torn)


@given(before=BATCHES, torn=st.dictionaries(st.sampled_from(CUSTOMERS), st.integers(1_001, 2_000), min_size=1))
def test_after_the_claim_rewrote_an_unfinished_batch_nobody_sees_it(before: list[Batch], torn: dict[str, int]) -> None:
    log = Log()
    expected = write(log, before, epoch=1)
    for customer, number in torn.items():
        log.state(customer, number, 1, len(before))
    for customer in torn:
        if customer in expected:
            log.state(customer, expected[customer], 2, 0)
        else:
            log.tombstone(customer)
    log.close(99, 2, 0)
    for records in (log.records, log.compacted()):
        states, restored = restore(records, len(log.records))
        assert states == expected
        assert restored.unfinished == ()
        assert restored.epoch == 2


@given(before=BATCHES, after=BATCHES, late=BATCHES)
def test_a_former_owner_that_wakes_up_changes_nothing(
    before: list[Batch], after: list[Batch], late: list[Batch]
) -> None:
    log = Log()
    expected = write(log, before, epoch=1)
    log.close(50, 2, 0)
    write(log, late, epoch=1, first_sequence=len(before))
    expected |= write(log, after, epoch=2, first_sequence=1)
    states, restored = restore(log.records, len(log.records))
    assert states == expected
    assert restored.epoch == 2
    assert restored.record.memory.frontier_ms == (1 + len(after) if after else 50)


def test_foreign_bytes_are_refused_with_what_to_do() -> None:
    with pytest.raises(ChangelogFormatError, match="newer one"):
        restore([LogRecord(0, b"ada", b"\x7f" + bytes(20))], 1)
    with pytest.raises(ChangelogFormatError, match="something else writes"):
        restore([LogRecord(0, b"ada", b"hello")], 1)
