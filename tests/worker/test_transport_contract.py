"""What the batch transport overrides in faust-streaming: this fails when the pinned internals change."""

import inspect
import re
from types import SimpleNamespace

import faust
import pytest
from aiokafka import TopicPartition
from aiokafka.producer.message_accumulator import BatchBuilder
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.consumer import Consumer, Fetcher
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode.services import ServiceTask

from stream_app.settings import Settings
from stream_app.worker.app import create_app
from stream_app.worker.assignor import EvenAssignor
from stream_app.worker.fetching import RawFetcher, RawRecords
from stream_app.worker.offsets import SourcePartition
from stream_app.worker.recovery import BulkRecovery, BulkTableManager
from stream_app.worker.transport import (
    FETCH_MIN_BYTES,
    FETCH_MOST_BYTES,
    FETCH_WAIT_MS,
    BatchConsumer,
    BatchConsumerThread,
    BatchTransport,
)

OVERRIDDEN = {
    BatchConsumerThread: ["_create_worker_consumer", "on_start", "getmany", "assignment"],
    BatchConsumer: [
        "_new_consumer_thread",
        "getmany",
        "perform_seek",
        "wait_empty",
        "on_partitions_revoked",
        "ack",
        "_filter_tps_with_pending_acks",
        "_new_offset",
        "_add_gap",
        "_drain_messages",
    ],
    BulkRecovery: ["_restart_recovery"],
    BulkTableManager: ["recovery"],
    EvenAssignor: ["_perform_assignment"],
    RawFetcher: ["fetched_records", "_get_actions_per_node"],
    RawRecords: ["_unpack_records"],
}


def test_versions_are_the_pinned_ones() -> None:
    assert faust.__version__ == "0.15.3"
    assert driver.aiokafka.__version__ == "0.14.0"


@pytest.mark.parametrize(("kind", "names"), OVERRIDDEN.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_overridden_exists_and_takes_the_same_arguments(kind: type, names: list[str]) -> None:
    base = kind.__mro__[1]
    for name in names:
        assert name in vars(kind)
        theirs, ours = inspect.getattr_static(base, name), inspect.getattr_static(kind, name)
        assert type(theirs) is type(ours), name
        if inspect.isfunction(theirs):
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters), name


def test_recovery_task_is_still_the_one_that_faust_starts() -> None:
    assert isinstance(inspect.getattr_static(Recovery, "_restart_recovery"), ServiceTask)
    task = inspect.getsource(Recovery)
    assert "self._resume_streams)(generation_id=generation_id)" in task
    assert "self.signal_recovery_start.clear()" in task
    assert "_recovery" in inspect.getsource(TableManager.recovery.fget)


def test_offsets_are_committed_by_the_methods_that_are_overridden() -> None:
    source = inspect.getsource(Consumer.force_commit) + inspect.getsource(Consumer._filter_committable_offsets)
    assert "self._filter_tps_with_pending_acks(topics)" in source
    assert "self._new_offset(tp)" in source
    assert "self._acked" not in inspect.getsource(Consumer._commit_offsets)


def test_the_drain_loop_does_nothing_that_ours_leaves_out() -> None:
    source = inspect.getsource(Consumer._drain_messages)
    calls = set(re.findall(r"([\w.]+)\(", source)) - {
        "sleep",
        "self.sleep",
        "cast",
        "getmany",
        "_drain_messages",
        "Fetcher.stop",
    }
    assert calls == {
        "callback",
        "self.wait_first",
        "self.suspend_flow.wait",
        "self.commit",
        "get_read_offset",
        "set_read_offset",
        "set_flag",
        "unset_flag",
        "consumer_should_stop",
        "fetcher_should_stop",
        # Left out, because `_cut` drops what was read, gaps say nothing, and what goes wrong is logged by the crash.
        "acks_enabled_for",
        "self._add_gap",
        "self.log.dev",
        "self.log.info",
        "self.log.exception",
    }
    assert "await consumer._drain_messages(self)" in inspect.getsource(Fetcher._fetcher.fun)
    assert "max_records=_consumer._max_poll_records" in inspect.getsource(driver.AIOKafkaConsumerThread.getmany)


