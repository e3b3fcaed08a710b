"""A producer at three times capacity: what the worker holds stays bounded, and the backlog is worked off.

STREAM_APP_TEST_OVERLOAD_SECONDS makes it longer (minutes show whether memory grows); the figures are printed.
"""

import os
import re
import time
from collections import deque
from pathlib import Path

import pytest

from stream_app.adapters.broker import free_port
from stream_app.core.topics import Topic
from tests.support import kafka as bench
from tests.support.kafka import NewSettings
from tests.support.probe import GroupProbe
from tests.support.scrape import sample
from tests.support.shop_stream import Mix, ShopStream

SECONDS = float(os.environ.get("STREAM_APP_TEST_OVERLOAD_SECONDS", "0"))
OVERLOAD = 3
SLAB = 1_000
WARM_UP = 3_000
PREPARED_SLABS = 15
MOST_AT_ONCE = 20
BUFFER_RECORDS = 2_000
CHUNK_RECORDS = 200
CUSTOMERS = 200
LANES = 7
SLACK_MEGABYTES = 80
"""For buffers of the clients and what an allocator keeps; a backlog of minutes is far larger."""

LONGEST_COMPARED_SECONDS = 60


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the resident size where Linux tells it")
@pytest.mark.timeout(int(300 + 10 * SECONDS))
async def test_three_times_capacity_degrades_latency_and_nothing_else(
    new_settings: NewSettings, tmp_path: Path
) -> None:
    port = free_port()
    settings = new_settings(
        buffer_records=BUFFER_RECORDS,
        max_chunk_records=CHUNK_RECORDS,
        # Under the wall clock nobody waits for a topic that lags longer than this.
        alignment_wait_ms=200,
        metrics_port=port,
    )
    shop = ShopStream(Mix(CUSTOMERS, 60, settings.partitions), seed=31)
    warm_up = shop.slab(WARM_UP)
    # Made beforehand, so that making them does not slow the producer down.
    prepared = deque(shop.slab(SLAB) for _ in range(PREPARED_SLABS))
    fed = 0
    with bench.WorkerProcess(settings, tmp_path / "worker.log") as worker:
        async with GroupProbe(settings) as probe:

            async def left() -> int:
                assert worker.child.poll() is None, worker.log.read_text()[-3_000:]
                return sum((await probe.lags()).values())

            async def done() -> bool:
                return await left() == 0

            await bench.feed(settings, warm_up)
            await bench.until(done, "the warm-up is done")
            warm = resident_megabytes(worker.child.pid)

            begun, most_held, most_resident, longest, consumed = time.monotonic(), 0.0, warm, 0, 0
            while prepared or time.monotonic() - begun < SECONDS:
                # Ahead of the worker by the factor, however fast it is here.
                wanted = max(1, OVERLOAD * (consumed + SLAB) // SLAB - fed // SLAB)
                slabs = [prepared.popleft() if prepared else shop.slab(SLAB) for _ in range(min(wanted, MOST_AT_ONCE))]
                await bench.feed(settings, [record for slab in slabs for record in slab])
                fed += SLAB * len(slabs)
                backlog = await left()
                consumed = max(0, fed - backlog)
                longest = max(longest, backlog)
                most_held = max(most_held, sample(port, "buffered_records"))
                most_resident = max(most_resident, resident_megabytes(worker.child.pid))
            overloaded_seconds = time.monotonic() - begun
            await bench.until(done, "the backlog is worked off", 60 + 20 * SECONDS)
            worked_off_seconds = time.monotonic() - begun - overloaded_seconds
            most_resident = max(most_resident, resident_megabytes(worker.child.pid))
        assert worker.terminate() == 0, worker.log.read_text()[-3_000:]
    told = (
        f"{fed:,} events in {overloaded_seconds:.1f} s, of which {consumed:,} were taken meanwhile; longest backlog "
        f"{longest:,}, worked off in {worked_off_seconds:.1f} s; held at most {most_held:,.0f} records, "
        f"{most_resident - warm:+.0f} MB"
    )
    print(told)  # noqa: T201 - the figures that this test is for
    assert longest > BUFFER_RECORDS, told
    # Partitions of which nothing is held may always fetch one chunk: the merge could be waiting for just that.
    assert most_held <= BUFFER_RECORDS + LANES * settings.partitions * CHUNK_RECORDS, told
    assert most_resident - warm < SLACK_MEGABYTES, told
    letters = await bench.read_all(settings, settings.topic(Topic.DEAD_LETTERS))
    assert len({(dict(one.headers)["dlq_topic"], one.value) for one in letters}) == shop.refused
    if SECONDS < LONGEST_COMPARED_SECONDS:
        await bench.assert_same_folds(settings)
