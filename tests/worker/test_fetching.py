"""Raw fetching against aiokafka's own: the same records and the same positions, whatever the log holds."""

import asyncio
import inspect
import re
import struct
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchError, FetchResult, PartitionRecords
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.errors import CorruptRecordException, TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder, _DefaultRecordBatchBuilderPy
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from hypothesis import given
from hypothesis import strategies as st

from stream_app.worker.fetching import PAUSE_SECONDS_PER_PARTITION, RawFetcher, _take, fetch_raw

PLACE, OTHER, THIRD = TopicPartition("clickstream", 0), TopicPartition("orders", 0), TopicPartition("reviews", 0)
ABORT, COMMIT = b"\x00\x00\x00\x00", b"\x00\x00\x00\x01"
GZIP = 1
CONTROL = 0x20


class Log(NamedTuple):
    """What a broker answers."""

    raw: bytes
    aborted: list[tuple[int, int]]
    end: int


def batch(first: int, gaps: list[int], producer: int = -1, marker: bytes | None = None) -> tuple[bytes, int]:
    """Return a batch with so many offsets missing behind each record, as compaction leaves it, and its end."""
    builder = _DefaultRecordBatchBuilderPy(2, 0, int(producer >= 0), producer, 0, 0, 1 << 20)
    offset = 0
    for number, gap in enumerate(gaps):
        key = b"k%d" % number if marker is None else marker
        builder.append(offset, 1_000 + number, key, b"value", [("a", b"1"), ("b", None)])
        offset += 1 + gap
    raw = bytearray(builder.build())
    struct.pack_into(">q", raw, 0, first)
    attributes = struct.unpack_from(">h", raw, builder.ATTRIBUTES_OFFSET)[0]
    struct.pack_into(">hi", raw, builder.ATTRIBUTES_OFFSET, attributes | (CONTROL if marker else 0), offset - 1)
    struct.pack_into(">I", raw, builder.CRC_OFFSET, calc_crc32c(raw[builder.ATTRIBUTES_OFFSET :]))
    return bytes(raw), first + offset


def legacy(first: int, codec: int, count: int) -> tuple[bytes, int]:
    """Return records of message format 1 and the offset behind them; several only if they are compressed."""
    builder = LegacyRecordBatchBuilder(1, codec, 1 << 20)
    for number in range(count):
        builder.append(number if codec else first + number, 1_000, b"k%d" % number, b"old")
    raw = bytearray(builder.build())
    if codec:
        # What is compressed is wrapped: the wrapper has the last offset.
        struct.pack_into(">q", raw, 0, first + count - 1)
    return bytes(raw), first + count


@st.composite
def logs(draw: st.DrawFn) -> Log:
    raw, at = b"", draw(st.integers(0, 50))
    aborted: list[tuple[int, int]] = []
    open_since: dict[int, int] = {}
    # Not mixed: brokers convert what they answer with to one format.
    kinds = draw(st.sampled_from((("legacy",), ("plain", "plain", "transaction", "end"))))
    for _ in range(draw(st.integers(0, 7))):
        kind = draw(st.sampled_from(kinds))
        producer = draw(st.sampled_from((7, 8)))
        if kind == "end":
            marker = draw(st.sampled_from((ABORT, COMMIT)))
            if marker == ABORT and producer in open_since:
                aborted.append((producer, open_since[producer]))
            open_since.pop(producer, None)
            piece, at = batch(at, [0], producer, marker)
        elif kind == "legacy":
            codec = draw(st.sampled_from((0, GZIP)))
            piece, at = legacy(at, codec, draw(st.integers(1, 4)) if codec else 1)
        else:
            gaps = draw(st.lists(st.integers(0, 2), min_size=1, max_size=6))
            if kind == "transaction":
                open_since.setdefault(producer, at)
            piece, at = batch(at, gaps, producer if kind == "transaction" else -1)
        raw += piece
    return Log(raw, aborted, at)


class Place:
    """One assigned partition with what was fetched of it."""

    def __init__(self, log: Log, start: int, isolation: int, *, check_crcs: bool = True) -> None:
        self.assignment = Assignment([PLACE])
        self.state = self.assignment.state_value(PLACE)
        self.state.seek(start)
        records = PartitionRecords(PLACE, MemoryRecords(log.raw), log.aborted, start, None, None, check_crcs, isolation)
        self.result = FetchResult(PLACE, assignment=self.assignment, partition_records=records, backoff=0)


