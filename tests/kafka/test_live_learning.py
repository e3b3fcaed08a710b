"""Worker and trainer live: what they serve is what an evaluation of the same events says."""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stream_app.adapters.event_files import EventFile
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.core.effects import TrainingExample
from stream_app.core.outputs import ChurnScore
from stream_app.core.times import DAY_MS, MINUTE_MS, from_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import decode_example
from tests.support import kafka as bench
from tests.support import logs
from tests.support.commands import command, environment
from tests.support.kafka import NewSettings
from tests.support.trainers import trainer_of

LONG = "STREAM_APP_TEST_LONG" in os.environ


def as_evaluated(file: Path, **changes: object) -> dict[str, object]:
    """Settings under which the live product takes the observations that an evaluation takes."""
    first_ms = next(iter(EventFile(file, Topic.ORDERS))).at_ms
    return {
        "observation_origin": from_ms(first_ms).date(),
        "look_days": 14,
        "thin_observations": False,
        "allowed_lateness_seconds": 0,
        "alignment_wait_ms": -1,
        "snapshot_seconds": 0.05,
        "snapshot_examples": 1,
        "session_timeout_seconds": 30,
        "unknown_consent": "deny",  # nobody is contacted: history cannot react
        **changes,
    }


async def stream_app(settings: Settings, *arguments: str, patience_seconds: float) -> Any:
    """Run a command beside the test and return the JSON that it prints."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream_app", *arguments, "--json"),
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, told = await asyncio.wait_for(child.communicate(), patience_seconds)
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    assert child.returncode == 0, (out + told).decode()[-3_000:]
    return json.loads(out)


@contextlib.asynccontextmanager
async def live(settings: Settings) -> AsyncIterator[None]:
    """Run a worker and a trainer inside this process."""
    async with bench.worker_of(settings), trainer_of(settings):
        yield


def small_shop(file: Path, seed: int, customers: int, days: int) -> None:
    """Write a shop whose customers order at rates of their own, until they leave."""
    chance = random.Random(seed)
    lines: list[tuple[int, str]] = []
    for number in range(customers):
        mean_gap_days, at_ms = chance.uniform(2, 15), logs.START_MS + chance.randrange(days * DAY_MS // 2)
        leaves_ms = at_ms + chance.uniform(5, 2 * days) * DAY_MS
        while at_ms < min(leaves_ms, logs.START_MS + days * DAY_MS):
            order = logs.order(f"customer-{number}", at_ms, f"o{number}-{at_ms}", amount=chance.uniform(5, 90))
            lines.append((at_ms, order.model_dump_json()))
            at_ms += max(MINUTE_MS, int(chance.expovariate(1 / mean_gap_days) * DAY_MS))
    file.write_text("".join(f"{line}\n" for _, line in sorted(lines)))


async def test_scores_served_live_are_those_of_an_evaluation(new_settings: NewSettings, tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    small_shop(file, seed=3, customers=150, days=45)
    # A second horizon is learned and told beside the first, and changes nothing of it.
    changes = {"horizon_days": 10, "extra_horizons_days": (20,), "observation_days": 7, "look_days": 7}
    settings = new_settings(**as_evaluated(file, **changes))
    async with live(settings):
        fed = await stream_app(settings, "feed", str(file), "--wait-for-trainer", patience_seconds=300)
    told = await stream_app(settings, "model", "agreement", str(file), patience_seconds=100)

    assert fed["records"] > 500
    by_kind = {result["observations"]: result for result in told["results"]}
    for result in by_kind.values():
        assert result["in_both"] > 50
        assert result["only_live"] == result["only_evaluated"] == result["other_label"] == 0
        assert result["mean_probability_difference"] < 0.01
    assert by_kind["event"]["models_served"] > 5

    examples = await examples_of(settings)
    assert len({example.example_id for example in examples}) == len(examples)
    assert {example.horizon_days for example in examples} == {10, 20}
    bodies = [one.value for one in await bench.read_all(settings, settings.topic(Topic.SCORES)) if one.value]
    risks = [ChurnScore.model_validate_json(body).further_horizons for body in bodies]
    assert all(len(told) == 1 and told[0].horizon_days == 20 for told in risks)
    assert len({told[0].model_version for told in risks if told[0].model_version.startswith("kalman-h20-")}) > 3
    assert any(example.horizon_days == 20 and example.model_version.startswith("kalman-h20-") for example in examples)


@pytest.mark.apache
@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(7_200)
@pytest.mark.skipif(not LONG, reason="takes ten minutes and more: set STREAM_APP_TEST_LONG=1")
@pytest.mark.parametrize(("shop", "horizon_days"), [("online_retail", 30), ("cdnow", 60)])
async def test_a_real_shop_is_scored_live_as_in_an_evaluation(
    shop: str, horizon_days: int, data_dir: Path, new_settings: NewSettings, tmp_path: Path
) -> None:
    file = data_dir / shop / "orders.jsonl.gz"
    settings = new_settings(**as_evaluated(file, horizon_days=horizon_days, checkpoint_seconds=10))
    with (
        command(settings, tmp_path / "worker.log", "worker"),
        command(settings, tmp_path / "trainer.log", "trainer"),
    ):
        await stream_app(settings, "feed", str(file), "--wait-for-trainer", patience_seconds=6_000)
    told = await stream_app(settings, "model", "agreement", str(file), patience_seconds=1_000)

    (tmp_path / "agreement.json").write_text(json.dumps(told, indent=1))
    for result in told["results"]:
        assert abs(result["auc_difference"]) <= 0.005
        assert result["only_live"] == result["only_evaluated"] == 0


async def learned(settings: Settings) -> int:
    """Return up to which offset of the examples the trainer's newest model was taught; 0 before the first."""
    registry = ModelRegistry()
    for one in await bench.read_all(settings, settings.topic(Topic.SNAPSHOTS)):
        registry.apply(one.key, one.value, one.headers, one.timestamp)
    newest = registry.snapshots.get(registry.pointer("served", settings.horizon_days))
    positions = json.loads(newest.positions) if newest is not None else {}
    return int(positions.get(Topic.TRAINING.value, {}).get("0", 0))