def test_come_to_rest_stands_before_every_way_of_giving_partitions_up() -> None:
    assert "wait_empty" in inspect.getsource(faust.App._on_partitions_revoked) + inspect.getsource(
        faust.App._consumer_wait_empty
    )
    assert "_consumer_wait_empty" in inspect.getsource(faust.App._stop_consumer)


def test_changelog_and_table_are_what_the_settings_say() -> None:
    settings = Settings(app_id="shop", partitions=7)
    app = create_app(settings)
    table = app.tables["customers"]
    assert table.changelog_topic.get_topic_name() == settings.changelog_topic
    assert table.partitions == 7
    assert isinstance(app._new_transport(), BatchTransport)
    assert app.conf.TableManager is BulkTableManager


def test_a_fetch_waits_no_longer_than_we_say(monkeypatch: pytest.MonkeyPatch) -> None:
    create = driver.AIOKafkaConsumerThread._create_worker_consumer
    assert "fetch_max_wait_ms=1500" in inspect.getsource(create)
    start = inspect.getsource(driver.aiokafka.AIOKafkaConsumer.start)
    assert "fetch_max_wait_ms=self._fetch_max_wait_ms" in start
    assert "fetch_min_bytes=self._fetch_min_bytes" in start
    assert "fetch_max_bytes=self._fetch_max_bytes" in start
    made = SimpleNamespace(_fetch_max_wait_ms=1500)
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: made)
    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    consumer = thread._create_worker_consumer(None)
    assert (consumer._fetch_min_bytes, consumer._fetch_max_wait_ms) == (FETCH_MIN_BYTES, FETCH_WAIT_MS)
    assert consumer._fetch_max_bytes == FETCH_MOST_BYTES


def test_polls_go_from_faust_to_our_fetcher_as_they_are() -> None:
    polled = inspect.getsource(driver.AIOKafkaConsumerThread.getmany)
    assert "self._fetch_records,\n            _consumer,\n            active_partitions," in polled
    fetched = inspect.getsource(driver.AIOKafkaConsumerThread._fetch_records)
    assert "await fetcher.fetched_records(\n                    active_partitions," in fetched
    assert "fetcher = consumer._fetcher" in fetched
    assert "await self._consumer.start()" in inspect.getsource(driver.AIOKafkaConsumerThread.on_start)


async def test_a_started_thread_fetches_raw_records(monkeypatch: pytest.MonkeyPatch) -> None:
    consumer, fetching_raw = object(), []

    async def start(thread: BatchConsumerThread) -> None:
        thread._consumer = consumer

    async def fetch_raw(started: object) -> None:
        fetching_raw.append(started)

    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", start)
    monkeypatch.setattr("stream_app.worker.transport.fetch_raw", fetch_raw)
    await BatchConsumerThread.__new__(BatchConsumerThread).on_start()
    assert fetching_raw == [consumer]


def test_the_assignment_is_made_into_fausts_once() -> None:
    assigned = frozenset({TopicPartition("orders", 0), TopicPartition("orders", 1)})
    thread = BatchConsumerThread.__new__(BatchConsumerThread)
    thread._consumer = SimpleNamespace(assignment=lambda: assigned)
    first = thread.assignment()
    assert first == assigned
    assert {type(tp) for tp in first} == {TP}
    assert thread.assignment() is first
    assigned = frozenset({TopicPartition("orders", 2)})
    assert thread.assignment() == {TP("orders", 2)}
    # Whoever asks cannot change it; and it is asked for once for every partition that is committed.
    assert isinstance(first, frozenset)
    assert "if tp in self.assignment()" in inspect.getsource(driver.AIOKafkaConsumerThread._commit)


def test_faust_and_our_partitions_are_interchangeable_keys() -> None:
    assert {TP("orders", 3): 1}[SourcePartition("orders", 3)] == 1


def test_a_batch_builder_says_when_it_is_full() -> None:
    builder = BatchBuilder(200, 0)
    taken = [builder.append(timestamp=1, key=b"k", value=bytes(50), headers=[]) for _ in range(10)]
    assert taken[0] is not None
    assert taken[-1] is None
