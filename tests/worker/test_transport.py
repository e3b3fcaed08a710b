"""The chunk consumer without a broker: what it cuts, when it stops, what it commits."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
from faust.transport.consumer import Fetcher
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from stream_app.settings import Settings
from stream_app.worker.app import create_app
from stream_app.worker.offsets import OffsetLedger, SourcePartition
from stream_app.worker.transport import BatchConsumer, Chunk, ChunkPolicy


class PolledRecord(NamedTuple):
    """As much of aiokafka's raw records as the consumer reads."""

    offset: int
    key: bytes = b"k"
    value: bytes = b"value"
    timestamp: int = 0


class ScriptedConsumer(BatchConsumer):
    """Polls what a test put there; positions are those of the script."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.script: list[dict[TP, list[PolledRecord]]] = []
        self.asked: list[set[TP]] = []
        self.limits: dict[TP, int] = {}
        self.while_polling: Any = None

    async def _getmany(self, active_partitions: dict[TP, int], timeout: float) -> Any:  # noqa: ARG002, ASYNC109 - Faust's
        self.asked.append(set(active_partitions))
        self.limits = active_partitions
        if self.while_polling is not None:
            await self.while_polling()
        return self.script.pop(0) if self.script else {}

    def _note_positions(self) -> None: ...

    async def seek_to_committed(self) -> dict[TP, int]:
        return {}


CLICKS = TP("clickstream", 0)
ORDERS = TP("orders", 0)


@pytest.fixture
async def consumer() -> AsyncIterator[ScriptedConsumer]:
    app = create_app(Settings(partitions=1))
    app.chunk_policy = ChunkPolicy(chunk_records=3, buffer_records=10, buffer_bytes=1_000)
    transport = app._new_transport()

    async def ignore(*_: Any) -> None: ...

    consumer = ScriptedConsumer(transport, callback=ignore, on_partitions_revoked=ignore, on_partitions_assigned=ignore)
    consumer._set_active_tps({CLICKS, ORDERS})
    yield consumer
    consumer._thread.thread_loop.close()


def records(*offsets: int) -> list[PolledRecord]:
    return [PolledRecord(offset) for offset in offsets]


async def poll(consumer: ScriptedConsumer) -> list[Chunk]:
    return [message.value async for _, message in consumer.getmany(1.0)]


def shape(chunks: list[Chunk]) -> list[tuple[str, list[int]]]:
    return [(chunk.delivery.source.topic, [record.offset for record in chunk.records]) for chunk in chunks]


async def test_chunks_go_round_over_the_partitions(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(7)), ORDERS: records(0, 1)}]
    assert shape(await poll(consumer)) == [
        ("clickstream", [0, 1, 2]),
        ("orders", [0, 1]),
        ("clickstream", [3, 4, 5]),
        ("clickstream", [6]),
    ]


@pytest.mark.parametrize(("held", "room"), [(4, 6), (7, 3), (9, 3)])
async def test_a_poll_brings_no_more_than_there_is_room_for_or_one_chunk(
    consumer: ScriptedConsumer, held: int, room: int
) -> None:
    allowed = []

    async def note() -> None:
        allowed.append(consumer._thread.most_records)

    consumer.while_polling = note
    consumer.script = [{CLICKS: records(*range(held))}]
    await poll(consumer)
    await poll(consumer)
    assert allowed == [10, room]


async def test_records_below_the_read_offset_are_left_out(consumer: ScriptedConsumer) -> None:
    consumer._read_offset[CLICKS] = 5
    consumer.script = [{CLICKS: records(3, 4, 5, 6)}]
    assert shape(await poll(consumer)) == [("clickstream", [5, 6])]


async def test_a_seek_goes_to_the_beginning_where_nothing_was_committed(
    consumer: ScriptedConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewound: list[TP] = []

    async def committed() -> dict[TP, int | None]:
        return {CLICKS: 5, ORDERS: None, TP(consumer.app.conf.id + "-customers-changelog", 0): None}

    async def seek_to_beginning(*partitions: TP) -> None:
        rewound.extend(partitions)

    monkeypatch.setattr(consumer._thread, "seek_to_committed", committed)
    monkeypatch.setattr(consumer._thread, "seek_to_beginning", seek_to_beginning)
    monkeypatch.setattr(consumer, "_is_changelog_tp", lambda tp: tp.topic.endswith("-changelog"))
    assert (await BatchConsumer.seek_to_committed(consumer))[CLICKS] == 5
    assert rewound == [ORDERS]


async def test_what_was_fetched_before_a_seek_is_never_handed_on(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(9))}]
    delivered = []
    async for _, message in consumer.getmany(1.0):
        delivered.append(message.value)
        await consumer.perform_seek()
    assert shape(delivered) == [("clickstream", [0, 1, 2])]
    assert not consumer.taken(delivered[0])
    consumer.finish(delivered[0])
    assert consumer.ledger.committable(SourcePartition(*CLICKS)) is None


async def test_a_seek_waits_for_the_fetch_under_way(consumer: ScriptedConsumer) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await go_on.wait()

    consumer.while_polling = hold
    consumer.script = [{CLICKS: records(0)}]
    polling = asyncio.create_task(poll(consumer))
    await reached.wait()
    seeking = asyncio.create_task(consumer.perform_seek())
    await asyncio.sleep(0)
    assert not seeking.done()
    go_on.set()
    # The fetch ended before the seek began, so its records are either handed on before it or not at all.
    chunks = await polling
    await seeking
    assert not any(consumer.taken(chunk) for chunk in chunks)


async def test_a_full_buffer_stops_all_but_partitions_of_which_nothing_is_held(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(12))}]
    chunks = await poll(consumer)
    assert consumer.ledger.held_records == 12
    await poll(consumer)
    assert consumer.asked[-1] == {ORDERS}
    for chunk in chunks:
        consumer.taken(chunk)
        consumer.finish(chunk)
    await poll(consumer)
    assert consumer.asked[-1] == {CLICKS, ORDERS}


async def test_a_topic_fetched_far_ahead_leaves_room_for_the_others(consumer: ScriptedConsumer) -> None:
    consumer.script = [{ORDERS: records(0, 1, 2), CLICKS: records(0, 1)}]
    chunks = await poll(consumer)
    await poll(consumer)
    assert consumer.asked[-1] == {CLICKS}
    consumer.taken(chunks[0])
    consumer.finish(chunks[0])
    await poll(consumer)
    assert consumer.asked[-1] == {CLICKS, ORDERS}


async def test_who_lags_shares_the_buffer_evenly(consumer: ScriptedConsumer) -> None:
    consumer.app.chunk_policy = ChunkPolicy(chunk_records=3, buffer_records=100, buffer_bytes=10_000)
    await poll(consumer)
    assert consumer.limits == {CLICKS: 50, ORDERS: 50}
    # Read to the end of its log: the other has the room, less what is held of this one.
    consumer._polled[SourcePartition(*ORDERS)] = (8, 8)
    consumer.script = [{ORDERS: records(*range(8))}]
    await poll(consumer)
    assert consumer.limits == {CLICKS: 100, ORDERS: 100}
    await poll(consumer)
    assert consumer.limits == {CLICKS: 92, ORDERS: 84}
    consumer._polled[SourcePartition(*ORDERS)] = (8, 9)
    consumer.script = [{CLICKS: records(*range(26))}]
    await poll(consumer)
    assert consumer.limits == {CLICKS: 50, ORDERS: 42}
    await poll(consumer)
    assert consumer.limits == {ORDERS: 42}


async def test_the_buffer_is_bounded_and_nobody_waits_for_ever(consumer: ScriptedConsumer) -> None:
    @given(
        st.lists(st.integers(0, 80), min_size=1, max_size=8),
        st.integers(1, 10),
        st.integers(1, 60),
        st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=40),
    )
    def law(backlogs: list[int], chunk_records: int, buffer_records: int, finishes: list[tuple[int, int]]) -> None:
        consumer.app.chunk_policy = ChunkPolicy(chunk_records, buffer_records, 1 << 20)
        consumer.ledger, consumer._polled = OffsetLedger(), {}
        logs = {TP("clickstream", number): backlog for number, backlog in enumerate(backlogs)}
        consumer._set_active_tps(set(logs))
        read, chunks = dict.fromkeys(logs, 0), []

        def poll() -> None:
            ledger = consumer.ledger
            empty = {tp for tp in logs if read[tp] < logs[tp] and not ledger.held_of(tp)}
            wanted, _ = consumer._wanted()
            assert all(limit > 0 for limit in wanted.values())
            assert empty <= wanted.keys(), "the merge could be waiting for just that one"
            room = consumer._room()
            for tp, limit in wanted.items():
                count = min(limit, room, logs[tp] - read[tp])
                if count:
                    chunks.append(ledger.deliver(SourcePartition(*tp), read[tp], read[tp] + count - 1, count, count))
                read[tp] += count
                room -= count
            consumer._polled.update({tp: (read[tp], logs[tp]) for tp in logs})
            assert ledger.held_records <= buffer_records + chunk_records + max(chunk_records, len(logs))

        for number, again in finishes:
            poll()
            for _ in range(min(again, len(chunks))):
                consumer.ledger.finish(chunks.pop(number % len(chunks)))
        for _ in range(sum(backlogs) + 1):
            poll()
            if chunks:
                # The merge lets on only what waits for nobody: here, the partition that was read least far.
                oldest = min(chunks, key=lambda chunk: chunk.first)
                chunks.remove(oldest)
                consumer.ledger.finish(oldest)
        assert read == logs

    law()


async def test_a_poll_that_leaves_partitions_out_ends_when_there_is_room(
    consumer: ScriptedConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = []
    monkeypatch.setattr(consumer._thread, "wake", lambda: woken.append(len(consumer.asked)))
    consumer.script = [{CLICKS: records(*range(12))}]
    chunks = await poll(consumer)
    consumer.finish(chunks[0])
    # The poll so far left nobody out.
    assert woken == []

    async def finish_meanwhile() -> None:
        consumer.finish(chunks[1])
        consumer.finish(chunks[2])

    consumer.while_polling = finish_meanwhile
    await poll(consumer)
    assert consumer.asked[-1] == {ORDERS}
    assert woken == [2]


async def test_room_ends_the_wait_of_a_full_buffer(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(12)), ORDERS: records(0)}]
    chunks = await poll(consumer)
    waiting = asyncio.create_task(poll(consumer))
    await asyncio.sleep(0.01)
    assert len(consumer.asked) == 1, "there is nothing to poll"
    consumer.finish(chunks[1])
    async with asyncio.timeout(0.5):
        await waiting
    await poll(consumer)
    assert consumer.asked[1:] == [{ORDERS}]


async def test_a_seek_ends_a_poll_that_waits_for_room(
    consumer: ScriptedConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken = asyncio.Event()
    monkeypatch.setattr(consumer._thread, "wake", woken.set)
    consumer.script = [{CLICKS: records(*range(12))}]
    await poll(consumer)
    consumer.while_polling = woken.wait
    polling = asyncio.create_task(poll(consumer))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await consumer.perform_seek()
    await polling


async def test_bytes_bound_the_buffer_too(consumer: ScriptedConsumer) -> None:
    large = [record._replace(value=bytes(600)) for record in records(0, 1)]
    consumer.script = [{CLICKS: large}]
    await poll(consumer)
    await poll(consumer)
    assert consumer.asked[-1] == {ORDERS}


async def test_a_topic_lags_while_chunks_are_on_their_way(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(0, 1)}]
    (chunk,) = await poll(consumer)
    source = SourcePartition(*CLICKS)
    consumer._polled[source] = (2, 2)
    assert consumer.lags(source)
    assert consumer.taken(chunk)
    assert not consumer.lags(source)
    consumer._polled[source] = (2, 3)
    assert consumer.lags(source)


async def test_a_partition_never_polled_is_taken_to_lag(consumer: ScriptedConsumer) -> None:
    assert consumer.lags(SourcePartition(*ORDERS))
    consumer._polled[SourcePartition(*ORDERS)] = (0, None)
    assert consumer.lags(SourcePartition(*ORDERS))


async def test_only_finished_chunks_are_committed(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(6))}]
    first, second = await poll(consumer)
    consumer.finish(second)
    assert consumer._filter_committable_offsets(consumer._filter_tps_with_pending_acks()) == {}
    consumer.finish(first)
    assert consumer._filter_committable_offsets(consumer._filter_tps_with_pending_acks()) == {CLICKS: 6}
    consumer._committed_offset[CLICKS] = 6
    assert consumer._filter_committable_offsets(consumer._filter_tps_with_pending_acks()) == {}


class Drain:
    """Runs the consumer's own loop, and keeps what it handed on."""

    def __init__(self, consumer: ScriptedConsumer) -> None:
        self.consumer = consumer
        self.taken: list[Chunk] = []
        self.began = asyncio.Event()
        self.hold: asyncio.Event | None = None
        consumer.callback = self.take
        consumer.resume_flow()

    async def take(self, message: Any) -> None:
        self.taken.append(message.value)
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()

    async def run(self) -> None:
        fetcher = Fetcher(self.consumer.app)

        async def end_after_the_script() -> None:
            if not self.consumer.script:
                fetcher._stopped.set()

        self.consumer.while_polling = end_after_the_script
        async with asyncio.timeout(10):
            await self.consumer._drain_messages(fetcher)


