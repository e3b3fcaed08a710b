"""Laws of deciding: they hold for every sequence of decision points."""

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.facts import Facts
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import Intervention
from stream_app.core.packed import pack_ledger
from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS, to_ms
from stream_app.decisions.decider import EPOCH_MS, CatalogueDecider
from stream_app.decisions.policy import FLOOR_ACTION, FLOOR_NOTHING
from stream_app.decisions.types import NOTHING, Act, DecisionPoint, Quiet, Suppress
from tests.support.decisions import (
    NOON_MS,
    SHIPPED,
    Decided,
    any_facts,
    decider,
    facts,
    guarded,
    point,
    sequences,
    willing_facts,
)

CAPPED = guarded(
    total_caps=[{"count": 2, "days": 60}],
    channel_caps={"email": [{"count": 1, "days": 45}]},
    quiet_hours={"channels": []},
)


def sent(run: Decided) -> list[Intervention]:
    return [act.intervention for act in run.those(Act)]


def most_within(times_ms: list[int], days: float) -> int:
    span_ms = days * DAY_MS
    return max((sum(start <= t < start + span_ms for t in times_ms) for start in times_ms), default=0)


def assert_caps_hold(run: Decided) -> None:
    guards = CAPPED.guardrails
    for customer in run.ledgers:
        contacts = [(to_ms(i.decided_at), i.action, i.channel) for i in sent(run) if i.customer_id == customer]
        for cap in guards.total_caps:
            assert most_within([t for t, _, _ in contacts], cap.days) <= cap.count
        for channel, caps in guards.channel_caps.items():
            for cap in caps:
                assert most_within([t for t, _, c in contacts if c == channel], cap.days) <= cap.count
        for action in CAPPED.actions:
            times = [t for t, name, _ in contacts if name == action.name]
            assert most_within(times, action.cooldown_days) <= 1 or not action.cooldown_days
            assert all(most_within(times, cap.days) <= cap.count for cap in action.caps)


@given(sequences(willing_facts, max_size=60))
def test_no_rolling_window_ever_holds_more_contacts_than_its_cap(points: list[DecisionPoint]) -> None:
    assert_caps_hold(Decided(decider(CAPPED)).on(points))


@given(st.integers(0, 10**9), st.integers(1, 10))
def test_caps_hold_and_bind_where_every_week_asks_for_a_contact(customer: int, step_days: int) -> None:
    looks = range(0, 400, step_days)
    run = Decided(decider(CAPPED)).on(
        [point(customer_id=f"c{customer}", at_ms=NOON_MS + day * DAY_MS, tier=3, probability=0.9) for day in looks]
    )
    assert_caps_hold(run)
    assert max(most_within([to_ms(i.decided_at) for i in sent(run)], 60), 0) == 2
    assert any(d.suppressed.reason == "cap" for d in run.those(Suppress))


@given(sequences(willing_facts, max_size=30), st.integers(2, 5))
def test_points_of_the_same_instant_cannot_both_pass_a_cap(points: list[DecisionPoint], copies: int) -> None:
    doubled = [each for each in points for _ in range(copies)]
    once, often = Decided(decider()).on(points), Decided(decider()).on(doubled)
    assert sent(once) == sent(often)


@given(sequences(any_facts, max_size=30))
def test_without_stated_consent_nothing_is_sent(points: list[DecisionPoint]) -> None:
    run = Decided(decider()).on(points)
    for each, decision in zip(points, run.decisions, strict=True):
        if isinstance(decision, Act):
            profile = each.facts.profile
            assert profile is not None
            assert getattr(profile, decision.intervention.channel) is True
            purpose = next(a.purpose for a in SHIPPED.actions if a.name == decision.intervention.action)
            assert profile.marketing is True or purpose == "service"
            assert (
                decision.intervention.channel not in each.facts.unsubscribed_channels or not each.facts.unsubscribed_ms
            )


