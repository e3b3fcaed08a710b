"""Restoring in bulk: how fast, and only what is new. STREAM_APP_TEST_RECOVERY_RECORDS makes the measured log longer."""

import os
import time
from collections.abc import AsyncIterator

import pytest

from stream_app.adapters.metrics import Metrics
from stream_app.worker.run import Worker, build_worker
from tests.support import kafka as bench
from tests.support.changelogs import write_changelog
from tests.support.kafka import NewSettings

RECORDS = int(os.environ.get("STREAM_APP_TEST_RECOVERY_RECORDS", "40000"))


@pytest.fixture
async def idle_worker(new_settings: NewSettings) -> AsyncIterator[tuple[Worker, Metrics]]:
    """A worker that was put together and not started: partitions come and go as the test says."""
    metrics = Metrics("worker")
    worker = await build_worker(new_settings(), metrics)
    try:
        yield worker, metrics
    finally:
        worker.pipeline.close()
        await worker.producer.stop()


async def test_restoring_is_many_times_faster_than_fausts_own(idle_worker: tuple[Worker, Metrics]) -> None:
    worker, metrics = idle_worker
    customers = await write_changelog(worker.settings, RECORDS)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    await worker.pipeline.own(set(range(worker.settings.partitions)))
    seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu_begun
    restored = bench.total(metrics, "recovered_records_total")
    told = f"{restored:,.0f} records: {restored / cpu_seconds:,.0f} a CPU-second, {restored / seconds:,.0f} a second"
    print(told)  # noqa: T201 - the figure; shown, not asserted: it depends on the machine
    assert sum(len(owned.store) for owned in worker.pipeline.owned.values()) == customers
    assert bench.total(metrics, "recovery_records_per_customer") == pytest.approx(restored / customers)
    assert bench.total(metrics, "recovery_records_per_second") > 0


async def test_partitions_that_stay_are_not_read_again(idle_worker: tuple[Worker, Metrics]) -> None:
    worker, metrics = idle_worker
    await bench.feed(worker.settings, bench.shop(seed=21, events=300))
    await bench.process_all(worker.settings)
    await worker.pipeline.own({0, 1})
    first = bench.total(metrics, "recovered_records_total")
    kept = dict(worker.pipeline.owned)
    assert first > 0
    await worker.pipeline.own({0, 1, 2})
    await worker.pipeline.own({1, 2})
    every = len(await bench.read_all(worker.settings, worker.settings.changelog_topic))
    # Of 0 and 1 what was there at first, of 2 the same, and never our own claims of the three.
    assert bench.total(metrics, "recovered_records_total") == every - 3
    assert worker.pipeline.owned[1] is kept[1]


async def test_a_partition_that_someone_else_owned_in_between_is_read_again(
    idle_worker: tuple[Worker, Metrics],
) -> None:
    worker, metrics = idle_worker
    settings = worker.settings
    await worker.pipeline.own({0, 1, 2})
    await bench.feed(settings, bench.shop(seed=22, events=200))
    await bench.process_all(settings)
    before = bench.total(metrics, "recovered_records_total")
    await worker.pipeline.own({0, 1, 2})
    assert bench.total(metrics, "recovered_records_total") > before
    known = {name for owned in worker.pipeline.owned.values() for name, _ in owned.store.items()}
    assert known == {name for one in (await bench.restored_states(settings)).values() for name in one.states}