async def test_polls_are_handed_on_whole_and_in_order(consumer: ScriptedConsumer) -> None:
    consumer.script = [
        {CLICKS: records(*range(4)), ORDERS: records(0)},
        {CLICKS: records(4, 5)},
    ]
    drain = Drain(consumer)
    await drain.run()
    assert shape(drain.taken) == [
        ("clickstream", [0, 1, 2]),
        ("orders", [0]),
        ("clickstream", [3]),
        ("clickstream", [4, 5]),
    ]
    assert (consumer._read_offset[CLICKS], consumer._read_offset[ORDERS]) == (5, 0)


async def test_a_rebalance_breaks_off_what_waits_to_be_handed_on(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(*range(9))}]
    drain = Drain(consumer)
    drain.hold = asyncio.Event()
    running = asyncio.ensure_future(drain.run())
    await drain.began.wait()
    consumer.stop_flow()
    await consumer.perform_seek()
    consumer.resume_flow()
    consumer.script = [{CLICKS: records(0, 1)}]
    drain.hold = None
    await running
    assert shape(drain.taken) == [("clickstream", [0, 1, 2]), ("clickstream", [0, 1])]


async def test_what_a_callback_raises_ends_the_loop(consumer: ScriptedConsumer) -> None:
    consumer.script = [{CLICKS: records(0)}]
    drain = Drain(consumer)

    async def fail(message: Any) -> None:
        raise ZeroDivisionError(message)

    consumer.callback = fail
    with pytest.raises(ZeroDivisionError):
        await drain.run()
