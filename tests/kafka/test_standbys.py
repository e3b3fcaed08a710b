"""A takeover from a warm copy reads only the tail, and what it leads to is what the log says."""

import asyncio
from pathlib import Path

import pytest

from stream_app.adapters.broker import free_port
from stream_app.settings import Settings
from stream_app.wire.state_codec import encode_state
from stream_app.worker.run import open_store
from tests.support import kafka as bench
from tests.support.crew import Member, Seat
from tests.support.kafka import NewSettings
from tests.support.probe import GroupProbe
from tests.support.scrape import sample

EVENTS = 3_000


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_after_a_kill_the_standby_reads_only_the_tail(new_settings: NewSettings, tmp_path: Path) -> None:
    settings = new_settings(partitions=4)
    log = bench.shop(seed=41, events=EVENTS)
    await bench.feed(settings, log[: EVENTS // 2])
    members = [hired(settings, number, tmp_path) for number in range(2)]
    try:
        async with GroupProbe(settings) as probe:

            async def settled() -> bool:
                assert all(one.is_running for one in members)
                if any((await probe.lags()).values()) or not all(len(one.owns()) == 2 for one in members):
                    return False
                return all(
                    sample(one.settings.metrics_port, "standby_partitions") == 2
                    and sample(one.settings.metrics_port, "standby_lag_records") == 0
                    for one in members
                )

            await bench.until(settled, "each owns two partitions and copies the others")
            before = await probe.written()
            victim, heir = members
            # What it writes of this until it dies is a tail that the other may or may not have read yet.
            await bench.feed(settings, log[EVENTS // 2 :])
            victim.process.kill()
            await bench.until(lambda: len(heir.owns()) == 4, "the other one took over")
            taken = heir.said("restored")[-1]

            async def done() -> bool:
                assert heir.is_running
                return not any((await probe.lags()).values())

            await bench.until(done, "all is worked off")
            print(f"{before:,} changelog records before the kill; read at the takeover: {taken['records']}")  # noqa: T201 - the figure
            assert taken["warm"] == taken["partitions"] == 2
            assert int(str(taken["records"])) < await probe.written() - before
            assert sample(heir.settings.metrics_port, "standby_partitions") == 0
        assert await asyncio.to_thread(heir.process.terminate) == 0
        # Law 1: the topics of the second half became visible one by one, to workers that ran.
        await bench.assert_same_folds(settings)
        await assert_disk_equals_changelog(heir.settings)
    finally:
        for one in members:
            one.process.child.kill()


def hired(settings: Settings, number: int, folder: Path) -> Member:
    """Start a worker with a disk of its own."""
    values = {name: getattr(settings, name) for name in settings.model_fields_set}
    values |= {"store": "rocksdb", "data_dir": folder / f"seat{number}", "metrics_port": free_port()}
    return Member(Settings.model_validate(values), Seat(number, "rocksdb", 200), folder / f"worker{number}.log")


async def assert_disk_equals_changelog(settings: Settings) -> None:
    """What lies on a worker's disk of the partitions that it owned is what their changelog says."""
    for number, changed in (await bench.restored_states(settings)).items():
        store = open_store(settings, number, cached_states=100)
        try:
            assert {name: encode_state(state) for name, state in store.items()} == changed.states
        finally:
            store.close()
