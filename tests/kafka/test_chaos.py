"""Any schedule of kills, pauses, joins, leaves, repeats and broker restarts leaves what an uninterrupted run leaves.

STREAM_APP_TEST_SEED replays a schedule; STREAM_APP_TEST_CHAOS_EVENTS and _KILLS make it longer. `make soak` is the
long form.
"""

import os
from pathlib import Path

import pytest

from tests.support.chaos import Chaos, Plan
from tests.support.kafka import Broker, NewSettings

EVENTS = int(os.environ.get("STREAM_APP_TEST_CHAOS_EVENTS", "6000"))
KILLS = int(os.environ.get("STREAM_APP_TEST_CHAOS_KILLS", "3"))
SEED = int(os.environ.get("STREAM_APP_TEST_SEED", "1"))


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_any_schedule_of_failures_equals_the_uninterrupted_run(
    new_settings: NewSettings, broker: Broker, tmp_path: Path
) -> None:
    plan = Plan(
        seed=SEED,
        kills=KILLS,
        events=EVENTS,
        slab=3_000,
        customers=150,
        deliberate=("kill", "pause", "duplicate", "broker"),
    )
    result = await Chaos(plan, new_settings(), broker, tmp_path, print).run()
    assert result.counted_kills >= KILLS
    assert result.records > EVENTS


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_records_that_come_to_the_wrong_place_survive_any_schedule_of_failures(
    new_settings: NewSettings, broker: Broker, tmp_path: Path
) -> None:
    plan = Plan(
        seed=SEED,
        kills=KILLS,
        events=EVENTS,
        slab=3_000,
        customers=150,
        deliberate=("kill", "pause"),
        misrouted_every=5,
    )
    result = await Chaos(plan, new_settings(), broker, tmp_path, print).run()
    assert result.counted_kills >= KILLS
    assert result.rerouted > EVENTS / 10


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_takeovers_from_standbys_leave_what_takeovers_from_nothing_leave(
    new_settings: NewSettings, broker: Broker, tmp_path: Path
) -> None:
    plan = Plan(
        seed=SEED,
        kills=KILLS,
        events=EVENTS,
        slab=6_000,
        customers=150,
        crew=(3, 3),
        stores=("rocksdb", "rocksdb", "rocksdb"),
        deliberate=("kill", "join", "leave", "pause"),
    )
    result = await Chaos(plan, new_settings(partitions=6), broker, tmp_path, print).run()
    assert result.counted_kills >= KILLS
    assert result.restored_from_copies > 0