def content(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.key, record.value, tuple(record.headers)


@given(logs(), st.integers(0, 60), st.sampled_from((0, 1)), st.lists(st.integers(1, 5), max_size=30))
async def test_any_polls_bring_the_records_and_positions_of_aiokafka(
    log: Log, start: int, isolation: int, polls: list[int]
) -> None:
    theirs, ours = Place(log, start, isolation), Place(log, start, isolation)
    for most in [*polls, 1_000, 1_000]:
        expected = [content(record) for record in theirs.result.getall(most)] if theirs.result.has_more() else []
        taken = [content(record) for record in _take(ours.result, PLACE, most)] if ours.result.has_more() else []
        assert taken == expected
        assert ours.state.position == theirs.state.position
    assert not ours.result.has_more()


@pytest.mark.parametrize(("isolation", "expected"), [(0, [0, 1, 2, 3, 5, 7]), (1, [2, 3, 5, 7])])
async def test_what_was_aborted_is_read_only_by_who_reads_what_is_not_committed(
    isolation: int, expected: list[int]
) -> None:
    raw, at = b"", 0
    for gaps, producer, marker in (
        ([0, 0], 7, None),
        ([0], 8, None),
        ([0], -1, None),
        ([0], 7, ABORT),
        ([0], 7, None),
        ([0], 7, COMMIT),
        ([0], 8, None),
        ([0], 8, COMMIT),
    ):
        piece, at = batch(at, gaps, producer, marker)
        raw += piece
    place = Place(Log(raw, [(7, 0)], at), 0, isolation)
    assert [record.offset for record in _take(place.result, PLACE, 99)] == expected
    assert place.state.position == at


async def test_what_was_read_to_its_end_can_be_fetched_on_at_once() -> None:
    place = Place(Log(batch(5, [0, 0, 3])[0], [], 11), 5, 0)
    assert [record.offset for record in _take(place.result, PLACE, 2)] == [5, 6]
    assert place.result.has_more()
    assert [record.offset for record in _take(place.result, PLACE, 1)] == [7]
    # Compaction left nothing behind it: only another look tells.
    assert place.result.has_more()
    assert _take(place.result, PLACE, 1) == []
    assert (place.result.has_more(), place.state.position) == (False, 11)
    place = Place(Log(batch(5, [0, 0])[0], [], 7), 5, 0)
    assert len(_take(place.result, PLACE, 2)) == 2
    assert (place.result.has_more(), place.state.position) == (False, 7)


@pytest.mark.parametrize("taken_before", [0, 1, 2])
@pytest.mark.parametrize("damaged", ["structure", "checksum"])
async def test_damaged_records_are_told_and_never_passed(taken_before: int, damaged: str) -> None:
    (good, between), (bad, end) = batch(0, [0, 0]), batch(2, [0, 0])
    bad = bad[:-1] + b"\xff" if damaged == "structure" else bad.replace(b"value", b"vague", 1)
    place = Place(Log(good + bad + batch(end, [0])[0], [], end), 0, 0, check_crcs=damaged == "checksum")
    if taken_before:
        _take(place.result, PLACE, taken_before)
    with pytest.raises(CorruptRecordException):
        _take(place.result, PLACE, 10)
    assert place.state.position == taken_before <= between
    assert not place.result.has_more()


async def test_raw_records_have_what_we_read() -> None:
    for raw in (batch(3, [0])[0], legacy(3, 0, 1)[0], legacy(3, GZIP, 1)[0]):
        (record,) = _take(Place(Log(raw, [], 4), 3, 0).result, PLACE, 9)
        assert (record.offset, record.timestamp, record.key) == (3, 1_000, b"k0")
    assert DefaultRecordBatchBuilder is not _DefaultRecordBatchBuilderPy, "the compiled classes are the ones in use"
    assert DefaultRecordBatch.__module__.startswith("aiokafka.record._crecords")


class Client:
    """As much of a client as a fetcher needs that never sends."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._metadata_max_age_ms = 1_000
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: None)

    def force_metadata_update(self) -> asyncio.Future[None]:
        return self._loop.create_future()


class Setting:
    """A fetcher, theirs or ours, with what was fetched of each partition."""

    def __init__(self, kind: type[Fetcher]) -> None:
        self.subscriptions = SubscriptionState()
        self.subscriptions.assign_from_user([PLACE, OTHER])
        self.fetcher = kind(Client(), self.subscriptions, fetcher_timeout=60)

    def fetched(self, tp: TopicPartition, count: int, backoff: float = 0) -> None:
        assignment = self.subscriptions.subscription.assignment
        if tp in assignment.tps:
            assignment.state_value(tp).seek(0)
        memory = MemoryRecords(batch(0, [0] * count)[0])
        records = PartitionRecords(tp, memory, [], 0, None, None, True, 0)
        result = FetchResult(tp, assignment=assignment, partition_records=records, backoff=backoff)
        self.fetcher._records[tp] = result

    def position(self, tp: TopicPartition) -> int:
        position: int = self.subscriptions.subscription.assignment.state_value(tp).position
        return position

    async def poll(self, wanted: dict[TopicPartition, int], most: int | None = None, timeout: float = 0) -> Any:  # noqa: ASYNC109
        polled = await self.fetcher.fetched_records(wanted, timeout=timeout, max_records=most)
        return {tp: [record.offset for record in records] for tp, records in polled.items()}


@pytest.fixture
async def setting() -> AsyncIterator[Setting]:
    made = Setting(RawFetcher)
    yield made
    await made.fetcher.close()


ALL = {PLACE: 1_000, OTHER: 1_000}


@given(
    st.permutations((PLACE, OTHER, THIRD)),
    st.lists(st.integers(1, 5), min_size=3, max_size=3),
    st.sets(st.sampled_from((PLACE, OTHER)), min_size=1),
    st.sampled_from((None, PLACE, OTHER)),
    st.lists(st.one_of(st.none(), st.integers(1, 6)), min_size=1, max_size=6),
)
async def test_without_limits_polls_are_those_of_aiokafka(
    order: list[TopicPartition],
    counts: list[int],
    wanted: set[TopicPartition],
    paused: TopicPartition | None,
    polls: list[int | None],
) -> None:
    # THIRD is not ours any more: what was fetched of it goes.
    told = []
    for kind in (Fetcher, RawFetcher):
        made = Setting(kind)
        for tp, count in zip(order, counts, strict=True):
            made.fetched(tp, count)
        if paused is not None:
            made.subscriptions.pause(paused)
        seen = [
            (await made.poll(dict.fromkeys(wanted, 1_000), most), made.position(PLACE), made.position(OTHER))
            for most in polls
        ]
        left = [tp for tp, result in made.fetcher._records.items() if result.has_more()]
        told.append((seen, left))
        await made.fetcher.close()
    theirs, ours = told
    assert ours[0] == theirs[0]
    # Ours knows at once what was read to its end.
    assert set(ours[1]) <= set(theirs[1])


async def test_of_each_partition_as_many_as_said(setting: Setting) -> None:
    setting.fetched(PLACE, 5)
    setting.fetched(OTHER, 5)
    assert await setting.poll({PLACE: 2, OTHER: 3}) == {PLACE: [0, 1], OTHER: [0, 1, 2]}
    assert await setting.poll({PLACE: 9, OTHER: 9}, most=4) == {PLACE: [2, 3, 4], OTHER: [3]}
    assert (setting.position(PLACE), setting.position(OTHER)) == (5, 4)


async def test_what_a_poll_emptied_may_be_fetched_again(setting: Setting) -> None:
    await asyncio.sleep(0)
    setting.fetched(PLACE, 2)
    again = setting.fetcher._wait_consume_future
    assert await setting.poll({PLACE: 1})
    assert not again.done()
    assert await setting.poll({PLACE: 1})
    assert again.done()
    assert PLACE not in setting.fetcher._records


async def test_errors_come_after_the_records_before_them_and_once(setting: Setting) -> None:
    setting.fetched(PLACE, 1)
    setting.fetcher._records[OTHER] = FetchError(error=TopicAuthorizationFailedError("orders"), backoff=0)
    assert await setting.poll(ALL) == {PLACE: [0]}
    with pytest.raises(TopicAuthorizationFailedError):
        await setting.poll(ALL)
    assert await setting.poll(ALL) == {}


async def test_a_poll_waits_for_records_and_no_longer_than_said(setting: Setting) -> None:
    polling = asyncio.create_task(setting.poll(ALL, timeout=30))
    await asyncio.sleep(0)
    setting.fetched(PLACE, 1)
    for waiter in setting.fetcher._fetch_waiters:
        setting.fetcher._notify(waiter)
    assert await asyncio.wait_for(polling, 5) == {PLACE: [0]}
    assert await setting.poll(ALL, timeout=0.01) == {}
    await asyncio.sleep(0)
    assert not setting.fetcher._fetch_waiters


async def test_a_poll_is_woken_before_it_waits_and_while_it_does(setting: Setting) -> None:
    setting.fetcher.wake()
    assert await asyncio.wait_for(setting.poll(ALL, timeout=30), 5) == {}
    polling = asyncio.create_task(setting.poll(ALL, timeout=30))
    await asyncio.sleep(0)
    setting.fetcher.wake()
    assert await asyncio.wait_for(polling, 5) == {}
    polling = asyncio.create_task(setting.poll(ALL, timeout=30))
    done, _ = await asyncio.wait([polling], timeout=0.05)
    assert not done, "woken once, and not for ever"
    polling.cancel()


async def test_the_critical_error_of_a_group_reaches_the_poll(setting: Setting) -> None:
    polling = asyncio.create_task(setting.poll(ALL, timeout=30))
    await asyncio.sleep(0)
    setting.subscriptions.abort_waiters(TopicAuthorizationFailedError("orders"))
    with pytest.raises(TopicAuthorizationFailedError):
        await asyncio.wait_for(polling, 5)


@pytest.mark.parametrize("other", ["fetched", "paused", "read to its end"])
async def test_fetches_pause_by_the_number_of_partitions_once_something_was_fetched_of_each(
    setting: Setting, other: str
) -> None:
    assignment = setting.subscriptions.subscription.assignment
    state = assignment.state_value(OTHER)

    def pause() -> float:
        setting.fetcher._get_actions_per_node(assignment)
        seconds: float = setting.fetcher._prefetch_backoff
        return seconds

    assert pause() == 0
    setting.fetched(PLACE, 2, backoff=60)
    *_, timeout, _, _ = setting.fetcher._get_actions_per_node(assignment)
    assert timeout == pytest.approx(60, abs=1)
    state.seek(4)
    assert pause() == 0, "it is not known where the other one ends"
    state.highwater = 5
    assert pause() == 0
    if other == "fetched":
        setting.fetched(OTHER, 1)
    elif other == "paused":
        state.pause()
    else:
        state.highwater = 4
    assert pause() == 2 * PAUSE_SECONDS_PER_PARTITION
    # And from then on, whoever has to be fetched again.
    state.highwater = 9
    setting.fetcher._records.clear()
    assert pause() == 2 * PAUSE_SECONDS_PER_PARTITION
    setting.subscriptions.unsubscribe()
    setting.subscriptions.assign_from_user([PLACE])
    assignment = setting.subscriptions.subscription.assignment
    assert pause() == 0, "a new assignment begins anew"
    made = inspect.getsource(Fetcher._proc_fetch_request)
    assert "backoff=self._prefetch_backoff" in made
    assert "partition_records=partition_records" in made
    assert "self._records[tp] = FetchResult(" in made


async def test_a_started_consumer_gets_a_fetcher_with_its_own_settings() -> None:
    consumer = AIOKafkaConsumer(isolation_level="read_committed", fetch_min_bytes=17, check_crcs=False)
    try:
        stock = consumer._fetcher = Fetcher(Client(), consumer._subscription)
        await fetch_raw(consumer)
        assert stock._closed
        assert type(consumer._fetcher) is RawFetcher
        assert consumer._fetcher._isolation_level == 1
        assert consumer._fetcher._fetch_min_bytes == 17
        assert not consumer._fetcher._check_crcs
        assert consumer._subscription._fetch_waiters is consumer._fetcher._fetch_waiters
        # As `start` makes it, but for the deserializers.
        argument = re.compile(r"(\w+)=(?:self|consumer)\.(_\w+)")
        start = re.search(r"Fetcher\((.*?)\n        \)", inspect.getsource(AIOKafkaConsumer.start), re.DOTALL)
        assert start is not None
        theirs, ours = argument.findall(start[1]), argument.findall(inspect.getsource(fetch_raw))
        assert [pair for pair in theirs if "deserializer" not in pair[0]] == ours
        await consumer._fetcher.close()
    finally:
        consumer._closed = True


async def test_deserializers_are_refused() -> None:
    consumer = AIOKafkaConsumer(value_deserializer=len)
    consumer._closed = True
    with pytest.raises(ValueError, match="not deserialized"):
        await fetch_raw(consumer)
