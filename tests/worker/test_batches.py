"""Batches through the engine: however records come in pieces, the result is that of one run over the log."""

from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.stores import MemoryStore
from stream_app.core.events import Click, CustomerRecord
from stream_app.core.partition import PartitionState
from stream_app.core.records import ClickRun, Position, Record, TimePassed
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.engine.engine import Engine
from stream_app.wire.decode import DecodeLimits
from stream_app.wire.encode import EncodePolicy
from stream_app.wire.partition_record import (
    ENVELOPE_BYTES,
    PARTITION_KEY,
    PendingSend,
    decode_partition_record,
)
from stream_app.worker.aligner import Aligner, Item
from stream_app.worker.batches import Batch, Batcher, BatchPolicy
from stream_app.worker.intake import Intake, Source
from stream_app.worker.outgoing import Outgoing
from stream_app.worker.owned import Owned, Work
from tests.support import logs
from tests.support.engines import build_engine, run

ORDERS = Source(Topic.ORDERS, "orders", 1)


class Polled(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes = b"k"
    value: bytes = b"{}"
    headers: tuple[()] = ()


def batcher(engine: Engine, records: int, max_age_ms: int | None = None, metrics: Metrics | None = None) -> Batcher:
    metrics = metrics if metrics is not None else Metrics("worker")
    intake = Intake(DecodeLimits(), 1, "rerouted", "dead", 1_000, metrics)
    policy = BatchPolicy(records, EncodePolicy(), 0, max_age_ms)
    return Batcher(engine, intake, policy, lambda role: role.value, metrics)


def owned_by(engine: Engine) -> Owned:
    store = MemoryStore(cached_states=4)
    return Owned(0, store, engine.open_shard(0, store, PartitionState(population={})), Aligner(7, -1), {})


def make_ready(owned: Owned, log: Sequence[Record | TimePassed]) -> Work:
    work = Work("chunk", ORDERS)
    work.remaining += len(log)
    for offset, entry in enumerate(log):
        owned.ready.append(
            Item(entry.at_ms, 1, offset, entry, (Polled("orders", 0, offset, entry.at_ms),), work, entry.at_ms)
        )
    return work


def run_once(tool: Batcher, owned: Owned, now_ms: int = 0) -> Batch | None:
    share = tool.fold(owned)
    if share is None:
        return None
    tool.conclude([share])
    return tool.close(share, now_ms)


def run_all(tool: Batcher, owned: Owned, now_ms: int = 0) -> list[Batch]:
    batches = []
    while (batch := run_once(tool, owned, now_ms)) is not None:
        batches.append(batch)
    return batches


@settings(max_examples=25)
@given(log_lists=st.lists(logs.event_logs(), min_size=2, max_size=3), records=st.integers(2, 9))
def test_partitions_scored_together_come_out_as_each_alone(
    log_lists: list[list[Record | TimePassed]], records: int
) -> None:
    engine = build_engine()
    tool = batcher(engine, records)
    alone, together = [owned_by(engine) for _ in log_lists], [owned_by(engine) for _ in log_lists]
    expected: list[list[Batch]] = []
    for owned, log in zip(alone, log_lists, strict=True):
        make_ready(owned, log)
        expected.append(run_all(tool, owned))
    for owned, log in zip(together, log_lists, strict=True):
        make_ready(owned, log)
    found: list[list[Batch]] = [[] for _ in log_lists]
    while shares := {number: share for number, owned in enumerate(together) if (share := tool.fold(owned)) is not None}:
        tool.conclude(list(shares.values()))
        for number, share in shares.items():
            found[number].append(tool.close(share, 0))
    for ones, others in zip(found, expected, strict=True):
        assert [(one.changelog, one.outputs, one.interventions) for one in ones] == [
            (other.changelog, other.outputs, other.interventions) for other in others
        ]


@settings(max_examples=25)
@given(log=logs.event_logs(), records=st.integers(1, 9), end_days=st.integers(1, 40))
def test_batches_of_any_size_equal_one_run_and_long_silences_change_nothing(
    log: list[Record], records: int, end_days: int
) -> None:
    end_ms = logs.START_MS + (120 + end_days) * DAY_MS
    pure = run(log, [], end_ms=end_ms)
    engine = build_engine()
    owned = owned_by(engine)
    make_ready(owned, [*log, TimePassed(end_ms)])
    batches = run_all(batcher(engine, records), owned)
    assert dict(owned.store.items()) == pure.live()
    assert owned.shard.memory == pure.shard.memory
    sent = [pending for batch in batches for pending in batch.interventions]
    by_topic = pure.by_topic()
    assert len(sent) == len(by_topic.get(Topic.INTERVENTIONS, []))
    outgoing = [one for batch in batches for one in batch.outputs]
    kept = {Topic.INTERVENTIONS}
    assert len(outgoing) == sum(len(outputs) for topic, outputs in by_topic.items() if topic not in kept)


def test_a_chunk_is_finished_with_its_last_entry() -> None:
    engine = build_engine()
    owned = owned_by(engine)
    work = make_ready(owned, [logs.log_of([logs.order("ada", logs.START_MS + at)])[0] for at in range(5)])
    tool = batcher(engine, records=2)
    finished = [batch.finished for batch in run_all(tool, owned)]
    assert finished == [[], [], [work]]
    assert owned.positions["orders"].next_offset == 5


def test_time_that_a_lagging_topic_holds_back_passes_once_it_has_caught_up() -> None:
    engine = build_engine()
    owned = owned_by(engine)
    owned.hold_ms = logs.START_MS
    make_ready(owned, logs.log_of([logs.order("ada", logs.START_MS + 40 * DAY_MS)]))
    tool = batcher(engine, records=10)
    assert run_once(tool, owned, 0) is not None
    assert owned.shard.memory.frontier_ms == logs.START_MS
    assert run_once(tool, owned, 0) is None
    owned.hold_ms = None
    assert run_once(tool, owned, 0) is not None
    assert owned.shard.memory.frontier_ms == logs.START_MS + 40 * DAY_MS
    assert run_once(tool, owned, 0) is None


def test_a_refused_far_future_event_becomes_a_dead_letter_and_moves_no_time() -> None:
    engine = build_engine()
    owned = owned_by(engine)
    far = logs.START_MS + 900 * DAY_MS
    make_ready(owned, logs.log_of([logs.order("ada", logs.START_MS), logs.order("ada", far)]))
    (batch,) = run_all(batcher(engine, records=10), owned)
    letters = [one for one in batch.outputs if one.topic == "dead"]
    assert [dict(one.headers)["dlq_reason"] for one in letters] == [b"far_future"]
    assert owned.shard.memory.frontier_ms == logs.START_MS


def test_of_a_run_only_what_is_too_far_ahead_becomes_dead_letters() -> None:
    engine = build_engine()
    owned = owned_by(engine)
    days = [0, 0, 1, 900, 901]
    clicks = [Click("ada", "", f"k{index}", "page_view") for index in range(len(days))]
    times_ms = [logs.START_MS + day * DAY_MS for day in days]
    entry = ClickRun(Position(Topic.CLICKSTREAM, 0, 30), "ada", clicks, times_ms)
    work = Work("chunk", Source(Topic.CLICKSTREAM, "clicks", 0))
    work.remaining = len(days)
    make_ready(owned, logs.log_of([logs.order("ada", logs.START_MS)]))
    polled = [Polled("clicks", 0, 30 + index, at_ms) for index, at_ms in enumerate(times_ms)]
    owned.ready.append(Item(times_ms[0], 2, 30, entry, polled, work, times_ms[-1]))

    batches = run_all(batcher(engine, records=10), owned)

    letters = [dict(one.headers) for batch in batches for one in batch.outputs if one.topic == "dead"]
    assert [letter["dlq_offset"] for letter in letters] == [b"33", b"34"]
    assert {letter["dlq_topic"] for letter in letters} == {b"clicks"}
    assert owned.seen_ms == times_ms[2]
    assert owned.shard.memory.frontier_ms == times_ms[2]
    assert owned.positions["clickstream"].next_offset == 35
    assert [one for batch in batches for one in batch.finished][-1] is work
    state = owned.store.get("ada")
    assert state is not None
    assert state.clicks is not None
    assert state.clicks.session_clicks == 1  # the third came a day later


def interventions_of(max_age_ms: int | None, now_ms: int, metrics: Metrics) -> tuple[list[PendingSend], Owned]:
    engine = build_engine()
    owned = owned_by(engine)
    events: list[CustomerRecord] = [logs.profile(f"c{number}", logs.START_MS) for number in range(30)]
    events += [logs.order(f"c{number}", logs.START_MS + day * DAY_MS) for number in range(30) for day in (1, 9, 17)]
    log = logs.log_of(sorted(events, key=lambda event: event.timestamp))
    make_ready(owned, [*log, TimePassed(logs.START_MS + 100 * DAY_MS)])
    batches = run_all(batcher(engine, 500, max_age_ms, metrics), owned, now_ms)
    return [pending for batch in batches for pending in batch.interventions], owned


def test_interventions_that_are_too_old_are_dropped_counted_and_change_no_state() -> None:
    fresh_metrics, old_metrics = Metrics("worker"), Metrics("worker")
    sent, kept = interventions_of(None, 0, fresh_metrics)
    assert sent
    dropped, same = interventions_of(1_000, logs.START_MS + 1_000 * DAY_MS, old_metrics)
    assert dropped == []
    assert dict(same.store.items()) == dict(kept.store.items())
    counted = [line for line in old_metrics.page().decode().splitlines() if "expired_interventions_total{" in line]
    assert sum(float(line.rsplit(" ", 1)[1]) for line in counted) == len(sent)


def test_the_outbox_holds_what_is_sent_byte_for_byte() -> None:
    engine = build_engine()
    owned = owned_by(engine)
    events: list[CustomerRecord] = [logs.profile("ada", logs.START_MS)]
    events += [*(logs.order("ada", logs.START_MS + d * DAY_MS) for d in (1, 9, 17))]
    make_ready(owned, [*logs.log_of(events), TimePassed(logs.START_MS + 100 * DAY_MS)])
    tool = batcher(engine, records=500)
    for batch in run_all(tool, owned):
        key, closing = batch.changelog[-1]
        assert key == PARTITION_KEY
        assert closing is not None
        record = decode_partition_record(closing[ENVELOPE_BYTES:])
        assert record.outbox == batch.interventions
        assert all(isinstance(tool.to_outgoing(pending), Outgoing) for pending in record.outbox)
