"""The trainer process: its own Faust app on the internal topics, its pupils, checkpoints, published models."""

import asyncio
import contextlib
import fcntl
import logging
import signal
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import faust
import mode
from faust.types import TP

from stream_app.adapters.checkpoints import CheckpointStore
from stream_app.adapters.clients import faust_broker_urls
from stream_app.adapters.metrics import Metrics
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.worker.app import COMMIT_SECONDS, credentials
from stream_app.worker.champion_pupil import ChampionPupil
from stream_app.worker.churn_pupil import FurtherPupil
from stream_app.worker.fairness_pupil import FairnessPupil
from stream_app.worker.http import HttpServices
from stream_app.worker.http_ports import Readiness
from stream_app.worker.lift_pupil import LiftPupil
from stream_app.worker.policy_pupil import PolicyPupil
from stream_app.worker.pupils import PupilKind
from stream_app.worker.trainer_group import align_group
from stream_app.worker.trainer_publish import ModelPublisher
from stream_app.worker.trainer_run import TrainingRun
from stream_app.worker.trainer_service import UNACKED_RECORDS, TrainerService
from stream_app.worker.transport import BatchApp, ChunkPolicy

HOUSEKEEPING_SECONDS: Final = 0.1
STOP_SECONDS: Final = 20.0
"""How long Faust may take to leave the group; what matters is saved before."""

logger = logging.getLogger(__name__)


class FolderInUseError(RuntimeError):
    """Another trainer works in the same checkpoint folder."""


def pupils_of(settings: Settings) -> list[PupilKind]:
    """Return whom the product's trainer teaches. The first is who tells new records from repeats, for the metrics."""
    return [
        ChampionPupil.kind_of(settings),
        LiftPupil.kind(settings),
        PolicyPupil.kind(settings, "learned"),
        PolicyPupil.kind(settings, "q_learning"),
        FairnessPupil.kind(settings),
        *(FurtherPupil.kind_of(settings, days) for days in settings.extra_horizons_days),
    ]


def trainer_group(settings: Settings) -> str:
    """Return the trainer's consumer group."""
    return f"{settings.app_id}-trainer"


def create_trainer_app(settings: Settings, service: TrainerService, roles: Iterable[Topic]) -> BatchApp:
    """Return the Faust app that feeds `service` with chunks of records, by the worker's own transport.

    What a chunk holds is committed when a checkpoint covers it; what is not is read again and skipped by its offset.

    Parameters
    ----------
    settings
        Brokers, group, timeouts.
    service
        Takes the chunks.
    roles
        The topics to read.
    """
    app = _TrainerApp(
        trainer_group(settings),
        broker=faust_broker_urls(settings),
        broker_credentials=credentials(settings),
        broker_session_timeout=float(settings.session_timeout_seconds),
        broker_commit_interval=COMMIT_SECONDS,
        consumer_auto_offset_reset="earliest",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        datadir=str(settings.data_dir / "trainer" / "faust"),
        agent_supervisor=mode.CrashingSupervisor,
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_tables_enabled=False,
        web_router_enabled=False,
    )
    app.chunk_policy = ChunkPolicy(settings.max_chunk_records, 2 * UNACKED_RECORDS, settings.buffer_bytes)
    app.service = service
    topics = tuple(settings.topic(role) for role in roles)
    source = app.topic(*topics, key_serializer="raw", value_serializer="raw")

    async def learn(stream: Any) -> None:
        async for event in stream.noack().events():
            message, chunk = event.message, event.message.value
            if app.consumer.taken(chunk):
                # Without its records: a chunk may wait for half a minute, and only its offsets matter by then.
                taken = chunk._replace(records=[])
                service.accept(message.topic, message.partition, chunk.records, partial(app.consumer.finish, taken))

    async def on_revoked(_app: Any, _revoked: Any, **_: Any) -> None:
        service.forget_unacknowledged()
        service.readiness_now = Readiness(ready=False, reason="rebalancing")

    async def on_assigned(_app: Any, assigned: Any, **_: Any) -> None:
        mine = {partition.topic for partition in assigned} & set(topics)
        # Standing by is what a second trainer is there for: it is ready to take over.
        service.readiness_now = Readiness(ready=True, reason="" if mine else "standing by: another trainer learns")

    async def housekeep() -> None:
        while not app.should_stop:
            await service.housekeep(ends=_ends(app, topics))
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    app.agent(source, name="learn", concurrency=1)(learn)
    app.on_partitions_revoked.connect(on_revoked, weak=False)
    app.on_partitions_assigned.connect(on_assigned, weak=False)
    app.task(housekeep)
    return app