@given(sequences(any_facts, max_size=30))
def test_a_stated_no_holds_even_where_unknown_consent_is_allowed(points: list[DecisionPoint]) -> None:
    run = Decided(decider(unknown_consent_override="allow")).on(points)
    for each, decision in zip(points, run.decisions, strict=True):
        if isinstance(decision, Act) and each.facts.profile is not None:
            assert getattr(each.facts.profile, decision.intervention.channel) is not False


@given(sequences(willing_facts, customers=12, max_size=60), st.floats(0, 1))
def test_the_holdout_is_never_contacted_and_leaves_records(points: list[DecisionPoint], share: float) -> None:
    by = decider(holdout_share=share)
    run = Decided(by).on(points)
    for each, decision in zip(points, run.decisions, strict=True):
        if by.arm_of(each.customer_id) == 2:
            assert not isinstance(decision, Act)
            if isinstance(decision, Suppress):
                assert decision.suppressed.arm == "holdout"
                assert decision.stay_probability == 1.0
        elif isinstance(decision, Suppress):
            assert decision.suppressed.reason != "holdout"


@given(sequences(willing_facts, customers=8, max_size=60))
def test_the_holdout_keeps_the_pace_and_the_draws_of_the_treated(points: list[DecisionPoint]) -> None:
    treated = Decided(decider(holdout_share=0.0)).on(points)
    held = Decided(decider(holdout_share=1.0)).on(points)
    would = [
        (d.suppressed.customer_id, d.suppressed.event_time, d.suppressed.action, d.suppressed.propensity)
        for d in held.those(Suppress)
        if d.suppressed.reason == "holdout"
    ]
    assert would == [(i.customer_id, i.event_time, i.action, i.propensity) for i in sent(treated)]


@given(sequences(any_facts, customers=3, max_size=40))
def test_every_choice_sums_to_one_and_keeps_its_floors(points: list[DecisionPoint]) -> None:
    run = Decided(decider(unknown_consent_override="allow")).on(points)
    choices = [i.alternatives for i in sent(run)] + [d.suppressed.alternatives for d in run.those(Suppress)]
    for choice in filter(None, choices):
        assert abs(sum(choice.values()) - 1) < 1e-9
        assert choice[NOTHING] >= FLOOR_NOTHING
        assert all(probability >= FLOOR_ACTION for probability in choice.values())
    for intervention in sent(run):
        assert intervention.propensity == intervention.alternatives[intervention.action]


@given(sequences(any_facts, customers=3, max_size=40), st.integers(1, 39))
def test_decisions_repeat_and_survive_a_restart(points: list[DecisionPoint], cut: int) -> None:
    whole = Decided(decider()).on(points)
    restarted = Decided(decider()).on(points[:cut])
    encoded = msgspec.msgpack.encode(restarted.ledgers)
    restarted.ledgers = msgspec.msgpack.decode(encoded, type=dict[str, Ledger])
    restarted.by = decider()
    restarted.on(points[cut:])
    assert restarted.decisions == whole.decisions
    assert restarted.memory == whole.memory


@given(sequences(willing_facts, customers=10, max_size=60))
def test_the_kill_switch_sends_nothing_and_goes_on_recording(points: list[DecisionPoint]) -> None:
    off = Decided(decider(enabled=False)).on(points)
    on = Decided(decider()).on(points)
    assert not off.those(Act)
    if on.those(Act):
        assert any(d.suppressed.reason == "kill_switch" for d in off.those(Suppress))


