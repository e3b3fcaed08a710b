"""Several horizons at once: nothing of it where it is off, and exactly the labels of longer horizons where it is on."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.effects import Output, TrainingExample
from stream_app.core.events import OrderEvent
from stream_app.core.observations import MOST_PENDING
from stream_app.core.records import Position, Record
from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS, HOUR_MS
from stream_app.core.told import ScoreTold
from stream_app.core.topics import Topic
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.learning.horizons import prior_of
from stream_app.wire.encode import encode
from tests.support.engines import Run, build_engine, run
from tests.support.logs import START_MS, click, event_logs, log_of, order, profile, unordered_logs

LAWS = settings(max_examples=40, deadline=None)
FURTHER = (45, 90)
END_MS = START_MS + 260 * DAY_MS


def _engine(policy: EnginePolicy | None = None, further: tuple[int, ...] = FURTHER) -> Engine:
    policy = policy or EnginePolicy(allowed_lateness_ms=0)
    engine = build_engine(policy)
    engine.install(prior_of(policy.horizon_days, further))
    return engine


def _stripped(output: Output) -> Any:
    """Return an output as it would be with one horizon; None for one that would not be."""
    body = output.body
    match body:
        case TrainingExample():
            told: Any = msgspec.structs.replace(body, sequence=0) if body.horizon_days == 30 else None
        case ScoreTold():
            told = msgspec.structs.replace(body, further_horizons=msgspec.UNSET)
        case _:
            told = body
    return (output.topic, output.key, told) if told is not None or body is None else None


def _outputs(result: Run) -> list[Any]:
    return [told for output, _ in result.outputs if (told := _stripped(output)) is not None]


def _of(result: Run, horizon_days: int) -> list[tuple[TrainingExample, int]]:
    return [(example, at_ms) for example, at_ms in result.examples() if example.horizon_days == horizon_days]


@LAWS
@given(log=unordered_logs())
def test_what_is_scored_and_decided_does_not_depend_on_further_horizons(log: list[Record]) -> None:
    off = run(log, [], build_engine(), end_ms=END_MS)
    on = run(log, [], _engine(), end_ms=END_MS)

    assert _outputs(on) == _outputs(off)
    for name, state in on.live().items():
        state.further = None
        assert msgspec.msgpack.encode(state) == msgspec.msgpack.encode(off.live()[name])


@LAWS
@given(log=event_logs())
def test_where_it_is_off_no_byte_tells_of_it(log: list[Record]) -> None:
    result = run(log, [], build_engine(), end_ms=END_MS)

    assert all(state.further is None for state in result.live().values())
    assert not any(b"horizons" in (encode(output).value or b"") for output, _ in result.outputs)


@LAWS
@given(log=unordered_logs(), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_chunking_leaves_no_trace(log: list[Record], cuts: list[int]) -> None:
    whole = run(log, [], _engine())
    chunked = run(log, cuts, _engine())

    assert chunked.states == whole.states
    assert chunked.by_topic() == whole.by_topic()
    assert chunked.shard.memory == whole.shard.memory


@LAWS
@given(log=event_logs())
def test_recovered_shards_go_on_as_if_nothing_had_happened(log: list[Record]) -> None:
    half = len(log) // 2
    whole = run(log, [half], _engine(), end_ms=END_MS)

    resumed = run(log, [half], _engine(), reopen_after=half, end_ms=END_MS)

    assert resumed.states == whole.states
    assert resumed.by_topic() == whole.by_topic()


@LAWS
@given(log=event_logs())
def test_switched_off_it_ends_with_the_last_label(log: list[Record]) -> None:
    half = len(log) // 2
    begun = run(log[:half], [], _engine()).shard
    engine = build_engine()
    shard = engine.open_shard(0, begun.store, begun.memory)
    engine.process(shard, log[half:])

    waiting = sum(len(state.further or []) for _, state in shard.store.items())
    handed = [output.body for output in engine.advance(shard, END_MS).outputs]

    told = [body for body in handed if isinstance(body, TrainingExample) and body.horizon_days != 30]
    assert len(told) == waiting
    assert all(state.further is None for _, state in shard.store.items())


@LAWS
@given(log=unordered_logs())
def test_a_further_horizon_learns_what_it_would_learn_as_the_only_one(log: list[Record]) -> None:
    both = EnginePolicy(horizon_days=30, allowed_lateness_ms=2 * HOUR_MS, thin=False)
    beside = run(log, [], _engine(both), end_ms=END_MS)
    for days in FURTHER:
        alone = run(log, [], build_engine(msgspec.structs.replace(both, horizon_days=days)), end_ms=END_MS)

        assert [_label(example) for example, _ in _of(beside, days)] == [
            _label(example) for example, _ in alone.examples()
        ]


def _label(example: TrainingExample) -> Any:
    """Everything but what depends on contacts, which the first horizon's score decides on, and the count of labels."""
    return msgspec.structs.replace(example, sequence=0, contacts=0, stay_propensity=1.0)


