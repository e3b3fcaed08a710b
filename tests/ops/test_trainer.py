import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker, free_port
from stream_app.adapters.checkpoints import CheckpointStore
from stream_app.adapters.clients import client_arguments
from stream_app.adapters.metrics import Metrics
from stream_app.core.effects import Output
from stream_app.core.features import FEATURE_INDEX, FEATURE_NAMES, FEATURES_HASH, KIND
from stream_app.core.packing import pack
from stream_app.core.topics import Topic
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import Scorer, SnapshotScorer
from stream_app.settings import Settings
from stream_app.wire.encode import encode
from stream_app.worker.churn_pupil import ChurnPupil
from stream_app.worker.pupils import Lesson
from stream_app.worker.snapshots import SnapshotFollower
from stream_app.worker.trainer import FolderInUseError, pupils_of, run_trainer, trainer_group
from stream_app.worker.trainer_group import TrainerPositionError
from stream_app.worker.trainer_run import TrainingRun
from tests.support.noting_trainer import NOTING, Notes, NotingPupil
from tests.support.ops_settings import single_partition_settings
from tests.support.training_examples import day_value, example, noted, value_of

Broker = EmbeddedBroker | ApacheKafka
ROOT = Path(__file__).parents[2]


async def produce(settings: Settings, sequences: Sequence[int], days: Sequence[int] = ()) -> None:
    async with AIOKafkaProducer(**client_arguments(settings), linger_ms=5) as producer:
        sent = [await producer.send(settings.topic(Topic.TRAINING), value_of(one), key=b"c") for one in sequences]
        sent += [await producer.send(settings.topic(Topic.POPULATION), day_value(day), key=b"0") for day in days]
        await asyncio.gather(*sent)


def notes(settings: Settings) -> Notes:
    body = CheckpointStore(settings.data_dir / "trainer" / "checkpoints").newest()
    if body is None:
        return Notes()
    return noted(TrainingRun.restored(body, NOTING))


def has_learned(settings: Settings, count: int) -> bool:
    return len(notes(settings).sequences) >= count


