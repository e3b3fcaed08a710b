"""A worker from its settings to its end: the composition root, start, watch, stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import UnsupportedVersionError

from stream_app.adapters.assembly import DeciderMaker, catalogue_file_of, engine_of
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Metrics
from stream_app.adapters.stores import MemoryStore, PartitionStore
from stream_app.adapters.stores_rocksdb import BLOCK_CACHE_BYTES, RocksdbStore, remove_left_stores
from stream_app.core.times import SECOND_MS, from_ms
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.worker.aligner import Aligner
from stream_app.worker.app import WorkerApp, create_app, ends_of, register_customer_agent, standbys_of
from stream_app.worker.batches import Batcher, BatchPolicy
from stream_app.worker.catalogues import CatalogueFollower
from stream_app.worker.changelog import Changelog
from stream_app.worker.http import HttpServices
from stream_app.worker.intake import Intake
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.ownership import Ownership
from stream_app.worker.pipeline import Pipeline, sources_of
from stream_app.worker.policies import PolicyFollower
from stream_app.worker.processes import folders_of_former_processes
from stream_app.worker.publisher import Publisher, new_producer
from stream_app.worker.snapshots import SnapshotFollower
from stream_app.worker.source_topics import ALIGNED, look_at_topics, refuse_recreated
from stream_app.worker.standby_reader import StandbyReader
from stream_app.worker.standbys import Standbys
from stream_app.worker.views import LiveViews

logger = logging.getLogger(__name__)

STOP_SECONDS = 45.0
"""How long a graceful stop may take; then the process ends all the same, with what was not finished unacknowledged."""

EXIT_STOP_TIMEOUT = 70

COLLECTOR_THRESHOLDS = (50_000, 20, 100)
"""For the garbage collector. What a worker buffers lives for some batches and has no cycles: at Python's 700 new
objects a round, the collector goes through it again and again, which took 5 of 45 microseconds an event."""

LEFT_STORE_SECONDS = 7 * 86_400.0
"""How long the local store of a partition is kept after this worker lost it."""

CACHED_STATES = 40_000
"""Decoded states that a worker keeps, over all partitions."""


class WorkerCrashedError(RuntimeError):
    """Faust gave up; its reason is the cause."""


class StopTimeoutError(RuntimeError):
    """A graceful stop took too long."""


class Worker(NamedTuple):
    """A worker put together and not yet started."""

    settings: Settings
    app: WorkerApp
    pipeline: Pipeline
    producer: AIOKafkaProducer
    publisher: Publisher
    standbys: StandbyReader
    metrics: Metrics
    views: LiveViews
    catalogues: CatalogueFollower
    policies: PolicyFollower
    failure: asyncio.Future[BaseException]


async def build_worker(settings: Settings, metrics: Metrics) -> Worker:
    """Connect a producer, look at the topics and put a worker together. Its owner stops the producer.

    Raises
    ------
    TopicSetupError
        Topics are missing, or have partition counts that cannot work.
    aiokafka.errors.KafkaError
        The brokers cannot be reached.
    """
    producer = await _start_producer(settings)
    try:
        foreign = await look_at_topics(settings, producer)
    except BaseException:
        await producer.stop()
        raise
    names = {topic: settings.topic(topic) for topic in Topic}
    sources = sources_of(names, [role for role in ALIGNED if role not in foreign], foreign)
    maker = DeciderMaker(settings, settings.partitions)
    decider = maker.decider()
    engine = engine_of(settings, decider=decider)
    publisher = Publisher(producer)
    intake = Intake(
        settings.decode_limits(),
        settings.partitions,
        names[Topic.REROUTED],
        names[Topic.DEAD_LETTERS],
        settings.dead_letter_flood_count,
        metrics,
    )
    max_age_ms = settings.max_intervention_age_seconds * SECOND_MS if settings.clock == "wall" else None
    policy = BatchPolicy(settings.max_chunk_records, settings.encode_policy(), settings.source_epoch, max_age_ms)
    batcher = Batcher(engine, intake, policy, names.__getitem__, metrics)
    lanes = len(ALIGNED)
    cached = max(256, CACHED_STATES // settings.partitions)

    def open_partition(number: int) -> PartitionStore:
        return open_store(settings, number, cached)

    standbys = Standbys(open_partition)
    standby_reader = StandbyReader(settings, standbys, metrics)
    ownership = Ownership(
        engine,
        Changelog(settings, publisher, metrics),
        publisher,
        open_partition,
        standbys,
        lambda: Aligner(lanes, settings.alignment_wait_ms),
        batcher.to_outgoing,
        metrics,
    )
    pipeline = Pipeline(engine, sources, intake, batcher, ownership, publisher, metrics, _now_ms)
    app = create_app(settings)
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def fail(error: BaseException) -> None:
        if not failure.done():
            failure.set_result(error)

    app.restore = _restoring(settings, app, pipeline, standby_reader, metrics, fail)
    app.quiescent = pipeline
    register_customer_agent(app, [source.name for source in sources], pipeline, fail)
    views = LiveViews(settings, app, pipeline, engine, frozenset(source.name for source in sources))
    catalogues = CatalogueFollower(
        catalogue_file_of(settings),
        maker.catalogue,
        decider.catalogue_version,
        maker.with_catalogue,
        pipeline.install_decider,
        metrics,
    )
    policies = PolicyFollower(settings, decider.policy_version, maker.with_policy, pipeline.install_decider, metrics)
    return Worker(
        settings, app, pipeline, producer, publisher, standby_reader, metrics, views, catalogues, policies, failure
    )


def _restoring(
    settings: Settings,
    app: WorkerApp,
    pipeline: Pipeline,
    standbys: StandbyReader,
    metrics: Metrics,
    fail: Callable[[BaseException], None],
) -> Callable[[set[int], set[int]], Awaitable[None]]:
    """Return what an app does with the partitions that a rebalance gave it, and with those that it is to copy."""

    async def restore(partitions: set[int], copied: set[int]) -> None:
        metrics.count("rebalances")
        consumer = app.consumer
        pipeline.attach(consumer)
        try:
            await pipeline.own(partitions)
            held = {
                (settings.topic(Topic(role)), number): position
                for number, owned in pipeline.owned.items()
                for role, position in owned.positions.items()
            }
            refuse_recreated(settings, held, await ends_of(consumer, held) if held else {})
            # Last: what was ours until now is closed, and what is waited for is done.
            copied = copied if standbys_of(settings) else set()
            standbys.follow(copied)
            _remove_left(settings, partitions | copied)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not task.cancelling():
                # Not ours: something inside was cancelled, and mode would let recovery end without a word.
                fail(WorkerCrashedError("restoring was cancelled from within"))
            raise
        except Exception as error:
            fail(error)
            raise

    return restore


def open_store(settings: Settings, number: int, cached_states: int) -> PartitionStore:
    """Return the store of a partition as the settings say, with what it still knows.

    Raises
    ------
    RocksdbMissingError
        The extra for it is not installed.
    """
    if settings.store == "memory":
        return MemoryStore(cached_states)
    folder = _stores_folder(settings, settings.data_dir) / str(number)
    return RocksdbStore(folder, cached_states, BLOCK_CACHE_BYTES // settings.processes)


def _stores_folder(settings: Settings, data_dir: Path) -> Path:
    return data_dir / "customers" / settings.app_id


def _remove_left(settings: Settings, kept: set[int]) -> None:
    before_seconds = time.time() - LEFT_STORE_SECONDS
    removed = remove_left_stores(_stores_folder(settings, settings.data_dir), kept, before_seconds)
    for data_dir in folders_of_former_processes(settings):
        removed += remove_left_stores(_stores_folder(settings, data_dir), (), before_seconds)
    if removed:
        logger.info("removed stores of partitions that others own", extra=fields(partitions=len(removed)))


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    """Run a worker inside the block: start all its parts, end them in order.

    The block is not interrupted when something fails: it must watch `worker.failure`.
    """
    tasks: list[asyncio.Task[None]] = []

    def watch(work: Callable[[], Awaitable[None]], name: str) -> None:
        tasks.append(asyncio.create_task(_guarded(work, name, worker.failure), name=name))

    install, look = worker.pipeline.install, worker.policies.look
    models = SnapshotFollower(worker.settings, worker.metrics, install, on_read=look)
    try:
        # Before the first batch: nobody is to be scored by the prior while a model is at hand.
        await models.start()
    except BaseException:
        await models.stop()
        raise
    worker.views.reports = models.reports
    watch(models.run, "models")
    watch(lambda: worker.catalogues.run(worker.settings.catalogue_poll_seconds), "catalogues")
    watch(worker.pipeline.run, "pipeline")
    watch(worker.standbys.run, "standbys")
    watch(lambda: _watch_faust(worker.app), "faust-watch")
    if worker.settings.clock == "wall":
        watch(lambda: _write_ticks(worker), "ticks")
    try:
        await worker.app.start()
        yield
    finally:
        try:
            await _stop_app(worker.app, tasks)
        finally:
            worker.pipeline.stop()
            for task in tasks:
                if task.get_name() != "pipeline":
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            worker.pipeline.close()
            worker.standbys.close()
            await models.stop()
            await worker.producer.stop()


async def _guarded(work: Callable[[], Awaitable[None]], name: str, failure: asyncio.Future[BaseException]) -> None:
    """Do work, and report whatever ends it before its time: that ends the process."""
    try:
        await work()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not failure.done() and (task is None or not task.cancelling()):
            failure.set_result(WorkerCrashedError(f"the worker's part {name!r} was cancelled from within"))
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, it ends the process, and is told there
        if not failure.done():
            failure.set_result(error)


async def _stop_app(app: WorkerApp, tasks: list[asyncio.Task[None]]) -> None:
    """Stop Faust gracefully, but do not wait for ever."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await app.stop()
    except TimeoutError:
        for task in tasks:
            task.cancel()
        raise StopTimeoutError(
            f"the worker did not stop in {STOP_SECONDS:.0f} s and ends now; what was not finished will be done again"
        ) from None


