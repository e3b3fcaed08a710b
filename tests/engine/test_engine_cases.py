import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.events import CustomerRecord
from stream_app.core.partition import PartitionState
from stream_app.core.records import Position, Record, TimePassed
from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS, HOUR_MS
from stream_app.core.topics import Topic
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import DictStore
from tests.support.engines import build_engine, run, state_of
from tests.support.logs import START_MS, click, event_logs, log_of, order, profile, review

RARE_LOOKS = EnginePolicy(
    allowed_lateness_ms=0, look_days=60, observation_days=60, calendar_common=True, calendar_origin_ms=START_MS
)


def tombstone(customer: str, at_ms: int, offset: int = 100) -> Record:
    return Record(Position(Topic.CUSTOMERS, 0, offset), customer, at_ms, None, at_ms)


@given(log=event_logs(max_size=40), order_of_topics=st.permutations(list(Topic)))
def test_sub_states_do_not_depend_on_how_topics_interleave(log: list[Record], order_of_topics: list[Topic]) -> None:
    by_topic = sorted(log, key=lambda record: order_of_topics.index(record.position.topic))

    def folds(state: CustomerState) -> list[object]:
        return [state.orders, state.clicks, state.reviews, state.profile, state.contact, state.sources.offsets]

    merged = {name: folds(state) for name, state in run(log, []).live().items()}
    apart = {name: folds(state) for name, state in run(by_topic, []).live().items()}

    assert apart == merged


def test_an_erased_customer_leaves_no_example_and_no_score() -> None:
    log = log_of([order("ada", START_MS), order("bob", START_MS)])
    engine = build_engine()

    result = run([*log, tombstone("ada", START_MS + DAY_MS)], [], engine, end_ms=START_MS + 90 * DAY_MS)

    assert {example.customer_id for example, _ in result.examples()} == {"bob"}
    tombstones = [output.key for output in result.by_topic()[Topic.SCORES] if output.body is None]
    assert tombstones == ["ada"]
    ada = result.live()["ada"]
    assert state_of(ada, sources=False) == state_of(
        CustomerState(sources=ada.sources, erased_ms=START_MS + DAY_MS), sources=False
    )


def test_what_is_older_than_the_erasure_cannot_bring_the_customer_back() -> None:
    late = Record(Position(Topic.ORDERS, 0, 7), "ada", START_MS, order("ada", START_MS, "late"), START_MS)
    newer = Record(
        Position(Topic.ORDERS, 0, 8), "ada", START_MS + 2 * DAY_MS, order("ada", START_MS + 2 * DAY_MS), START_MS
    )
    erased = [*log_of([order("ada", START_MS)]), tombstone("ada", START_MS + DAY_MS), late]

    assert run(erased, []).live()["ada"].orders is None
    returned = run([*erased, newer], []).live()["ada"]
    assert returned.orders is not None
    assert returned.orders.completed == 1


def test_a_customer_who_opts_out_is_no_longer_scored() -> None:
    events: list[CustomerRecord] = [
        order("ada", START_MS),
        profile("ada", START_MS + DAY_MS, profiling=False),
        order("ada", START_MS + 2 * DAY_MS),
    ]
    result = run(log_of(events), [], end_ms=START_MS + 90 * DAY_MS)

    assert result.examples() == []
    assert [output.body is None for output in result.by_topic()[Topic.SCORES]] == [False, True]
    assert result.live()["ada"].score is None


def test_a_far_future_event_is_refused_and_moves_no_time() -> None:
    good = log_of([order("ada", START_MS)])
    absurd_ms = START_MS + 5000 * DAY_MS
    absurd = Record(Position(Topic.ORDERS, 0, 1), "ada", absurd_ms, order("ada", absurd_ms), absurd_ms)
    engine = build_engine()
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))

    effects = engine.process(shard, [*good, absurd])

    assert [(rejected.entry, rejected.code) for rejected in effects.rejected] == [(1, "far_future")]
    assert shard.memory.frontier_ms == START_MS


def test_a_cart_left_behind_asks_for_a_decision_unless_an_order_came() -> None:
    def timers(events: list[CustomerRecord]) -> int:
        engine = build_engine()
        shard = engine.open_shard(0, DictStore(), PartitionState(population={}))
        engine.process(shard, log_of(events))
        effects = engine.advance(shard, START_MS + 2 * DAY_MS)
        return effects.counts["points"]

    before = order("ada", START_MS)
    cart = click("ada", START_MS + DAY_MS, kind="add_to_cart")
    bought = order("ada", START_MS + DAY_MS + HOUR_MS // 6)

    assert timers([before, cart]) == timers([before, cart, bought]) + 1


def test_a_lagging_topic_holds_time_back() -> None:
    engine = build_engine(msgspec.structs.replace(RARE_LOOKS, horizon_days=1))
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))
    engine.process(shard, log_of([order("ada", START_MS)]))
    later = Record(Position(Topic.CLICKSTREAM, 0, 0), "bob", START_MS + 3 * DAY_MS, click("bob", START_MS + 3 * DAY_MS))

    held = engine.process(shard, [later], hold_ms=START_MS + HOUR_MS)
    released = engine.process(shard, [TimePassed(START_MS + 3 * DAY_MS)])

    assert held.counts["examples"] == 0
    assert shard.memory.frontier_ms == START_MS + 3 * DAY_MS
    assert released.counts["examples"] == 1


def test_a_complaint_is_a_point_of_decision() -> None:
    log = log_of(
        [order("ada", START_MS), review("ada", START_MS + DAY_MS, "It broke at once. Terrible!", complaint=True)]
    )
    engine = build_engine(RARE_LOOKS)
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))

    effects = engine.process(shard, log)

    assert effects.counts["points"] == 2
    assert effects.counts["interventions"] + effects.counts["suppressed"] + effects.counts["quiet"] == 2
