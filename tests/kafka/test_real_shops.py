"""Two real shops through the whole product: fed by command, worked by worker and trainer, and equal to the replay."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.event_files import EventFile
from stream_app.core.state import CustomerState
from stream_app.core.topics import Topic
from stream_app.engine.replay import Replay, SourceRecord
from stream_app.settings import Settings
from stream_app.wire.state_codec import decode_state
from tests.support import kafka as bench
from tests.support.commands import command, environment
from tests.support.kafka import NewSettings

SHOPS = {"online_retail": 22_190, "cdnow": 69_659}
LONG = "STREAM_APP_TEST_LONG" in os.environ
PATIENCE_SECONDS = 1_500.0
FOLDS = ("orders", "clicks", "reviews", "profile", "contact")


@pytest.mark.apache
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(int(PATIENCE_SECONDS) * 2)
@pytest.mark.parametrize(
    "shop",
    [
        "online_retail",
        pytest.param(
            "cdnow",
            marks=pytest.mark.skipif(not LONG, reason="takes ten minutes: set STREAM_APP_TEST_LONG=1"),
        ),
    ],
)
async def test_a_real_shop_goes_through_worker_and_trainer_as_through_replay(
    shop: str, data_dir: Path, new_settings: NewSettings, tmp_path: Path
) -> None:
    # Law 2 is about pinned versions: neither a learned model nor a learned policy may come while it runs.
    settings = new_settings(
        pinned_model="prior", policy="catalogue", max_chunk_records=1_000, session_timeout_seconds=30
    )
    file = data_dir / shop / "orders.jsonl.gz"
    with (
        command(settings, tmp_path / "worker.log", "worker") as worker,
        command(settings, tmp_path / "trainer.log", "trainer") as trainer,
    ):
        feeder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "stream_app", "feed", str(file), "--topic", "orders", "--speed", "max"),
            env=environment(settings),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, told = await asyncio.wait_for(feeder.communicate(), 600)
        assert feeder.returncode == 0, told.decode()

        async def done() -> bool:
            assert worker.poll() is None, (tmp_path / "worker.log").read_text()[-2_000:]
            assert trainer.poll() is None, (tmp_path / "trainer.log").read_text()[-2_000:]
            return await bench.lag(settings) == 0

        await bench.until(done, "lag is zero", PATIENCE_SECONDS)
        await bench.until(
            lambda: bench.read_all(settings, settings.topic(Topic.SNAPSHOTS)), "a model snapshot is published", 120
        )

    await bench.assert_equals_pure(settings)
    orders = await bench.read_all(settings, settings.topic(Topic.ORDERS))
    assert len(orders) == SHOPS[shop]
    assert await bench.read_all(settings, settings.topic(Topic.DEAD_LETTERS)) == []
    sent = bench.interventions_by_id(await bench.read_all(settings, settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())
    assert await folds_of_topic(settings) == folds_of_replay(settings, file)


async def folds_of_topic(settings: Settings) -> dict[str, list[object]]:
    changed = await bench.restored_states(settings)
    return {
        name: folds(decode_state(encoded))
        for partition in changed.values()
        for name, encoded in partition.states.items()
    }


def folds_of_replay(settings: Settings, file: Path) -> dict[str, list[object]]:
    replay = Replay(engine_of(settings, partitions=1), None, settings.decode_limits())
    replay.run(SourceRecord(event.topic, None, event.value) for event in EventFile(file, Topic.ORDERS))
    return {name: folds(state) for name, state in replay.store.items()}


def folds(state: CustomerState) -> list[object]:
    return [*(getattr(state, name) for name in FOLDS), state.sources.rings]