async def serve(
    settings: Settings, metrics: Metrics, stop: asyncio.Event, on_served: Callable[[str], None] | None = None
) -> None:
    """Run a worker until `stop` is set, then end gracefully; raises what made it end otherwise.

    Parameters
    ----------
    settings
        All configuration.
    metrics
        Where the worker counts.
    stop
        Set by signals.
    on_served
        Called with the URL of probes and metrics once they answer.
    """
    worker = await build_worker(settings, metrics)
    async with contextlib.AsyncExitStack() as stack:
        # A producer that was started is stopped whatever fails between here and `running`.
        stack.push_async_callback(worker.producer.stop)
        services = HttpServices(settings, worker.views, metrics, worker.views)
        await services.start()
        stack.push_async_callback(services.stop)
        if on_served is not None:
            on_served(services.metrics_url)
        await stack.enter_async_context(running(worker))
        stopped = asyncio.ensure_future(stop.wait())
        waited_for: set[asyncio.Future[Any]] = {stopped, worker.failure}
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
    if worker.failure.done():
        raise worker.failure.result()


def run_worker(settings: Settings, on_served: Callable[[str], None] | None = None) -> None:
    """Run a worker in this process until SIGTERM or Ctrl-C; raises what made it end otherwise.

    Parameters
    ----------
    settings
        All configuration.
    on_served
        Called with the URL of probes and metrics once they answer.
    """

    async def main() -> None:
        gc.set_threshold(*COLLECTOR_THRESHOLDS)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            await serve(settings, Metrics("worker"), stop, on_served)
        except StopTimeoutError as error:
            logger.critical("%s", error)
            logging.shutdown()
            # Whatever hung once may hang the interpreter's own shutdown, too.
            os._exit(EXIT_STOP_TIMEOUT)

    asyncio.run(main())


