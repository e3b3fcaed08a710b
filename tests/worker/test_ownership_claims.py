"""Claims against a former owner who still writes: what it finished meanwhile outlives what the claim wrote first."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.metrics import Metrics
from stream_app.adapters.stores import MemoryStore, PartitionStore
from stream_app.adapters.stores_rocksdb import RocksdbStore
from stream_app.core.partition import PartitionState
from stream_app.core.state import ClicksState, new_state
from stream_app.settings import Settings
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    encode_partition_record,
    envelope,
)
from stream_app.wire.state_codec import encode_state
from stream_app.worker.aligner import UNBOUNDED, Aligner
from stream_app.worker.ownership import Ownership
from stream_app.worker.publisher import WrittenRange
from stream_app.worker.restoring import Restorer
from stream_app.worker.standbys import Standbys

ENGINE = engine_of(Settings(partitions=1))


class LogRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None


class LogOfOne:
    """The changelog of one partition in memory; before each write of ours comes a piece of `meanwhile`."""

    topic = "changelog"

    def __init__(self, meanwhile: list[list[tuple[bytes, bytes | None]]]) -> None:
        self.records: list[LogRecord] = []
        self._meanwhile = meanwhile

    def append(self, records: Sequence[tuple[bytes, bytes | None]]) -> None:
        for key, value in records:
            self.records.append(LogRecord(len(self.records), key, value))

    async def ends(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, len(self.records))

    async def read(
        self, starts: Mapping[int, int], ends: Mapping[int, int], fold: Callable[[int, Sequence[Any]], None]
    ) -> Mapping[int, int]:
        for number, start in starts.items():
            fold(number, self.records[start : ends[number]])
        return ends

    async def write(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> WrittenRange:
        assert partition == 0
        if self._meanwhile:
            self.append(self._meanwhile.pop(0))
        first = len(self.records)
        self.append(records)
        return WrittenRange(first, len(self.records), is_unbroken=True)

    def compacted(self) -> "LogOfOne":
        """What compaction may leave: the newest record of each key."""
        newest = {record.key: record for record in self.records}
        left = LogOfOne([])
        left.append([(record.key, record.value) for record in sorted(newest.values())])
        return left


def state(customer: str, clicks: int, sequence: int) -> tuple[bytes, bytes]:
    made = new_state()
    made.clicks = ClicksState(sessions=clicks)
    return customer.encode(), envelope(STATE, 1, sequence) + encode_state(made)


def closing(sequence: int) -> tuple[bytes, bytes]:
    return PARTITION_KEY, envelope(PARTITION, 1, sequence) + encode_partition_record(PartitionRecord(PartitionState()))


def sessions_in(log: LogOfOne) -> dict[str, int]:
    restorer = Restorer(MemoryStore())
    restorer.take(log.records)
    assert restorer.finish(len(log.records)).unfinished == ()
    return {name: found.clicks.sessions for name, found in restorer.store.items() if found.clicks is not None}


async def take_over(log: LogOfOne, copied: int | None = None) -> dict[str, int]:
    """Take the partition over, from a standby that read so many records, or from none."""
    standbys = Standbys(lambda _: MemoryStore())
    if copied is not None:
        standbys.follow({0})
        standbys.take(0, standbys.open(0, len(log.records)), log.records[:copied])
    owned = (await new_ownership(log, standbys, lambda _: MemoryStore()).take_over([0]))[0]
    return {name: found.clicks.sessions for name, found in owned.store.items() if found.clicks is not None}


def new_ownership(log: LogOfOne, standbys: Standbys, open_store: Callable[[int], PartitionStore]) -> Ownership:
    return Ownership(
        ENGINE,
        log,  # type: ignore[arg-type]  # as much of a changelog as claims need
        None,  # type: ignore[arg-type]  # nothing is sent: there is no outbox
        open_store,
        standbys,
        lambda: Aligner(1, UNBOUNDED),
        lambda _: None,  # type: ignore[arg-type,return-value]
        Metrics("worker"),
    )


async def test_what_the_former_owner_finished_during_the_claim_is_written_over_the_claims_first_try() -> None:
    log = LogOfOne([[closing(1)]])
    log.append([state("known", 1, 0), closing(0), state("known", 2, 1), state("new", 3, 1)])
    assert await take_over(log) == {"known": 2, "new": 3}
    # The first try wrote the old state of one, and a tombstone for the other, behind what then came to count.
    assert sessions_in(log) == sessions_in(log.compacted()) == {"known": 2, "new": 3}


async def test_a_batch_that_stays_unfinished_stays_undone() -> None:
    log = LogOfOne([[state("known", 9, 1)]])
    log.append([state("known", 1, 0), closing(0), state("known", 2, 1), state("new", 3, 1)])
    assert await take_over(log) == {"known": 1}
    assert sessions_in(log) == sessions_in(log.compacted()) == {"known": 1}


@pytest.mark.parametrize("is_copied", [False, True])
async def test_a_takeover_that_another_rebalance_breaks_off_leaves_its_stores_to_the_next(
    tmp_path: Path, is_copied: bool
) -> None:
    log = LogOfOne([])
    log.append([state("known", 1, 0), closing(0)])

    async def broken_off(*_: object) -> Mapping[int, int]:
        raise asyncio.CancelledError

    def open_store(number: int) -> PartitionStore:
        return RocksdbStore(tmp_path / str(number))

    standbys = Standbys(open_store)
    if is_copied:
        standbys.follow({0})
        standbys.take(0, standbys.open(0, len(log.records)), log.records)
    ownership = new_ownership(log, standbys, open_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log, "read", broken_off)
        with pytest.raises(asyncio.CancelledError):
            await ownership.take_over([0])
    owned = (await ownership.take_over([0]))[0]
    assert [name for name, _ in owned.store.items()] == ["known"]
    owned.store.close()


@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(["ada", "bob", "cyd"]), st.integers(1, 99)), max_size=3), max_size=6
    ),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    copied=st.none() | st.integers(0, 30),
)
async def test_whatever_a_former_owner_still_writes_log_and_compacted_log_agree_with_the_new_owner(
    batches: list[list[tuple[str, int]]], cuts: list[int], copied: int | None
) -> None:
    written: list[tuple[bytes, bytes | None]] = []
    for sequence, batch in enumerate(batches, start=1):
        written += [*(state(name, number, sequence) for name, number in batch), closing(sequence)]
    at = sorted({min(cut, len(written)) for cut in cuts})
    pieces = [written[start:end] for start, end in zip([0, *at], [*at, len(written)], strict=True)]
    log = LogOfOne(pieces[1:])
    log.append([closing(0), *pieces[0]])
    live = await take_over(log, copied)
    assert sessions_in(log) == sessions_in(log.compacted()) == live
