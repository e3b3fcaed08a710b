"""A copy's law: a standby that followed and then read the tail has what a new owner has who read everything."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from stream_app.adapters.stores import Checkpoint, MemoryStore, PartitionStore
from stream_app.adapters.stores_rocksdb import RocksdbStore
from stream_app.core.partition import PartitionState
from stream_app.core.state import ClicksState, new_state
from stream_app.core.topics import Topic
from stream_app.wire.partition_record import (
    OUTBOX,
    OUTBOX_KEY,
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    PendingSend,
    encode_outbox_parts,
    encode_partition_record,
    envelope,
)
from stream_app.wire.state_codec import encode_state
from stream_app.worker.restoring import Restored, Restorer
from stream_app.worker.standby_reader import NEAR_RECORDS, due
from stream_app.worker.standbys import ChangelogReplacedError, Standbys

CUSTOMERS = ("ada", "bob", "cyd", "dan")


class LogRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None


class History:
    """A changelog as rightful owners and former ones write it, and what counts of it."""

    def __init__(self) -> None:
        self.records: list[LogRecord] = []
        self.end = 0
        self.known: dict[str, int] = {}
        self.settled = [0]
        """Ends after which nothing is left to be repaired: what is before may be compacted."""
        self._epoch = 1
        self._sequence = 0
        self._torn: dict[str, int] = {}

    def batch(self, changes: dict[str, int], outbox: int = 0) -> None:
        """The owner changes customers; with an outbox of several parts, or none."""
        self._states(changes, self._epoch)
        self.known |= changes
        self._close(outbox)

    def die_writing(self, changes: dict[str, int]) -> None:
        """The owner does not finish; another one claims the partition and settles what was left."""
        self._states(changes, self._epoch)
        self._torn = changes
        self.claim()

    def claim(self) -> None:
        self._epoch, self._sequence = self._epoch + 1, 0
        again = {name: self.known[name] for name in self._torn if name in self.known}
        for name in self._torn.keys() - again.keys():
            self._add(name.encode(), None)
        self._states(again, self._epoch)
        self._torn = {}
        self._close(0)

    def wake_up(self, changes: dict[str, int]) -> None:
        """A former owner writes what does not count; the owner writes over it."""
        if self._epoch > 1:
            self.write_late(changes)
            unknown = changes.keys() - self.known.keys()
            self.known |= dict.fromkeys(unknown, 5)
            self._states({name: self.known[name] for name in changes}, self._epoch)
            self._close(0)

    def write_late(self, changes: dict[str, int]) -> None:
        """A former owner writes what nobody writes over any more: the log ends."""
        if self._epoch > 1:
            self._states(changes, self._epoch - 1)
            self._add(PARTITION_KEY, envelope(PARTITION, self._epoch - 1, 99) + partition_record(777))

    def compact(self, end: int) -> None:
        """Keep the newest record of each key of what is before an offset."""
        newest = {record.key: record.offset for record in self.records if record.offset < end}
        self.records = [one for one in self.records if one.offset >= end or newest[one.key] == one.offset]

    def since(self, offset: int) -> list[LogRecord]:
        return [record for record in self.records if record.offset >= offset]

    def _states(self, changes: dict[str, int], epoch: int) -> None:
        for name, number in changes.items():
            state = new_state()
            state.clicks = ClicksState(sessions=number)
            self._add(name.encode(), envelope(STATE, epoch, self._sequence) + encode_state(state))

    def _close(self, outbox: int) -> None:
        sends = tuple(PendingSend(Topic.INTERVENTIONS, b"k%d" % one, b"payload") for one in range(outbox))
        parts = encode_outbox_parts(sends, 1)
        if len(parts) > 1:
            for number, part in enumerate(parts):
                self._add(OUTBOX_KEY + b"%d" % number, envelope(OUTBOX, self._epoch, self._sequence) + part)
            closing = partition_record(self.end, parts=len(parts))
        else:
            closing = partition_record(self.end, sends)
        self._add(PARTITION_KEY, envelope(PARTITION, self._epoch, self._sequence) + closing)
        self._sequence += 1
        self.settled.append(self.end)

    def _add(self, key: bytes, value: bytes | None) -> None:
        self.records.append(LogRecord(self.end, key, value))
        self.end += 1


def partition_record(frontier_ms: int, outbox: tuple[PendingSend, ...] = (), parts: int = 0) -> bytes:
    return encode_partition_record(PartitionRecord(PartitionState(frontier_ms=frontier_ms), {}, outbox, parts))


CHANGES = st.dictionaries(st.sampled_from(CUSTOMERS), st.integers(1, 1_000), max_size=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("batch"), CHANGES, st.sampled_from([0, 0, 1, 3])),
        st.tuples(st.sampled_from(["die", "claim", "wake"]), CHANGES, st.just(0)),
        st.tuples(
            st.sampled_from(["read", "read and restart", "compact"]), st.just(dict[str, int]()), st.integers(0, 9)
        ),
    ),
    min_size=4,
    max_size=30,
)


def act(history: History, what: str, changes: dict[str, int], number: int) -> None:
    match what:
        case "batch":
            history.batch(changes, number)
        case "die":
            history.die_writing(changes)
        case "claim":
            history.claim()
        case "wake":
            history.wake_up(changes)
        case "compact":
            history.compact(history.settled[number % len(history.settled)])
        case _:
            raise AssertionError(what)


def follow(standbys: Standbys, history: History, most: int | None = None) -> None:
    """Read a piece, as the reader does: only from where the copy stands."""
    if standbys.missing():
        standbys.open(0, history.end)
    (copy,) = standbys.copies.values()
    assert standbys.take(0, copy, history.since(copy.next_offset)[:most])


def known_to(copy: Restorer) -> dict[str, int]:
    return {name: state.clicks.sessions for name, state in copy.store.items() if state.clicks is not None}


def restored_from_everything(history: History) -> tuple[dict[str, int], Restored]:
    restorer = Restorer(MemoryStore())
    restorer.take(history.records)
    return known_to(restorer), restorer.finish(history.end)


@contextlib.contextmanager
def stores_of(kind: str) -> Iterator[Callable[[int], PartitionStore]]:
    """An opener of stores: memory forgets, a disk does not."""
    with tempfile.TemporaryDirectory() as folder:
        opener: dict[str, Callable[[int], PartitionStore]] = {
            "memory": lambda _: MemoryStore(),
            "rocksdb": lambda number: RocksdbStore(Path(folder) / str(number)),
        }
        yield opener[kind]


@pytest.mark.parametrize("kind", ["memory", "rocksdb"])
@given(steps=STEPS, tail=CHANGES)
@effort(max_examples=60)
def test_a_copy_and_its_tail_are_what_everything_is(
    kind: str, steps: list[tuple[str, dict[str, int], int]], tail: dict[str, int]
) -> None:
    with stores_of(kind) as open_store:
        history, standbys = History(), Standbys(open_store)
        standbys.follow({0})
        for what, changes, number in steps:
            match what:
                case "read":
                    follow(standbys, history, number)
                case "read and restart":
                    follow(standbys, history, number)
                    # What is in memory is lost, as by a kill and by another assignment.
                    standbys.close()
                    standbys.follow({0})
                case _:
                    act(history, what, changes, number)
        follow(standbys, history, 5)
        history.batch(tail)
        history.write_late(dict.fromkeys(CUSTOMERS, 2_000))
        copy = standbys.hand_over(0)
        assert copy is not None
        assert (copy.records, standbys.copies, standbys.missing()) == (0, {}, set())
        copy.take(history.since(copy.next_offset))
        assert (known_to(copy), copy.finish(history.end)) == restored_from_everything(history)
        assert known_to(copy) == history.known
        copy.store.close()


def test_what_nobody_closed_is_not_in_the_copy_and_is_handed_over_with_it() -> None:
    history = History()
    history.batch({"ada": 1})
    closed = history.end
    history.batch({"ada": 2, "bob": 3})
    standbys = Standbys(lambda _: MemoryStore())
    standbys.follow({0})
    follow(standbys, history, closed + 2)
    assert known_to(standbys.copies[0]) == {"ada": 1}
    copy = standbys.hand_over(0)
    assert copy is not None
    assert set(copy.finish(closed + 2).unfinished) == {"ada", "bob"}
    copy.take(history.since(copy.next_offset))
    assert copy.records == 1
    assert known_to(copy) == {"ada": 2, "bob": 3}


def test_records_that_come_after_the_copy_was_given_away_are_not_taken() -> None:
    history = History()
    history.batch({"ada": 1})
    standbys = Standbys(lambda _: MemoryStore())
    standbys.follow({0})
    asked_for = standbys.open(0, history.end)
    assert standbys.hand_over(0) is asked_for
    assert not standbys.take(0, asked_for, history.records)
    assert asked_for.records == 0
    # Followed again, it is another copy: what was asked for the former one is not its.
    standbys.follow({0})
    again = standbys.open(0, history.end)
    assert not standbys.take(0, asked_for, history.records)
    assert standbys.take(0, again, history.records)


def test_whoever_takes_over_what_is_not_yet_open_has_it_alone() -> None:
    standbys = Standbys(lambda _: MemoryStore())
    standbys.follow({0, 1})
    assert standbys.missing() == {0, 1}
    assert standbys.hand_over(0) is None
    assert standbys.missing() == {1}


def test_a_store_that_knows_more_than_the_changelog_begins_anew(tmp_path: Path) -> None:
    left = RocksdbStore(tmp_path / "0")
    left.load({"ada": encode_state(new_state())})
    left.commit(Checkpoint(envelope(PARTITION, 1, 0) + partition_record(5), 500))
    left.close()
    standbys = Standbys(lambda number: RocksdbStore(tmp_path / str(number)))
    standbys.follow({0})
    copy = standbys.open(0, end_offset=10)
    assert (copy.next_offset, len(copy.store)) == (0, 0)
    standbys.close()


def test_a_log_that_goes_back_is_refused() -> None:
    history = History()
    history.batch({"ada": 1})
    standbys = Standbys(lambda _: MemoryStore())
    standbys.follow({0})
    follow(standbys, history)
    (copy,) = standbys.copies.values()
    with pytest.raises(ChangelogReplacedError, match="created again"):
        standbys.take(0, copy, history.records)


def test_copies_far_behind_catch_up_one_after_the_other_beside_those_that_are_kept_near() -> None:
    assert due({}) == []
    assert due({0: NEAR_RECORDS, 1: 0}) == [0, 1]
    assert due({0: 3, 1: NEAR_RECORDS + 1, 2: 10**9, 3: 0, 4: 10**6}) == [0, 1, 3]