class _TrainerApp(BatchApp):
    """Saves before it stops: a graceful stop leaves nothing to read again."""

    service: TrainerService

    async def on_stop(self) -> None:
        """Save, acknowledge, then stop as Faust does (which commits what was acknowledged)."""
        if not self.crashed:
            await self.service.save()
        await super().on_stop()


async def run_trainer(settings: Settings, kinds: Sequence[PupilKind], stop: asyncio.Event | None = None) -> None:
    """Run until SIGTERM or SIGINT, or until `stop` is set.

    Raises
    ------
    FolderInUseError, CheckpointError, TrainerPositionError
        If it cannot start where it left off; the message says what to do.
    Exception
        Whatever went wrong unforeseen: nothing is saved or acknowledged after that, and a restart goes on from the last
        checkpoint.
    """
    stop = stop or asyncio.Event()
    folder = settings.data_dir / "trainer"
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_exclusive(folder))
        stack.enter_context(_stopping_on_signals(stop))
        store = CheckpointStore(folder / "checkpoints")
        body = await asyncio.to_thread(store.newest)
        run = TrainingRun(kinds) if body is None else TrainingRun.restored(body, kinds)
        roles = {settings.topic(topic): topic for topic in run.topics}
        ranges = await align_group(
            settings,
            trainer_group(settings),
            lambda topic, partition: run.position(roles[topic], partition),
            tuple(roles),
        )
        metrics = Metrics("trainer")
        publisher = await stack.enter_async_context(ModelPublisher(settings))
        service = TrainerService(settings, run, store, publisher, metrics, ranges)
        http = HttpServices(settings, service, metrics)
        await http.start()
        stack.push_async_callback(http.stop)
        app = create_trainer_app(settings, service, run.topics)
        await stack.enter_async_context(_running(app))
        logger.info("trainer started%s", "" if body is None else " from its checkpoint")
        await app.wait_first(stop.wait())
        if app.crashed:
            raise app.crash_reason or RuntimeError("the trainer's Faust app crashed")
    logger.info("trainer stopped")


@contextlib.asynccontextmanager
async def _running(app: faust.App) -> AsyncIterator[None]:
    starting = asyncio.ensure_future(app.start())
    try:
        await app.wait_first(starting)
        if app.crashed:
            raise app.crash_reason or RuntimeError("the trainer's Faust app crashed at its start")
        yield
    finally:
        starting.cancel()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await app.stop()
        except TimeoutError:
            logger.warning("Faust did not leave the group in %.0f s; the checkpoint is complete", STOP_SECONDS)


@contextlib.contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUseError(
                f"another trainer works in {folder}: stop it, or set STREAM_APP_DATA_DIR to another folder"
            ) from None
        yield


@contextlib.contextmanager
def _stopping_on_signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for one in signals:
        loop.add_signal_handler(one, stop.set)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def _ends(app: faust.App, topics: tuple[str, ...]) -> dict[tuple[str, int], int]:
    """Return the ends of the assigned partitions, as the last fetch told them."""
    ends = {}
    for assigned in app.consumer.assignment():
        if assigned.topic in topics:
            end = app.consumer.highwater(TP(assigned.topic, assigned.partition))
            if end is not None:
                ends[assigned.topic, assigned.partition] = end
    return ends
