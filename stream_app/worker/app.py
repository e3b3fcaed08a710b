"""The Faust app of a worker: topics, the customer table, one agent. No engine here, and no module-level app."""

from collections.abc import Callable, Iterable
from typing import Any

import faust
import mode
from faust.types import TP

from stream_app.adapters.clients import bootstrap_servers, faust_authentication
from stream_app.settings import Settings
from stream_app.worker.assignor import EvenAssignor
from stream_app.worker.http_ports import advertised_url
from stream_app.worker.pipeline import Pipeline
from stream_app.worker.recovery import BulkTableManager
from stream_app.worker.transport import BatchApp, BatchConsumer, ChunkPolicy

CUSTOMERS_TABLE = "customers"
HEARTBEATS_PER_SESSION = 5
COMMIT_SECONDS = 1.0
FETCH_BYTES = 1 << 20
"""Of one partition in one fetch: what lies between broker and buffer is bounded by this times the partitions. Brokers
allow batches of 1 MB, and a fetch whose partitions begin with larger batches than this brings one of them and none of
the others: the merge of a hundred partitions then gives up waiting for one after the other."""

QUEUED_CHUNKS = 4_096
"""Never the bound in force: chunks are bounded by records and bytes before they get to Faust's queue."""

POLL_PAUSE_SECONDS = 3_600.0
"""How long the consumer may go without a poll: restoring a very large partition takes minutes."""

SLOW_SECONDS = 3_600.0
"""Faust's own stall warnings count messages and know no chunks; /healthz watches progress instead."""


class WorkerApp(BatchApp):
    """A `BatchApp` whose partitions are restored by a pipeline."""

    mundane_level = "debug"

    restore: Callable[[set[int], set[int]], Any] | None = None

    def _create_directories(self) -> None:
        """Make none: nothing of Faust's is kept on disk."""

    async def restore_partitions(self, partitions: set[int], standbys: set[int]) -> None:
        """Restore and claim customer partitions, and copy standbys; called by `BulkRecovery` after each rebalance."""
        assert self.restore is not None, "the worker sets this before the app starts"
        await self.restore(partitions, standbys)


def create_app(settings: Settings) -> WorkerApp:
    """Return the app of a worker, with its customer table and nothing that runs.

    Parameters
    ----------
    settings
        Brokers, group, timeouts, bounds.
    """
    app = WorkerApp(
        id=settings.app_id,
        broker=[f"aiokafka://{server}" for server in bootstrap_servers(settings)],
        broker_credentials=credentials(settings),
        broker_session_timeout=float(settings.session_timeout_seconds),
        broker_heartbeat_interval=settings.session_timeout_seconds / HEARTBEATS_PER_SESSION,
        broker_request_timeout=float(max(90, settings.session_timeout_seconds + 30)),
        broker_commit_interval=COMMIT_SECONDS,
        broker_commit_livelock_soft_timeout=SLOW_SECONDS,
        broker_max_poll_interval=POLL_PAUSE_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance_id or None,
        consumer_max_fetch_size=FETCH_BYTES,
        key_serializer="raw",
        value_serializer="raw",
        processing_guarantee="at_least_once",
        agent_supervisor=mode.CrashingSupervisor,
        stream_buffer_maxsize=QUEUED_CHUNKS,
        stream_wait_empty=True,
        stream_recovery_delay=0.0,
        stream_processing_timeout=SLOW_SECONDS,
        store="memory://",
        table_standby_replicas=standbys_of(settings),
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        canonical_url=advertised_url(settings),
        TableManager=BulkTableManager,
        PartitionAssignor=EvenAssignor,
    )
    app.chunk_policy = ChunkPolicy(settings.max_chunk_records, settings.buffer_records, settings.buffer_bytes)
    app.Table(CUSTOMERS_TABLE, partitions=settings.partitions, key_type=bytes, value_type=bytes)
    return app


def standbys_of(settings: Settings) -> int:
    """Return how many standbys a partition has; with the memory store a copy would cost as much memory again."""
    return settings.standbys if settings.store == "rocksdb" else 0


def register_customer_agent(
    app: WorkerApp, topics: Iterable[str], pipeline: Pipeline, on_failure: Callable[[BaseException], None]
) -> Any:
    """Register the one agent that reads every customer topic, and return it.

    Parameters
    ----------
    app
        Where to register.
    topics
        Names of the topics to read.
    pipeline
        Takes the chunks.
    on_failure
        Called with what went wrong, before it crashes the app.
    """
    source = app.topic(*topics, key_serializer="raw", value_serializer="raw")

    async def customers(stream: Any) -> None:
        async for event in stream.noack().events():
            message = event.message
            try:
                pipeline.take(message.topic, message.partition, message.value)
            except Exception as error:
                on_failure(error)
                raise

    return app.agent(source, name="customers", concurrency=1)(customers)


def credentials(settings: Settings) -> Any:
    """Return Faust's credentials for the brokers, None for plain text."""
    data = faust_authentication(settings)
    if data.kind == "sasl":
        return faust.SASLCredentials(
            username=data.username, password=data.password, ssl_context=data.ssl_context, mechanism=data.mechanism
        )
    if data.kind == "ssl":
        return faust.SSLCredentials(data.ssl_context)
    return None


async def ends_of(consumer: BatchConsumer, sources: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """Return the ends of source partitions, as the brokers know them."""
    ends = await consumer.highwaters(*[TP(topic, partition) for topic, partition in sources])
    return {(tp.topic, tp.partition): end for tp, end in ends.items()}
