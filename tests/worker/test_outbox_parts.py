"""An outbox that is too large for one record: spread over several, and whole again for the next owner."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.stores import MemoryStore
from stream_app.core.partition import PartitionState
from stream_app.core.topics import Topic
from stream_app.engine.shard import Shard
from stream_app.wire.partition_record import (
    OUTBOX_KEY,
    PARTITION_KEY,
    PendingSend,
    decode_outbox_parts,
    encode_outbox_parts,
)
from stream_app.worker.aligner import UNBOUNDED, Aligner
from stream_app.worker.owned import OUTBOX_PART_BYTES, Owned
from stream_app.worker.restoring import Restored, Restorer
from tests.support.engines import build_engine

Written = list[tuple[bytes, bytes | None]]


class LogRecord(NamedTuple):
    offset: int
    key: bytes
    value: bytes | None


def pending(number: int, size: int = 40_000) -> PendingSend:
    return PendingSend(Topic.INTERVENTIONS, b"ada", b"%d" % number * size, (("ce_id", b"iv_%d" % number),), 5)


def owner() -> Owned:
    store = MemoryStore()
    shard: Shard = build_engine().open_shard(0, store, PartitionState(frontier_ms=7))
    owned = Owned(0, store, shard, Aligner(1, UNBOUNDED), {})
    owned.epoch = 1
    return owned


def restored(records: Written) -> Restored:
    restorer = Restorer(MemoryStore())
    restorer.take(LogRecord(offset, key, value) for offset, (key, value) in enumerate(records))
    return restorer.finish(len(records))


@given(sizes=st.lists(st.integers(0, 2_000), max_size=20), most=st.integers(1, 5_000))
def test_parts_hold_everything_in_order(sizes: list[int], most: int) -> None:
    outbox = tuple(pending(number, size) for number, size in enumerate(sizes))
    assert decode_outbox_parts(encode_outbox_parts(outbox, most)) == outbox


def test_no_record_of_a_large_outbox_is_large_and_a_new_owner_has_all_of_it() -> None:
    outbox = tuple(pending(number) for number in range(50))
    batch = owner().changelog_batch(outbox)

    assert max(len(value) for _, value in batch if value is not None) < 2 * OUTBOX_PART_BYTES
    found = restored(batch).record
    assert found.outbox == outbox
    assert found.memory.frontier_ms == 7


def test_parts_of_an_unfinished_batch_are_not_sent_by_the_next_owner() -> None:
    owned = owner()
    first = owned.changelog_batch((pending(0, 10),))
    owned.sequence += 1
    unfinished = owned.changelog_batch(tuple(pending(number) for number in range(1, 50)))[:-1]

    assert restored([*first, *unfinished]).record.outbox == (pending(0, 10),)


def test_parts_left_behind_by_compaction_do_no_harm() -> None:
    owned = owner()
    large = owned.changelog_batch(tuple(pending(number) for number in range(50)))
    owned.sequence += 1
    small = owned.changelog_batch((pending(99, 10),))
    compacted = [(key, value) for key, value in large if key != PARTITION_KEY] + small

    assert any(key.startswith(OUTBOX_KEY) for key, _ in compacted)
    assert restored(compacted).record.outbox == (pending(99, 10),)


def test_a_local_store_keeps_the_whole_outbox() -> None:
    owned = owner()
    outbox = tuple(pending(number) for number in range(50))
    owned.changelog_batch(outbox)
    own = restored([(PARTITION_KEY, owned.closing)])

    assert own.record.outbox == outbox