async def eventually(condition: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in files and other processes
            await asyncio.sleep(0.05)


def trained(scorer: Scorer) -> int:
    assert isinstance(scorer, SnapshotScorer)
    return scorer.snapshot.trained_examples


class InProcess:
    """A trainer in this process, stopped at the end of the block."""

    def __init__(self, settings: Settings) -> None:
        self._stop = asyncio.Event()
        self.task = asyncio.create_task(run_trainer(settings, NOTING, self._stop))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self.task


async def committed(settings: Settings) -> int | None:
    consumer = AIOKafkaConsumer(
        **client_arguments(settings), group_id=trainer_group(settings), enable_auto_commit=False
    )
    await consumer.start()
    try:
        one = TopicPartition(settings.topic(Topic.TRAINING), 0)
        consumer.assign([one])
        offset: int | None = await consumer.committed(one)
        return offset
    finally:
        await consumer.stop()


@pytest.mark.kafka
async def test_it_learns_publishes_and_goes_on_after_a_graceful_stop(kafka_settings: Settings) -> None:
    await produce(kafka_settings, range(25), days=[1, 2])
    versions: list[str] = []

    def note(scorer: Scorer) -> None:
        versions.append(scorer.version)
        if isinstance(scorer, SnapshotScorer):
            assert scorer.snapshot.trained_examples >= 10

    async with InProcess(kafka_settings), SnapshotFollower(kafka_settings, Metrics("worker"), note) as follower:
        following = asyncio.create_task(follower.run())
        await eventually(lambda: versions[-1].startswith("noting-"))
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert notes(kafka_settings).sequences == list(range(25))
    assert sorted(notes(kafka_settings).days) == [1, 2]

    await produce(kafka_settings, range(25, 40))
    async with InProcess(kafka_settings):
        await eventually(lambda: len(notes(kafka_settings).sequences) == 40)

    assert notes(kafka_settings).sequences == list(range(40))
    assert await committed(kafka_settings) == 40


@pytest.mark.kafka
async def test_offsets_are_committed_only_as_far_as_a_checkpoint_covers(kafka_settings: Settings) -> None:
    settings = kafka_settings.model_copy(update={"checkpoint_seconds": 3_600, "snapshot_seconds": 3_600.0})
    await produce(settings, range(30))
    stop = asyncio.Event()
    trainer = asyncio.create_task(run_trainer(settings, NOTING, stop))
    await asyncio.sleep(5)  # longer than Faust's commit interval: a commit that should not come has had its chance
    assert await committed(settings) is None
    assert notes(settings).sequences == []
    stop.set()
    await trainer

    assert notes(settings).sequences == list(range(30))
    assert await committed(settings) == 30


@pytest.mark.kafka
async def test_a_lost_or_older_checkpoint_is_learned_again_from_where_it_stands(
    kafka_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    await produce(kafka_settings, range(20))
    async with InProcess(kafka_settings):
        await eventually(lambda: len(notes(kafka_settings).sequences) == 20)
    assert await committed(kafka_settings) == 20
    folder = kafka_settings.data_dir / "trainer" / "checkpoints"
    for file in folder.iterdir():
        file.unlink()

    versions: list[Scorer] = []
    async with SnapshotFollower(kafka_settings, Metrics("worker"), versions.append) as follower:
        following = asyncio.create_task(follower.run())
        await produce(kafka_settings, range(20, 40))
        async with InProcess(kafka_settings):
            await eventually(lambda: len(notes(kafka_settings).sequences) == 40)
            await eventually(lambda: trained(versions[-1]) > 20)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    assert notes(kafka_settings).sequences == list(range(40))
    # A model that had learned less again than the served one was never put in its place.
    assert all(trained(scorer) >= 20 for scorer in versions)
    assert "the group is at offset 20, the checkpoint at 0 (there is none)" in caplog.text


@pytest.mark.kafka
async def test_a_checkpoint_beyond_the_topic_is_refused(kafka_settings: Settings) -> None:
    run = TrainingRun(NOTING, positions={(Topic.TRAINING, 0): 99})
    CheckpointStore(kafka_settings.data_dir / "trainer" / "checkpoints").write(run.checkpoint())

    with pytest.raises(TrainerPositionError, match="the topic was re-created"):
        await run_trainer(kafka_settings, NOTING)


@pytest.mark.kafka
async def test_two_trainers_do_not_share_a_folder(kafka_settings: Settings) -> None:
    async with InProcess(kafka_settings):
        await eventually((kafka_settings.data_dir / "trainer" / "lock").exists)
        with pytest.raises(FolderInUseError):
            await run_trainer(kafka_settings, NOTING)


@pytest.mark.kafka
async def test_an_error_in_the_learner_ends_the_process_and_loses_nothing(
    kafka_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await produce(kafka_settings, range(10))
    async with InProcess(kafka_settings):
        await eventually(lambda: len(notes(kafka_settings).sequences) == 10)
    await produce(kafka_settings, range(10, 20))
    with monkeypatch.context() as broken:

        def fail(_: object, topic: Topic, lessons: Sequence[Lesson]) -> int:
            raise ZeroDivisionError(topic, len(lessons))

        broken.setattr(NotingPupil, "learn", fail)
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(run_trainer(kafka_settings, NOTING), 60)
    assert notes(kafka_settings).sequences == list(range(10))

    async with InProcess(kafka_settings):
        await eventually(lambda: len(notes(kafka_settings).sequences) == 20)

    assert notes(kafka_settings).sequences == list(range(20))


@pytest.fixture
def own_broker(new_broker: Callable[[Path], Broker], tmp_path: Path) -> Iterator[Broker]:
    # Its own, because the embedded broker must be restarted after a member of a group was killed.
    with new_broker(tmp_path / "own-broker") as broker:
        yield broker


@pytest.fixture
def own_settings(own_broker: Broker, tmp_path: Path) -> Settings:
    return single_partition_settings(own_broker.bootstrap, tmp_path / "data")


@pytest.fixture
def environment(own_settings: Settings) -> dict[str, str]:
    dumped = own_settings.model_dump(mode="json", exclude_none=True)
    told = {f"STREAM_APP_{name.upper()}": str(value) for name, value in dumped.items() if "*" not in str(value)}
    return {**os.environ, **told, "PYTHONPATH": str(ROOT)}


@pytest.mark.kafka
@pytest.mark.slow
async def test_kill_9_learns_no_example_twice_and_skips_none(
    own_broker: Broker, own_settings: Settings, environment: dict[str, str], tmp_path: Path
) -> None:
    kafka_settings = own_settings
    total, fed = 6_000, 0
    log = tmp_path / "trainer.log"
    generator = random.Random(7)
    for round_number in range(4):
        last = round_number == 3
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes no time worth sharing
                [sys.executable, "-m", "tests.support.noting_trainer"], env=environment, stderr=output
            )
        try:
            step = total - fed if last else generator.randint(500, 1_800)
            await produce(kafka_settings, range(fed, fed + step), days=[round_number])
            fed += step
            before = len(notes(kafka_settings).sequences)
            goal = total if last else before + 1
            await eventually(partial(has_learned, kafka_settings, goal), 90)
            process.send_signal(signal.SIGTERM if last else signal.SIGKILL)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
        if not last and isinstance(own_broker, EmbeddedBroker):
            own_broker.restart()
        assert notes(kafka_settings).sequences == list(range(len(notes(kafka_settings).sequences)))

    assert notes(kafka_settings).sequences == list(range(total)), log.read_text()[-3_000:]
    assert notes(kafka_settings).days == [0, 1, 2, 3]
    assert process.returncode == 0, log.read_text()[-3_000:]


@pytest.mark.kafka
async def test_probes_and_metrics_tell_how_far_it_is(kafka_settings: Settings) -> None:
    settings = kafka_settings.model_copy(update={"metrics_port": free_port()})
    await produce(settings, range(12))
    url = f"http://127.0.0.1:{settings.metrics_port}"
    async with InProcess(settings):
        await eventually(lambda: len(notes(settings).sequences) == 12)
        lag = f'stream_app_lag_records{{partition="0",topic="{settings.topic(Topic.TRAINING)}"}} 0.0'
        page = ""
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while lag not in page:  # sampled once a second
                page = await (await session.get(url + "/metrics")).text()
                await asyncio.sleep(0.1)
            health = await (await session.get(url + "/healthz")).text()

    assert health == "ok"
    assert "stream_app_examples_learned_total 12.0" in page
    assert float(page.split("\nstream_app_last_checkpoint_timestamp_seconds ")[1].split()[0]) > time.time() - 60


@pytest.mark.kafka
async def test_the_product_s_learner_ends_where_an_uninterrupted_one_does(kafka_settings: Settings) -> None:
    generator = np.random.default_rng(5)
    rows = generator.normal(size=(121, len(FEATURE_NAMES))).astype(np.float32)
    rows[:, FEATURE_INDEX[KIND]] = generator.integers(0, 2, 121)
    examples = [
        msgspec.structs.replace(
            example(number),
            features=pack(rows[number]),
            features_hash=FEATURES_HASH,
            churned=bool(generator.random() < 0.4),
        )
        for number in range(1, 121)
    ]
    whole = Learner(30)
    whole.learn(examples)
    topic = kafka_settings.topic(Topic.TRAINING)
    kinds = pupils_of(kafka_settings)
    for part in (examples[:50], examples[50:]):
        async with AIOKafkaProducer(**client_arguments(kafka_settings)) as producer:
            for one in part:
                await producer.send_and_wait(topic, encode(Output(Topic.TRAINING, "c", one)).value)
        stop = asyncio.Event()
        trainer = asyncio.create_task(run_trainer(kafka_settings, kinds, stop))
        await eventually(partial(has_read, kafka_settings, part[-1].sequence))
        stop.set()
        await trainer

    body = CheckpointStore(kafka_settings.data_dir / "trainer" / "checkpoints").newest()
    assert body is not None
    pupil = TrainingRun.restored(body, kinds).pupils["churn"]
    assert isinstance(pupil, ChurnPupil)
    learner = pupil.learner
    assert isinstance(learner, ChallengedLearner)
    assert learner.learner.counts == whole.counts
    assert learner.snapshot().weights == pytest.approx(whole.snapshot().weights, abs=1e-9)


def has_read(settings: Settings, count: int) -> bool:
    body = CheckpointStore(settings.data_dir / "trainer" / "checkpoints").newest()
    return body is not None and TrainingRun.restored(body, pupils_of(settings)).position(Topic.TRAINING, 0) >= count
