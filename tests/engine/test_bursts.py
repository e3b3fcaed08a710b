"""Runs of clicks lead to what the general way leads to, click by click."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import Click, ClickEvent, CustomerRecord
from stream_app.core.folds.clicks import calm_end, fold_click
from stream_app.core.records import Record
from stream_app.core.state import ClicksState
from stream_app.core.times import DAY_MS, iso
from stream_app.engine.bursts import Bursts
from stream_app.engine.policy import EnginePolicy
from tests.support import logs
from tests.support.click_runs import with_runs
from tests.support.engines import Run, build_engine, run
from tests.support.logs import START_MS

POLICIES = st.builds(
    EnginePolicy,
    allowed_lateness_ms=st.sampled_from([0, 10 * 60_000]),
    # Scoring clicks rarely lets a run go on over carts left behind and over a day's fading.
    click_score_minutes=st.sampled_from([15, 5_000]),
)


def take_none(*arguments: Any) -> int:
    """Stand in for `Bursts.take`: nothing is taken from `first` on."""
    first: int = arguments[3]
    return first


def general_way(log: list[Record], cuts: list[int], policy: EnginePolicy) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bursts, "take", take_none)
        return run(log, cuts, build_engine(policy))


def lean(record: Record) -> Record:
    """Return a record with its click as the fast path reads it."""
    event = record.event
    if not isinstance(event, ClickEvent):
        return record
    fields = event.model_dump() | {"timestamp": iso(record.at_ms)}
    return msgspec.structs.replace(record, event=Click(**fields))


@st.composite
def bursty_logs(draw: st.DrawFn) -> list[Record]:
    """Logs in which visits stay together, with everything else between them."""
    events: list[CustomerRecord] = []
    at_ms = START_MS
    for _ in range(draw(st.integers(1, 12))):
        customer = draw(st.sampled_from(["ada", "bob", "cyd"]))
        at_ms += draw(st.sampled_from([1, 60_000, 3_600_000, DAY_MS - 1, 3 * DAY_MS, 31 * DAY_MS]))
        match draw(st.sampled_from(["visit", "visit", "visit", "order", "review", "opted out", "profile"])):
            case "visit":
                session_id = draw(st.sampled_from([None, "s1", f"s{len(events)}"]))
                steps_ms = draw(
                    st.sampled_from([[0, 1_000, 1_000, 400_000, -300_000, 40 * 60_000], [35 * 60_000, DAY_MS + 1]])
                )
                for _ in range(draw(st.integers(1, 9))):
                    at_ms += draw(st.sampled_from(steps_ms))
                    kind = draw(st.sampled_from(["page_view", "search", "add_to_cart", "remove_from_cart"]))
                    told = {
                        "session_id": draw(st.sampled_from([session_id] * 5 + ["s1", None])),
                        "product_id": draw(st.sampled_from([None, "p1", "p2", "p3", "p4", "p5", "p6"])),
                        "channel": draw(st.sampled_from([None, "app", "web"])),
                    }
                    click = logs.click(customer, at_ms, f"k{len(events)}", kind=kind)
                    events.append(click.model_copy(update=told))
                if draw(st.booleans()):
                    events.append(events[-1])
            case "order":
                events.append(logs.order(customer, at_ms, f"o{len(events)}"))
            case "review":
                events.append(logs.review(customer, at_ms))
            case "opted out":
                events.append(logs.profile(customer, at_ms, profiling=False))
            case _:
                events.append(logs.profile(customer, at_ms))
    return logs.log_of(events)


LOGS = bursty_logs() | logs.unordered_logs()


@settings(max_examples=120, deadline=None)
@given(log=LOGS, cuts=st.lists(st.integers(0, 60), max_size=5), policy=POLICIES)
def test_runs_of_clicks_lead_to_what_single_clicks_lead_to(
    log: list[Record], cuts: list[int], policy: EnginePolicy
) -> None:
    pure = general_way(log, [], policy)
    fast = run([lean(record) for record in log], cuts, build_engine(policy))

    assert fast.states == pure.states
    assert fast.by_topic() == pure.by_topic()
    assert fast.shard.memory == pure.shard.memory
    assert fast.shard.tiers == pure.shard.tiers


@settings(max_examples=250, deadline=None)
@given(log=LOGS, cuts=st.lists(st.integers(0, 60), max_size=5), policy=POLICIES, ends=st.sets(st.integers(0, 80)))
def test_joined_clicks_lead_to_what_single_clicks_lead_to(
    log: list[Record], cuts: list[int], policy: EnginePolicy, ends: set[int]
) -> None:
    pure = general_way(log, [], policy)
    joined = with_runs([lean(record) for record in log], ends.__contains__)
    fast = run(joined, cuts, build_engine(policy))

    assert fast.states == pure.states
    assert fast.by_topic() == pure.by_topic()
    assert fast.shard.memory == pure.shard.memory
    assert fast.shard.tiers == pure.shard.tiers
    counted = ("applied", "late", "duplicates", "points", "timers", "observations", "scores", "erased")
    assert {name: fast.counts[name] for name in counted} == {name: pure.counts[name] for name in counted}


@settings(max_examples=100, deadline=None)
@given(log=bursty_logs(), policy=POLICIES, again_from=st.integers(0, 60), ends=st.sets(st.integers(0, 80)))
def test_redelivered_runs_change_nothing_that_was_applied(
    log: list[Record], policy: EnginePolicy, again_from: int, ends: set[int]
) -> None:
    lean_log = [lean(record) for record in log]
    once, twice = run(lean_log, [], build_engine(policy)), run([], [], engine := build_engine(policy))
    engine.process(twice.shard, with_runs(lean_log[: again_from + 9]))
    counts = engine.process(twice.shard, with_runs(lean_log[again_from:], ends.__contains__)).counts

    assert counts["duplicates"] >= len(lean_log[again_from : again_from + 9])
    assert {name: state.clicks for name, state in twice.shard.store.items()} == {
        name: state.clicks for name, state in once.shard.store.items()
    }


@settings(max_examples=150, deadline=None)
@given(log=bursty_logs(), held_at=st.integers(0, 60), policy=POLICIES)
def test_what_is_held_back_stays_held(log: list[Record], held_at: int, policy: EnginePolicy) -> None:
    hold_ms = log[held_at % len(log)].at_ms
    engine, pure_engine = build_engine(policy), build_engine(policy)
    fast, pure = run([], [], engine), run([], [], pure_engine)

    effects = engine.process(fast.shard, with_runs([lean(record) for record in log]), hold_ms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bursts, "take", take_none)
        expected = pure_engine.process(pure.shard, log, hold_ms)

    assert effects.counts == expected.counts
    assert [refused[1:] for refused in effects.rejected] == [refused[1:] for refused in expected.rejected]
    assert effects.outputs == expected.outputs
    assert effects.interventions == expected.interventions
    assert fast.states == pure.states
    assert fast.shard.memory == pure.shard.memory


def test_a_run_too_far_ahead_is_refused_from_where_it_is() -> None:
    engine = build_engine(EnginePolicy(max_jump_ms=2 * DAY_MS))
    shard = run([], [], engine).shard
    at_ms = [START_MS, START_MS + DAY_MS, START_MS + 2 * DAY_MS, START_MS + 9 * DAY_MS, START_MS + 9 * DAY_MS]
    log = logs.log_of([logs.click("ada", moment_ms, f"k{index}") for index, moment_ms in enumerate(at_ms)])
    first, joined = with_runs([lean(record) for record in log], {1}.__contains__)

    effects = engine.process(shard, [first, joined])

    assert [(refused.entry, refused.offset) for refused in effects.rejected] == [(1, 3), (1, 4)]
    assert effects.counts["applied"] == 3


@pytest.mark.parametrize("is_joined", [False, True])
def test_a_run_is_taken_at_once(is_joined: bool) -> None:
    engine = build_engine()
    shard = run([], [], engine).shard
    log = logs.log_of([logs.click("ada", START_MS + at * 1_000, f"k{at}") for at in range(50)])
    engine.process(shard, log[:1])
    calls: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(engine), "_process_one", lambda *_: calls.append(1))
        rest = [lean(record) for record in log[1:]]
        effects = engine.process(shard, with_runs(rest) if is_joined else rest)

    assert not calls
    assert effects.counts["applied"] == 49
    state = shard.store.get("ada")
    assert state is not None
    assert state.clicks is not None
    assert state.clicks.session_clicks == 50


def test_a_visit_goes_on_until_a_cart_could_count_as_left() -> None:
    """Though nothing asks for a score and the id of the visit stays: what comes due in between must find its time."""
    idle_ms, minute_ms = 30 * 60_000, 60_000
    events = [Click("ada", "", f"k{index}", "add_to_cart", session_id="s1") for index in range(5)]
    times_ms = [START_MS + minutes * minute_ms for minutes in (0, 10, 20, 41, 42)]
    clicks = ClicksState()
    fold_click(clicks, events[0], times_ms[0], idle_ms)
    assert calm_end(clicks, events, times_ms, 1, START_MS + 9 * DAY_MS, idle_ms) == 3
    assert calm_end(clicks, events, times_ms, 1, times_ms[2], idle_ms) == 2
    assert calm_end(clicks, events, [at_ms + 2 * DAY_MS for at_ms in times_ms], 1, START_MS + 9 * DAY_MS, idle_ms) == 1
    assert calm_end(ClicksState(), events, times_ms, 0, START_MS + 9 * DAY_MS, idle_ms) == 0
