from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import OrderEvent
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.engine.policy import EnginePolicy
from tests.support.engines import build_engine, run, state_of
from tests.support.logs import START_MS, event_logs, unordered_logs

LAWS = settings(max_examples=60, deadline=None)
END_MS = START_MS + 200 * DAY_MS


@LAWS
@given(log=unordered_logs(), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_chunking_leaves_no_trace(log: list[Record], cuts: list[int]) -> None:
    whole = run(log, [])
    chunked = run(log, cuts)

    assert chunked.states == whole.states
    assert chunked.by_topic() == whole.by_topic()
    assert chunked.shard.memory == whole.shard.memory


@LAWS
@given(log=unordered_logs(max_size=40), data=st.data())
def test_redelivery_changes_nothing(log: list[Record], data: st.DataObject) -> None:
    resumed_at = data.draw(st.integers(0, len(log)))
    replayed_from = data.draw(st.integers(0, resumed_at))
    once = run(log, [])

    again = run([*log[:resumed_at], *log[replayed_from:]], [])

    assert again.states == once.states
    assert again.by_topic() == once.by_topic()


@LAWS
@given(log=unordered_logs(max_size=40), data=st.data())
def test_an_event_produced_twice_changes_nothing_but_its_position(log: list[Record], data: st.DataObject) -> None:
    engine = build_engine()
    kinds = [record for record in log if record.event is not None and record.event.event_id is not None]
    if not kinds:
        return
    doubled = data.draw(st.sampled_from(kinds))
    index = log.index(doubled)
    last = max(record.position.offset for record in log if record.position.topic is doubled.position.topic)
    position = type(doubled.position)(doubled.position.topic, 0, last + 1)
    repeat = Record(position, doubled.customer_id, doubled.at_ms, doubled.event, doubled.recorded_at_ms)

    once = run(log, [], engine)
    twice = run([*log[: index + 1], *_renumbered(repeat, log[index + 1 :])], [], engine)

    assert {name: state_of(state, sources=False) for name, state in twice.live().items()} == {
        name: state_of(state, sources=False) for name, state in once.live().items()
    }


@LAWS
@given(log=event_logs())
def test_labels_come_at_the_horizon_and_tell_the_truth(log: list[Record]) -> None:
    policy = EnginePolicy(horizon_days=30, allowed_lateness_ms=0)
    result = run(log, [], build_engine(policy), end_ms=END_MS)
    horizon_ms = 30 * DAY_MS
    seen: set[str] = set()
    orders: dict[str, list[int]] = {}
    for record in log:
        if isinstance(record.event, OrderEvent) and record.event.status == "completed":
            orders.setdefault(record.customer_id, []).append(record.at_ms)

    for example, frontier_ms in result.examples():
        assert frontier_ms >= example.due_ms == example.at_ms + horizon_ms
        stayed = any(example.at_ms < at_ms <= example.due_ms for at_ms in orders[example.customer_id])
        assert example.churned is not stayed
        assert 0 <= example.probability <= 1
        assert example.example_id not in seen
        seen.add(example.example_id)


@LAWS
@given(log=event_logs())
def test_recovered_shards_go_on_as_if_nothing_had_happened(log: list[Record]) -> None:
    half = len(log) // 2
    whole = run(log, [half])

    resumed = run(log, [half], reopen_after=half)

    assert resumed.states == whole.states
    assert resumed.by_topic() == whole.by_topic()


def _renumbered(repeat: Record, rest: list[Record]) -> list[Record]:
    """Put the repeat first, with the next offset, and move the offsets of its topic behind it."""
    topic = repeat.position.topic
    following = [record.position.offset for record in rest if record.position.topic is topic]
    if not following:
        return [repeat, *rest]
    shift = repeat.position.offset + 1
    moved = [
        Record(
            type(record.position)(topic, 0, record.position.offset + shift),
            record.customer_id,
            record.at_ms,
            record.event,
            record.recorded_at_ms,
        )
        if record.position.topic is topic
        else record
        for record in rest
    ]
    return [repeat, *moved]
