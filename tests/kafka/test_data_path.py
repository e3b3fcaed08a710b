"""The worker on a real broker: what comes out is what the engine alone would make of the same log."""

import json
import signal
import time
from pathlib import Path

import pytest

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.adapters.metrics import Metrics
from stream_app.core.times import DAY_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.settings import Settings
from stream_app.wire.headers import SOURCE_OFFSET
from stream_app.wire.partition import partition_of
from stream_app.wire.state_codec import encode_state
from stream_app.worker.intake import DeadLetterFloodError
from stream_app.worker.offsets import SourcePartition
from stream_app.worker.ownership import SourceRecreatedError
from stream_app.worker.run import build_worker, open_store
from stream_app.worker.source_topics import TopicSetupError
from tests.support import kafka as bench
from tests.support import logs
from tests.support.kafka import Broker, NewSettings
from tests.support.shop_stream import Mix, ShopStream

MOST_KILLS = 8


async def test_states_and_interventions_equal_the_engine_alone(worker_settings: Settings) -> None:
    await bench.feed(worker_settings, bench.shop(seed=1, events=1_500))
    await bench.process_all(worker_settings)
    await bench.assert_equals_pure(worker_settings)
    sent = bench.interventions_by_id(await bench.read_all(worker_settings, worker_settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())


async def test_feeding_while_it_runs_gives_the_same(worker_settings: Settings) -> None:
    log = bench.shop(seed=2, events=900)
    async with bench.worker_of(worker_settings) as worker:
        await bench.until(lambda: worker.pipeline.is_working, "the worker is ready")
        for start in range(0, len(log), 300):
            await bench.feed(worker_settings, log[start : start + 300])
            await bench.until_processed(worker_settings)
    # Live feeding in order of time, topic by topic at rest, is one of the orders that the merge stands for.
    for number, changed in (await bench.restored_states(worker_settings)).items():
        pure = (await bench.pure_states(worker_settings))[number]
        assert changed.states.keys() == bench.states_of(pure).keys()
        assert changed.restored.record.memory.frontier_ms == pure.memory.frontier_ms


async def test_what_was_fetched_and_dropped_before_the_first_commit_is_read_again(worker_settings: Settings) -> None:
    async with bench.worker_of(worker_settings) as worker:
        await bench.until(lambda: worker.pipeline.is_working, "the worker is ready")
        # As at a rebalance: what is handed over now is dropped.
        await worker.pipeline.quiesce()
        await bench.feed(worker_settings, bench.shop(seed=20, events=300))
        consumer = worker.app.consumer
        places = [
            SourcePartition(worker_settings.topic(role), number)
            for role in CUSTOMER_TOPICS
            for number in range(worker_settings.partitions)
        ]
        await bench.until(
            lambda: all(consumer.end_of(place) and not consumer.lags(place) for place in places), "all was fetched"
        )
        await worker.pipeline.own(set(worker.pipeline.owned))
        await consumer.perform_seek()
        await bench.until_processed(worker_settings, worker)
    await bench.assert_equals_pure(worker_settings)


async def test_kill_and_restart_equals_the_uninterrupted_run(
    worker_settings: Settings, tmp_path: Path, broker: Broker
) -> None:
    shop = ShopStream(Mix(customers=40, step_seconds=600, partitions=worker_settings.partitions), seed=3)
    killed_in_mid_stream = attempts = written = 0
    while killed_in_mid_stream < 2:
        attempts += 1
        assert attempts < MOST_KILLS, "the worker is done before it can be killed"
        # Fed while nobody runs, so that it does not matter in which order the topics become visible.
        await bench.feed(worker_settings, shop.slab(2_000 * attempts))
        with bench.WorkerProcess(worker_settings, tmp_path / f"worker{attempts}.log") as process:
            await bench.until_written(worker_settings, written + 10)
            process.child.send_signal(signal.SIGSTOP)
            killed_in_mid_stream += (await bench.lag(worker_settings)) > 0
            process.kill()
        written = await _changelog_records(worker_settings)
        if isinstance(broker, EmbeddedBroker):
            # It keeps a killed member in its group for ever.
            broker.restart()
    await bench.process_all(worker_settings)
    await bench.assert_equals_pure(worker_settings)
    sent = bench.interventions_by_id(await bench.read_all(worker_settings, worker_settings.topic(Topic.INTERVENTIONS)))
    assert sent
    assert all(len(payloads) == 1 for payloads in sent.values())


async def test_sigterm_ends_cleanly_and_a_restart_goes_on(worker_settings: Settings, tmp_path: Path) -> None:
    log = bench.shop(seed=4, events=1_200)
    await bench.feed(worker_settings, log[:600])
    with bench.WorkerProcess(worker_settings, tmp_path / "worker.log") as process:

        async def done() -> bool:
            assert process.child.poll() is None, process.log.read_text()[-3000:]
            return await bench.lag(worker_settings) == 0

        await bench.until(done, "lag is zero")
        assert process.terminate() == 0, process.log.read_text()[-3000:]
    await bench.feed(worker_settings, log[600:])
    await bench.process_all(worker_settings)
    for number, shard in (await bench.pure_states(worker_settings)).items():
        changed = (await bench.restored_states(worker_settings))[number]
        assert changed.states.keys() == bench.states_of(shard).keys()
        assert changed.restored.record.memory.frontier_ms == shard.memory.frontier_ms


async def test_bad_records_become_dead_letters_as_they_were(worker_settings: Settings) -> None:
    good = bench.shop(seed=5, events=200, customers=5)
    bad = [
        bench.Raw(Topic.ORDERS, b"ada", b"{not json", logs.START_MS, 0, (("trace", b"1"),)),
        bench.Raw(Topic.CLICKSTREAM, b"ada", b"\xff\xfe", logs.START_MS, 1),
        bench.Raw(Topic.REVIEWS, b"ada", b'{"customer_id":"ada"}', logs.START_MS, 2),
        bench.Raw(Topic.ORDERS, None, None, logs.START_MS, 1),
        # Only the engine can see that this one is far ahead of all others; it must not drag time along.
        bench.raw(logs.order("customer-1", logs.START_MS + 900 * DAY_MS, "far"))._replace(timestamp_ms=logs.START_MS),
    ]
    await bench.feed(worker_settings, [*good[:100], *bad, *good[100:]])
    await bench.process_all(worker_settings)
    letters = await bench.read_all(worker_settings, worker_settings.topic(Topic.DEAD_LETTERS))
    assert len(letters) == len(bad)
    by_value = {letter.value: letter for letter in letters}
    for record in bad:
        letter = by_value[record.value]
        headers = dict(letter.headers)
        assert letter.key == record.key
        assert headers["dlq_topic"].decode() == worker_settings.topic(record.role)
        assert int(headers["dlq_partition"]) == bench.home(record, worker_settings)
        assert headers["dlq_reason"]
        assert headers["dlq_detail"]
    assert dict(by_value[b"{not json"].headers)["trace"] == b"1"
    await bench.assert_equals_pure(worker_settings)


async def test_records_with_wrong_keys_are_rerouted_to_their_customer(worker_settings: Settings) -> None:
    names = [f"customer-{number}" for number in range(12)]
    records = []
    for number, name in enumerate(names):
        order = bench.raw(logs.order(name, logs.START_MS + number * 1_000, f"first-{name}"))
        later = bench.raw(logs.order(name, logs.START_MS + (100 + number) * 1_000, f"second-{name}"))
        records += [
            order._replace(key=None, partition=number % 3),
            later._replace(key=b"foreign", partition=number % 3),
        ]
    await bench.feed(worker_settings, records)
    await bench.process_all(worker_settings)
    changed = await bench.restored_states(worker_settings)
    found = {name for one in changed.values() for name in one.states}
    assert found == set(names)
    shards = {name: number for number, one in changed.items() for name in one.states}
    assert all(number == partition_of(name.encode(), 3) for name, number in shards.items())
    rerouted = await bench.read_all(worker_settings, worker_settings.topic(Topic.REROUTED))
    assert len(rerouted) == len(records)
    for name in names:
        offsets = [int(dict(one.headers)[SOURCE_OFFSET]) for one in rerouted if one.key == name.encode()]
        assert offsets == sorted(offsets)
        assert [json.loads(one.value)["event_id"] for one in rerouted if one.key == name.encode()] == [
            f"first-{name}",
            f"second-{name}",
        ]


async def test_a_flood_of_bad_records_stops_the_worker(new_settings: NewSettings) -> None:
    settings = new_settings(dead_letter_flood_count=5)
    await bench.feed(settings, [bench.Raw(Topic.ORDERS, b"ada", b"bad", logs.START_MS, 0)] * 5)
    with pytest.raises(DeadLetterFloodError, match="STREAM_APP_DEAD_LETTER_FLOOD_COUNT"):
        await bench.process_all(settings)
    assert await bench.lag(settings) == 5


async def test_missing_topics_and_wrong_counts_are_said_plainly(worker_settings: Settings) -> None:
    missing = worker_settings.model_copy(update={"topic_orders": "never-created"})
    with pytest.raises(TopicSetupError, match=r"never-created.*topics create"):
        await build_worker(missing, Metrics("worker"))
    wrong = worker_settings.model_copy(update={"partitions": 4})
    with pytest.raises(TopicSetupError, match="has 3 partitions, and STREAM_APP_PARTITIONS is 4"):
        await build_worker(wrong, Metrics("worker"))


async def test_a_recreated_source_topic_is_refused_until_its_epoch_is_raised(new_settings: NewSettings) -> None:
    settings = new_settings()
    await bench.feed(settings, bench.shop(seed=6, events=100, customers=3))
    await bench.process_all(settings)
    # Another topic of the same role that ends earlier: as a topic that was deleted and created again.
    other = new_settings(app_id=settings.app_id)
    names = {f"topic_{role.value.replace('-', '_')}": other.topic(role) for role in (Topic.ORDERS,)}
    recreated = settings.model_copy(update=names)
    with pytest.raises(SourceRecreatedError, match="STREAM_APP_SOURCE_EPOCH=1"):
        await bench.process_all(recreated)
    await bench.process_all(recreated.model_copy(update={"source_epoch": 1}))


async def _changelog_records(settings: Settings) -> int:
    return len(await bench.read_all(settings, settings.changelog_topic))


async def test_a_store_on_disk_spares_reading_the_changelog_again(new_settings: NewSettings) -> None:
    settings = new_settings(store="rocksdb")
    log = bench.shop(seed=7, events=600)
    await bench.feed(settings, log[:400])
    await bench.process_all(settings)
    await bench.feed(settings, log[400:])
    metrics = Metrics("worker")
    async with bench.worker_of(settings, metrics) as worker:
        await bench.until_processed(settings, worker)
    assert "stream_app_recovered_records_total 0.0" in metrics.page().decode()
    in_changelog = await bench.restored_states(settings)
    for number in range(settings.partitions):
        store = open_store(settings, number, 10)
        assert {name: encode_state(state) for name, state in store.items()} == in_changelog[number].states
        store.close()


async def test_idle_time_passes_by_ticks_under_the_wall_clock(new_settings: NewSettings) -> None:
    settings = new_settings(clock="wall", tick_seconds=1, partitions=2)
    async with bench.worker_of(settings) as worker:
        await bench.until(lambda: worker.pipeline.is_working, "the worker is ready")
        begun_ms = time.time() * 1000
        await bench.until(
            lambda: all(one.shard.memory.frontier_ms > begun_ms for one in worker.pipeline.owned.values()),
            "both partitions have reached the present",
        )
    ticks = await bench.read_all(settings, settings.topic(Topic.TICKS))
    assert {one.partition for one in ticks} == {0, 1}


# The embedded broker may remember the member of before its restart, and then lets nobody join.
@pytest.mark.apache
async def test_a_broker_restart_in_mid_stream_loses_nothing(new_settings: NewSettings, broker: Broker) -> None:
    if broker is None:
        pytest.skip("the broker is not ours to restart")
    # Small batches, so that a fast machine is not done before it is looked at.
    settings = new_settings(max_chunk_records=5)
    log = bench.shop(seed=8, events=6_000)
    await bench.feed(settings, log)
    metrics = Metrics("worker")
    async with bench.worker_of(settings, metrics) as worker:
        await bench.until(lambda: bench.total(metrics, "events_total") > 0, "the worker has begun")
        assert bench.total(metrics, "events_total") < len(log)
        # The worker runs in this very process: it stands still until the broker is back.
        broker.restart()
        await bench.until_processed(settings, worker)
    await bench.assert_equals_pure(settings)


async def test_with_next_to_no_buffer_all_is_worked_off_in_the_same_order(new_settings: NewSettings) -> None:
    settings = new_settings(buffer_records=1, max_chunk_records=7)
    await bench.feed(settings, bench.shop(seed=9, events=1_500))
    await bench.process_all(settings)
    await bench.assert_equals_pure(settings)


async def test_views_tell_of_customers_progress_and_readiness(worker_settings: Settings) -> None:
    await bench.feed(worker_settings, bench.shop(seed=10, events=400, customers=6))
    async with bench.worker_of(worker_settings) as worker:
        await bench.until_processed(worker_settings, worker)
        views = worker.views
        assert views.readiness().ready
        assert sum(one.lag_records for one in views.progress().values()) == 0
        assert {topic for topic, _ in views.progress()} >= {worker_settings.topic(Topic.ORDERS)}
        state = views.lookup("customer-1")
        assert state is not None
        assert state.orders is not None
        assert views.lookup("nobody") is None
        assert views.reasons("customer-1", "en")
        assert views.owner_url("customer-1") == ""
        assert views.status()["partitions"] == [0, 1, 2]
        assert "customer-1" in dict(views.customers())
    assert not views.readiness().ready


async def test_a_topic_with_other_partitions_is_rerouted_as_a_whole(new_settings: NewSettings) -> None:
    fewer = new_settings(partitions=2)
    settings = new_settings(topic_orders=fewer.topic(Topic.ORDERS))
    names = [f"customer-{number}" for number in range(9)]
    orders = [bench.raw(logs.order(name, logs.START_MS + at * 1_000, f"{name}-{at}")) for at, name in enumerate(names)]
    placed = [one._replace(partition=partition_of(one.key or b"", 2)) for one in orders]
    await bench.feed(settings, [*placed, *(bench.raw(logs.click(name, logs.START_MS)) for name in names)])
    async with bench.worker_of(settings) as worker:
        await bench.until(
            lambda: (
                sum(
                    state.orders is not None and state.clicks is not None
                    for one in worker.pipeline.owned.values()
                    for _, state in one.store.items()
                )
                == len(names)
            ),
            "every customer has both orders and clicks in one place",
        )
    assert len(await bench.read_all(settings, settings.topic(Topic.REROUTED))) == len(names)


async def test_the_exit_status_tells_what_ended_a_worker(new_settings: NewSettings, tmp_path: Path) -> None:
    settings = new_settings(dead_letter_flood_count=3)
    await bench.feed(settings, [bench.Raw(Topic.ORDERS, b"ada", b"bad", logs.START_MS, 0)] * 3)
    with bench.WorkerProcess(settings, tmp_path / "flood.log") as flooded:
        assert flooded.wait() == 1, flooded.log.read_text()
    assert "STREAM_APP_DEAD_LETTER_FLOOD_COUNT" in flooded.log.read_text().splitlines()[-1]
    missing = settings.model_copy(update={"topic_orders": "never-created"})
    with bench.WorkerProcess(missing, tmp_path / "missing.log") as refused:
        assert refused.wait() == 3, refused.log.read_text()
    assert "stream-app topics create" in refused.log.read_text().splitlines()[-1]