async def _start_producer(settings: Settings) -> AIOKafkaProducer:
    """Start a producer, without idempotence where the broker knows none (then a retry may double a record)."""
    producer = new_producer(settings, idempotent=True)
    try:
        await producer.start()
    except UnsupportedVersionError:
        await producer.stop()
        producer = new_producer(settings, idempotent=False)
        await producer.start()
    except BaseException:
        await producer.stop()
        raise
    return producer


async def _watch_faust(app: WorkerApp) -> None:
    while not app.crashed:  # noqa: ASYNC110 - mode's own event belongs to its services
        await asyncio.sleep(0.2)
    raise WorkerCrashedError(f"Faust gave up: {app.crash_reason!r}") from app.crash_reason


async def _write_ticks(worker: Worker) -> None:
    """Let the passing of idle time into the log, for every owned partition in which nothing happened."""
    settings, pipeline = worker.settings, worker.pipeline
    topic = settings.topic(Topic.TICKS)
    while True:
        await asyncio.sleep(settings.tick_seconds)
        if not pipeline.is_working:
            continue
        value = b'{"timestamp":"%s"}' % from_ms(_now_ms()).isoformat().encode()
        idle = pipeline.idle_partitions(time.monotonic() - settings.tick_seconds)
        await worker.publisher.send(Outgoing(topic, number, b"%d" % number, value) for number in idle)
        worker.metrics.count("ticks_sent", len(idle))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
