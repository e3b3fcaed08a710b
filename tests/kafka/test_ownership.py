"""Partitions that change hands: outboxes, unfinished batches, paused owners, several workers."""

import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.core.state import new_state
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    PendingSend,
    encode_partition_record,
    envelope,
)
from stream_app.wire.state_codec import encode_state
from stream_app.worker.ownership import FencedError
from stream_app.worker.publisher import Publisher
from tests.support import kafka as bench
from tests.support.shop_stream import Mix, ShopStream


async def write_changelog(settings: Settings, partition: int, records: list[tuple[bytes, bytes | None]]) -> None:
    producer = AIOKafkaProducer(**client_arguments(settings))
    await producer.start()
    try:
        await Publisher(producer).write(settings.changelog_topic, partition, records)
    finally:
        await producer.stop()


async def feed_and_process(settings: Settings, seed: int = 11, events: int = 300) -> None:
    await bench.feed(settings, bench.shop(seed=seed, events=events))
    await bench.process_all(settings)


async def test_a_new_owner_sends_the_outbox_again_byte_for_byte(worker_settings: Settings) -> None:
    await feed_and_process(worker_settings)
    last = (await bench.restored_states(worker_settings))[0].restored
    pending = PendingSend(
        Topic.INTERVENTIONS, b"ada", b'{"told":"once"}', (("ce_id", b"iv_outbox"),), 1_767_600_000_000
    )
    record = PartitionRecord(last.record.memory, last.record.positions, (pending,))
    closing = envelope(PARTITION, last.epoch, 10_000) + encode_partition_record(record)
    await write_changelog(worker_settings, 0, [(PARTITION_KEY, closing)])
    for _ in range(2):
        await bench.process_all(worker_settings)
    sent = await bench.read_all(worker_settings, worker_settings.topic(Topic.INTERVENTIONS))
    repeated = [one for one in sent if dict(one.headers)["ce_id"] == b"iv_outbox"]
    # Twice: the claim carries the outbox on until a batch of the new owner's own replaces it.
    assert [(one.key, one.value) for one in repeated] == [(b"ada", b'{"told":"once"}')] * 2


async def test_each_owner_claims_with_the_next_epoch(worker_settings: Settings) -> None:
    for expected in (1, 2, 3):
        await feed_and_process(worker_settings, seed=expected, events=30)
        changed = await bench.restored_states(worker_settings)
        assert {one.restored.epoch for one in changed.values()} == {expected}


async def test_an_unfinished_batch_is_undone_by_the_next_owner(worker_settings: Settings) -> None:
    await feed_and_process(worker_settings)
    before = (await bench.restored_states(worker_settings))[0]
    known = next(iter(before.states))
    torn = envelope(STATE, before.restored.epoch, 10_000)
    changed = encode_state(new_state())
    await write_changelog(worker_settings, 0, [(known.encode(), torn + changed), (b"nobody", torn + changed)])
    await bench.process_all(worker_settings)
    after = (await bench.restored_states(worker_settings))[0]
    assert after.states == before.states
    assert after.restored.unfinished == ()


async def test_what_a_former_owner_writes_late_is_written_over(worker_settings: Settings) -> None:
    await feed_and_process(worker_settings)
    before = (await bench.restored_states(worker_settings))[0]
    known = next(iter(before.states))
    async with bench.worker_of(worker_settings) as worker:
        await bench.until(lambda: worker.pipeline.is_working, "the worker is ready")
        stale = envelope(STATE, 1, 10_000) + encode_state(new_state())
        await write_changelog(worker_settings, 0, [(known.encode(), stale)])
        more = [one for one in bench.shop(seed=12, events=200) if bench.home(one, worker_settings) == 0]
        for part in (more[: len(more) // 2], more[len(more) // 2 :]):
            await bench.feed(worker_settings, part)
            await bench.until_processed(worker_settings)
    assert "foreign_changelog_records_total 1.0" in worker.metrics.page().decode()
    newest = [
        one
        for one in await bench.read_all(worker_settings, worker_settings.changelog_topic)
        if one.key == known.encode()
    ]
    assert newest[-1].value != stale
    assert known in (await bench.restored_states(worker_settings))[0].states


async def test_a_worker_whose_partition_was_taken_over_ends_without_acknowledging(worker_settings: Settings) -> None:
    await bench.feed(worker_settings, bench.shop(seed=13, events=100))
    async with bench.worker_of(worker_settings) as worker:
        await bench.until_processed(worker_settings)
        newer = envelope(PARTITION, 99, 0) + encode_partition_record(
            PartitionRecord(worker.pipeline.owned[0].shard.memory)
        )
        await write_changelog(worker_settings, 0, [(PARTITION_KEY, newer)])
        late = [one for one in bench.shop(seed=14, events=60) if bench.home(one, worker_settings) == 0]
        await bench.feed(worker_settings, late)
        await bench.until(worker.failure.done, "the worker notices")
        error = worker.failure.result()
        assert isinstance(error, FencedError)
        assert "belongs to another worker" in str(error)
        assert await bench.lag(worker_settings) > 0
        bench.excuse(worker)


@pytest.mark.apache
async def test_two_workers_share_and_hand_over(worker_settings: Settings, tmp_path: Path) -> None:
    log = bench.shop(seed=15, events=5_000)
    await bench.feed(worker_settings, log)
    with (
        bench.WorkerProcess(worker_settings, tmp_path / "first.log") as first,
        bench.WorkerProcess(worker_settings, tmp_path / "second.log") as second,
    ):
        await bench.until(lambda: "restored" in second.log.read_text(), "the second has joined")
        assert first.terminate() == 0, first.log.read_text()[-3000:]
        await bench.until_processed(worker_settings)
        assert second.terminate() == 0, second.log.read_text()[-3000:]
    await bench.assert_equals_pure(worker_settings)


@pytest.mark.apache
async def test_a_paused_worker_that_wakes_up_damages_nothing(worker_settings: Settings, tmp_path: Path) -> None:
    shop = ShopStream(Mix(customers=40, step_seconds=600, partitions=worker_settings.partitions), seed=16)
    await bench.feed(worker_settings, shop.slab(6_000))
    with bench.WorkerProcess(worker_settings, tmp_path / "first.log") as first:
        written = 0
        while True:
            written += 20
            await bench.until_written(worker_settings, written)
            first.child.send_signal(signal.SIGSTOP)
            if await bench.lag(worker_settings):
                break
            # A fast machine: it was done and had committed everything. Once more, with more to do.
            first.child.send_signal(signal.SIGCONT)
            await bench.feed(worker_settings, shop.slab(6_000))
        with bench.WorkerProcess(worker_settings, tmp_path / "second.log") as second:
            await bench.until_processed(worker_settings)
            first.child.send_signal(signal.SIGCONT)
            await bench.feed(worker_settings, shop.slab(3_000))
            await bench.until_processed(worker_settings)
            # The first has ended by itself or joined again; either way nothing is left to do.
            assert second.terminate() == 0, second.log.read_text()[-3000:]
        if first.child.poll() is None:
            await bench.until_processed(worker_settings)
            first.terminate()
    await bench.assert_same_folds(worker_settings)
    sent = bench.interventions_by_id(await bench.read_all(worker_settings, worker_settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())