async def examples_of(settings: Settings) -> list[TrainingExample]:
    return [decode_example(one.value) for one in await bench.read_all(settings, settings.topic(Topic.TRAINING))]


async def test_nothing_is_learned_early_and_nothing_of_those_who_left(new_settings: NewSettings) -> None:
    settings = new_settings(partitions=1, horizon_days=10, snapshot_seconds=0.05, snapshot_examples=1)
    start_ms = logs.START_MS
    due_ms = start_ms + 10 * DAY_MS
    orders = [bench.raw(logs.order(name, start_ms, f"first-{name}")) for name in ("stays", "erased", "opted-out")]
    leaves = [
        bench.raw(logs.profile("opted-out", start_ms + DAY_MS, profiling=False)),
        bench.Raw(Topic.CUSTOMERS, b"erased", None, start_ms + DAY_MS),
    ]
    async with live(settings):
        await bench.feed(settings, [*orders, *leaves])
        await bench.feed(settings, [bench.raw(logs.order("clock", due_ms - MINUTE_MS, "before"))])
        await bench.until_processed(settings)
        assert await examples_of(settings) == []

        await bench.feed(settings, [bench.raw(logs.order("clock", due_ms + MINUTE_MS, "after"))])
        await bench.until(lambda: _has_learned(settings, 1), "the label is learned")
        await bench.feed(settings, [bench.raw(logs.order("clock", due_ms + 30 * DAY_MS, "end"))])
        await bench.until_processed(settings)

    found = await examples_of(settings)
    assert {example.customer_id for example in found} == {"stays", "clock"}
    assert (found[0].customer_id, found[0].due_ms, found[0].churned) == ("stays", due_ms, True)


async def _has_learned(settings: Settings, offset: int) -> bool:
    return await learned(settings) >= offset