@given(sequences(willing_facts, customers=10, max_size=80), st.floats(0, 40), st.integers(1, 4))
def test_the_budget_of_a_day_is_never_exceeded(points: list[DecisionPoint], money: float, count: int) -> None:
    budgeted = guarded(budget={"money_per_day": money, "count_per_day": 2 * count}, quiet_hours={"channels": []})
    run = Decided(decider(budgeted, partitions=2)).on(points)
    by_day: dict[int, list[float]] = {}
    for intervention in sent(run):
        by_day.setdefault(to_ms(intervention.decided_at) // DAY_MS, []).append(intervention.cost)
    for costs in by_day.values():
        assert len(costs) <= count
        assert sum(costs) <= money / 2 + 1e-4 * len(costs)


@given(sequences(any_facts, customers=3, max_size=60))
def test_ids_are_unique_and_an_epoch_has_one_draw(points: list[DecisionPoint]) -> None:
    run = Decided(decider(unknown_consent_override="allow")).on(points)
    ids = [i.intervention_id for i in sent(run)] + [d.suppressed.suppression_id for d in run.those(Suppress)]
    assert len(ids) == len(set(ids))
    by_customer: dict[str, list[int]] = {}
    for intervention in sent(run):
        by_customer.setdefault(intervention.customer_id, []).append(to_ms(intervention.decided_at))
    for times in by_customer.values():
        assert all(later - earlier >= EPOCH_MS for earlier, later in pairwise(times))


@given(sequences(any_facts, max_size=60))
def test_a_repeated_no_is_told_once_per_reason_and_day(points: list[DecisionPoint]) -> None:
    run = Decided(decider()).on(points)
    drawn = {NOTHING, "holdout", "shadow", "approval"}
    told = [
        (to_ms(d.suppressed.event_time) // DAY_MS, d.suppressed.reason)
        for d in run.those(Suppress)
        if d.suppressed.reason not in drawn
    ]
    assert len(told) == len(set(told))


@given(st.integers(0, 10**6), st.sampled_from(["shadow", "approve"]))
def test_only_live_actions_are_sent(number: int, mode: str) -> None:
    run = Decided(decider(mode_override=mode)).on([point(customer_id=f"c{number}")])
    assert not run.those(Act)
    (decision,) = run.those(Suppress)
    assert decision.suppressed.reason in {NOTHING, "shadow", "approval"}
    assert decision.stay_probability == 1.0
    assert (decision.suppressed.proposal is not None) == (decision.suppressed.reason == "approval")


RESTING = [
    decider(),
    decider(mode_override="approve"),
    decider(enabled=False),
    decider(guarded(budget={"count_per_day": 1}, quiet_hours={"channels": ["email", "sms", "push", "phone"]})),
]


@given(st.sampled_from(RESTING), sequences(willing_facts, max_size=40) | sequences(any_facts, max_size=40))
def test_where_a_packed_ledger_rests_a_decision_is_quiet_and_changes_nothing(
    by: CatalogueDecider, points: list[DecisionPoint]
) -> None:
    run = Decided(by)
    for each in points:
        packed = pack_ledger(run.ledgers.setdefault(each.customer_id, Ledger()))
        memory = msgspec.msgpack.encode(run.memory)
        rests = by.rests(packed, each.facts, each.now_ms)

        run.on([each])

        if rests:
            assert isinstance(run.decisions[-1], Quiet)
            assert pack_ledger(run.ledgers[each.customer_id]) == packed
            assert msgspec.msgpack.encode(run.memory) == memory


def test_a_packed_ledger_rests_while_the_epoch_whose_choice_was_carried_out_lasts() -> None:
    by, drawn = decider(), Ledger()
    by.decide(point(tier=3), drawn, PartitionState())
    complained = msgspec.structs.replace(facts(), last_complaint_ms=NOON_MS + 1)

    def rests(known: Facts, at_ms: int) -> bool:
        return by.rests(pack_ledger(drawn), known, at_ms)

    for at_ms in (0, NOON_MS):
        assert not by.rests(pack_ledger(Ledger()), facts(), at_ms)
    assert rests(facts(), NOON_MS)
    assert rests(facts(), NOON_MS + EPOCH_MS - 1)
    assert not rests(facts(), NOON_MS + EPOCH_MS)
    assert not rests(complained, NOON_MS + 2)