@LAWS
@given(log=event_logs())
def test_labels_come_at_their_horizon_and_tell_the_truth(log: list[Record]) -> None:
    result = run(log, [], _engine(), end_ms=END_MS)
    orders: dict[str, list[int]] = {}
    for record in log:
        if isinstance(record.event, OrderEvent) and record.event.status == "completed":
            orders.setdefault(record.customer_id, []).append(record.at_ms)

    sequences = [example.sequence for example, _ in result.examples()]
    assert sequences == list(range(1, len(sequences) + 1))
    for days in FURTHER:
        for example, frontier_ms in _of(result, days):
            assert frontier_ms >= example.due_ms == example.at_ms + days * DAY_MS
            stayed = any(example.at_ms < at_ms <= example.due_ms for at_ms in orders[example.customer_id])
            assert example.churned is not stayed
            assert 0 <= example.probability <= 1
            assert example.features


@LAWS
@given(log=event_logs())
def test_a_longer_horizon_never_carries_more_risk(log: list[Record]) -> None:
    result = run(log, [], _engine())

    for output, _ in result.outputs:
        if isinstance(output.body, ScoreTold):
            further = output.body.further_horizons
            assert further is not msgspec.UNSET
            risks = [risk.probability for risk in further]
            assert [risk.horizon_days for risk in further] == list(FURTHER)
            assert [output.body.probability, *risks] == sorted([output.body.probability, *risks], reverse=True)


def test_a_contact_counts_for_every_horizon_that_it_falls_into() -> None:
    log = log_of([profile("ada", START_MS), *(order("ada", START_MS + day * DAY_MS) for day in range(1, 120, 5))])
    result = run(log, [], _engine())
    contacted = [output for output, _ in result.outputs if output.topic == "interventions"]
    assert contacted, "the log is to lead to a contact"

    end = run(log, [], _engine(), end_ms=END_MS)
    by_horizon = {days: sum(example.contacts for example, _ in _of(end, days)) for days in (30, *FURTHER)}
    assert 0 < by_horizon[30] <= by_horizon[45] <= by_horizon[90]


def test_who_is_very_busy_has_at_most_so_many_open_of_each_horizon() -> None:
    moments = [START_MS + number * 2 * HOUR_MS for number in range(500)]
    shard = run(log_of([order("ada", at_ms) for at_ms in moments]), [], _engine()).shard

    further = _state(shard.store.get("ada")).further or []
    counts = [sum(one.horizon_days == days for one in further) for days in FURTHER]
    assert all(8 < count <= MOST_PENDING for count in counts)
    assert [one.handed_ms for one in further] == sorted(one.handed_ms for one in further)


def test_opting_out_of_profiling_and_erasure_end_all_horizons() -> None:
    names, at_ms = ("ada", "bob", "cyd"), START_MS + 2 * DAY_MS
    opted_out = profile("ada", at_ms, profiling=False)
    log = log_of([*(order(name, START_MS) for name in names), *(click(name, at_ms) for name in names), opted_out])
    erased = Record(Position(Topic.CUSTOMERS, 0, 1), "bob", at_ms, None, at_ms)
    shard = run([*log, erased], [2], _engine()).shard

    waiting = {name: len(_state(shard.store.get(name)).further or []) for name in names}
    assert waiting == {"ada": 0, "bob": 0, "cyd": len(FURTHER)}


def _state(state: CustomerState | None) -> CustomerState:
    assert state is not None
    return state
