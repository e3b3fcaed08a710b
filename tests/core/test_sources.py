from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.hashing import digest
from stream_app.core.records import Position
from stream_app.core.sources import RING_IDS, admit, ring_of_first_version
from stream_app.core.state import SourceState
from stream_app.core.topics import RANK, Topic


def fresh() -> SourceState:
    return SourceState(offsets={}, rings={})


def at(offset: int, topic: Topic = Topic.ORDERS, partition: int = 0, epoch: int = 0) -> Position:
    return Position(topic, partition, offset, epoch)


@given(st.lists(st.integers(0, 50), min_size=1))
def test_each_offset_is_admitted_at_most_once_whatever_is_redelivered(offsets: list[int]) -> None:
    sources = fresh()

    admitted = [offset for offset in offsets if admit(sources, at(offset), f"id-{offset}")]

    assert len(set(admitted)) == len(admitted)
    assert admitted == sorted(admitted)


def test_an_id_seen_lately_is_refused_at_a_new_offset() -> None:
    sources = fresh()
    assert admit(sources, at(0), "same")

    assert not admit(sources, at(1), "same")
    assert admit(sources, at(2), "other")


def test_the_ring_forgets_the_oldest_id() -> None:
    sources = fresh()
    for offset in range(RING_IDS + 1):
        assert admit(sources, at(offset), f"id-{offset}")

    assert not admit(sources, at(RING_IDS + 1), "id-1")
    assert admit(sources, at(RING_IDS + 2), "id-0")


def test_topics_and_partitions_have_their_own_offsets() -> None:
    sources = fresh()

    assert admit(sources, at(5, Topic.ORDERS), "a")
    assert admit(sources, at(0, Topic.CLICKSTREAM), "b")
    assert admit(sources, at(0, Topic.ORDERS, partition=3), "c")
    assert not admit(sources, at(5, Topic.ORDERS), "d")


def test_a_raised_source_epoch_starts_anew_and_the_old_one_is_stale() -> None:
    sources = fresh()
    assert admit(sources, at(100, epoch=0), "a")

    assert admit(sources, at(0, epoch=1), "b")
    assert not admit(sources, at(101, epoch=0), "c")
    assert len(sources.offsets) == 1


def test_ids_noted_by_the_first_version_are_still_known() -> None:
    ids = ["one", "two", "three"]
    sources = SourceState(rings={RANK[Topic.ORDERS]: ring_of_first_version(b"".join(digest(each, 6) for each in ids))})

    assert [admit(sources, at(offset), each) for offset, each in enumerate([*ids, "four"])] == [False] * 3 + [True]
