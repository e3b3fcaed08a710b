import heapq
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.events import Click
from stream_app.core.records import ClickRun, Position, TimePassed
from stream_app.core.topics import Topic
from stream_app.worker.aligner import UNBOUNDED, Aligner, Item

LANES = 3


def item(lane: int, offset: int, at_ms: int) -> Item:
    return Item(at_ms, lane, offset, TimePassed(at_ms), (None,), lane, at_ms)


def click_run(lane: int, offset: int, times: list[int]) -> Item:
    clicks = [Click("ada", "", f"e{index}", "page_view") for index in range(len(times))]
    entry = ClickRun(Position(Topic.CLICKSTREAM, 0, offset), "ada", clicks, times)
    return Item(times[0], lane, offset, entry, tuple(range(offset, offset + len(times))), lane, times[-1])


def joined(items: list[Item], ends: set[int]) -> list[Item]:
    """Return entries with neighbours whose times do not decrease joined to runs, but where one ends."""
    groups: list[list[Item]] = []
    for index, one in enumerate(items):
        if groups and index not in ends and groups[-1][-1].at_ms <= one.at_ms:
            groups[-1].append(one)
        else:
            groups.append([one])
    return [
        click_run(group[0].rank, group[0].offset, [one.at_ms for one in group]) if len(group) > 1 else group[0]
        for group in groups
    ]


def places(items: list[Item]) -> list[tuple[int, int, int]]:
    """Return the place of every record, those in runs included."""
    singles = [
        [one.place]
        if not isinstance(one.entry, ClickRun)
        else [(at_ms, one.rank, one.offset + index) for index, at_ms in enumerate(one.entry.times_ms)]
        for one in items
    ]
    return list(itertools.chain.from_iterable(singles))


def lanes_of(times: list[list[int]]) -> list[list[Item]]:
    return [[item(lane, offset, at) for offset, at in enumerate(column)] for lane, column in enumerate(times)]


TIMES = st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=LANES, max_size=LANES)


@given(times=TIMES, data=st.data())
def test_unbounded_wait_gives_the_one_merge_however_records_arrive(times: list[list[int]], data: st.DataObject) -> None:
    lanes = lanes_of(times)
    # The merge by heads, as if all were there at once.
    whole = Aligner(LANES, UNBOUNDED)
    for lane, items in enumerate(lanes):
        whole.push(lane, items)
    expected = whole.release(10_000, (), 0).items

    aligner = Aligner(LANES, UNBOUNDED)
    pushed = [0] * LANES
    released: list[Item] = []
    for step in itertools.count():
        lagging = [lane for lane in range(LANES) if pushed[lane] < len(lanes[lane])]
        released += aligner.release(data.draw(st.integers(1, 5)), lagging, step * 1_000_000).items
        if not lagging and len(released) == len(expected):
            break
        if lagging:
            lane = data.draw(st.sampled_from(lagging))
            count = data.draw(st.integers(1, 4))
            aligner.push(lane, lanes[lane][pushed[lane] : pushed[lane] + count])
            pushed[lane] += count
    assert released == expected
    assert aligner.buffered == 0


@given(
    times=TIMES,
    ends=st.lists(st.sets(st.integers(0, 12)), min_size=LANES, max_size=LANES),
    limits=st.lists(st.integers(1, 7), min_size=1, max_size=10),
)
def test_runs_merge_as_their_records_do(times: list[list[int]], ends: list[set[int]], limits: list[int]) -> None:
    singles, runs = Aligner(LANES, UNBOUNDED), Aligner(LANES, UNBOUNDED)
    for lane, items in enumerate(lanes_of(times)):
        singles.push(lane, items)
        runs.push(lane, joined(items, ends[lane]))
    for limit in itertools.cycle(limits):
        expected, found = singles.release(limit, (), 0).items, runs.release(limit, (), 0).items
        assert places(found) == places(expected)
        assert runs.buffered == singles.buffered
        for one in found:
            assert one.last_ms == places([one])[-1][0]
            assert one.at_ms == one.entry.at_ms
            if isinstance(one.entry, ClickRun):
                assert list(one.records) == [offset for _, _, offset in places([one])]
                assert one.entry.position.offset == one.offset
        if not expected:
            break


@given(times=TIMES)
def test_topics_in_event_time_order_merge_into_event_time_order(times: list[list[int]]) -> None:
    lanes = lanes_of([sorted(column) for column in times])
    aligner = Aligner(LANES, 500)
    for lane, items in enumerate(lanes):
        aligner.push(lane, items)
    released = aligner.release(10_000, (), 0).items
    assert released == list(heapq.merge(*lanes, key=lambda one: one.place))


@given(times=TIMES, limits=st.lists(st.integers(1, 7), min_size=1, max_size=10))
def test_every_topic_keeps_its_own_order_and_nothing_is_lost(times: list[list[int]], limits: list[int]) -> None:
    aligner = Aligner(LANES, 0)
    for lane, items in enumerate(lanes_of(times)):
        aligner.push(lane, items)
    released: list[Item] = []
    for limit in itertools.cycle(limits):
        part = aligner.release(limit, (), 0).items
        assert len(part) <= limit
        if not part:
            break
        released += part
    for lane in range(LANES):
        assert [one.offset for one in released if one.rank == lane] == list(range(len(times[lane])))


def test_a_lagging_topic_is_waited_for_so_long_and_no_longer() -> None:
    aligner = Aligner(2, 500)
    aligner.push(0, [item(0, 0, 100)])
    assert aligner.release(10, [1], 1_000).items == []
    assert aligner.release(10, [1], 1_499).items == []
    released = aligner.release(10, [1], 1_500)
    assert [one.at_ms for one in released.items] == [100]
    assert released.given_up == (1,)


def test_a_topic_given_up_on_holds_event_time_back_until_it_has_caught_up() -> None:
    aligner = Aligner(2, 0)
    aligner.push(1, [item(1, 0, 40)])
    aligner.push(0, [item(0, 0, 100)])
    released = aligner.release(10, [1], 0)
    assert [one.at_ms for one in released.items] == [40, 100]
    assert released.hold_ms == 40
    assert aligner.release(10, [1], 1).hold_ms == 40
    assert aligner.release(10, [], 2).hold_ms is None


def test_a_topic_that_was_never_read_holds_all_time_back() -> None:
    aligner = Aligner(2, 0)
    aligner.push(0, [item(0, 0, 100)])
    assert aligner.release(10, [1], 0).hold_ms == 0


def test_caught_up_topics_are_not_waited_for() -> None:
    aligner = Aligner(2, UNBOUNDED)
    aligner.push(0, [item(0, 0, 100)])
    released = aligner.release(10, [], 0)
    assert [one.at_ms for one in released.items] == [100]
    assert released.hold_ms is None


def test_a_wait_is_counted_again_after_data_came() -> None:
    aligner = Aligner(2, 500)
    aligner.push(0, [item(0, 0, 100), item(0, 1, 200)])
    aligner.release(1, [1], 0)
    assert aligner.release(1, [1], 500).given_up == (1,)
    aligner.push(1, [item(1, 0, 150)])
    assert [one.at_ms for one in aligner.release(10, [1], 600).items] == [150]
    assert aligner.release(10, [1], 1_099).items == []
    assert aligner.release(10, [1], 1_100).given_up == (1,)


def test_clearing_drops_everything() -> None:
    aligner = Aligner(2, 500)
    aligner.push(0, [item(0, 0, 100)])
    aligner.release(1, [1], 0)
    aligner.clear()
    assert aligner.buffered == 0
    assert aligner.release(10, [], 0).items == []


@pytest.mark.parametrize("rank", [0, 1])
def test_equal_times_go_by_rank_then_offset(rank: int) -> None:
    aligner = Aligner(2, 0)
    for lane in (rank, 1 - rank):
        aligner.push(lane, [item(lane, 0, 7), item(lane, 1, 7)])
    assert [(one.rank, one.offset) for one in aligner.release(10, (), 0).items] == [(0, 0), (0, 1), (1, 0), (1, 1)]
