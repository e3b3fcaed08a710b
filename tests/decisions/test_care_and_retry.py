"""A complaint leads to care even where the epoch's draw is spent, and what quiet hours stopped is tried again."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from stream_app.core.outputs import TIERS, DecisionOutcome
from stream_app.core.times import DAY_MS, HOUR_MS, to_ms
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.decider import EPOCH_MS
from stream_app.decisions.lift import LiftBook
from stream_app.decisions.types import NOTHING, Act, DecisionPoint, Quiet, Suppress
from tests.support.decisions import NOON_MS, SHIPPED, Decided, decider, facts, guarded, only, point

CARE = {action.name for action in SHIPPED.actions if action.purpose == "service" and "complaint" in action.signals}


def complaint(customer: str, at_ms: int, since_ms: int | None = None, **changes: Any) -> DecisionPoint:
    said = facts(last_complaint_ms=since_ms if since_ms is not None else at_ms)
    return point(customer_id=customer, at_ms=at_ms, trigger="review", facts=said, **changes)


def drawn_at(run: Decided, at_ms: int) -> list[str]:
    """Return what was drawn at a moment."""
    found = [a.intervention.action for a in run.those(Act) if to_ms(a.intervention.event_time) == at_ms]
    return found + [
        s.suppressed.action or NOTHING
        for s in run.those(Suppress)
        if s.suppressed.alternatives and to_ms(s.suppressed.event_time) == at_ms
    ]


@pytest.mark.parametrize("number", range(20))
def test_a_complaint_within_a_spent_epoch_draws_care_once(number: int) -> None:
    name, later = f"c{number}", NOON_MS + DAY_MS
    run = Decided(decider()).on([point(customer_id=name), complaint(name, later)])
    (drawn,) = drawn_at(run, later)
    assert drawn in CARE | {NOTHING}
    told = run.decisions[-1]
    assert isinstance(told, Act | Suppress)
    choice = told.intervention.alternatives if isinstance(told, Act) else told.suppressed.alternatives
    assert set(choice) <= CARE | {NOTHING}
    assert told.stay_probability == pytest.approx(choice[NOTHING])
    assert isinstance(told, Suppress) or told.intervention.propensity == choice[drawn]
    again = [complaint(name, later + hour * HOUR_MS, since_ms=later) for hour in (1, 30)]
    again += [complaint(name, later + 2 * DAY_MS)]
    run.on(again)
    assert all(isinstance(decision, Quiet) for decision in run.decisions[2:])


def test_a_complaint_that_the_epochs_own_draw_answered_draws_no_more() -> None:
    run = Decided(decider()).on([complaint("c1", NOON_MS), complaint("c1", NOON_MS + HOUR_MS, since_ms=NOON_MS)])
    assert isinstance(run.decisions[1], Quiet)


def test_care_leaves_the_epoch_as_it_is_and_has_an_outcome_of_its_own() -> None:
    run = Decided(decider(holdout_share=0.0)).on([point(), complaint("c1", NOON_MS + DAY_MS)])
    ledger = run.ledgers["c1"]
    assert (ledger.drawn_at_ms, ledger.care_at_ms, ledger.draws) == (NOON_MS, NOON_MS + DAY_MS, 2)
    told: list[DecisionOutcome] = run.by.mature("c1", ledger, facts(), NOON_MS + DAY_MS + EPOCH_MS)
    assert [(outcome.number, outcome.is_care) for outcome in told] == [(0, False), (1, True)]
    run.on([point(at_ms=NOON_MS + EPOCH_MS)])
    assert drawn_at(run, NOON_MS + EPOCH_MS)


def test_a_contact_is_counted_for_the_draw_that_led_to_it_alone() -> None:
    raw = only("care-email").model_dump(mode="json")
    raw["guardrails"] |= {"budget": {"count_per_day": 1}, "complaint_cooldown_days": 0}
    day, found = NOON_MS // DAY_MS, 0
    for number in range(20):
        name = f"c{number}"
        run = Decided(decider(Catalogue.model_validate(raw)))
        run.memory.budget_day, run.memory.budget_count = day, 1
        run.on([complaint(name, NOON_MS), complaint(name, NOON_MS + DAY_MS)])
        both = run.ledgers[name].draws == 2 and run.ledgers[name].act_draws == 2
        if not both or not run.those(Act):
            continue
        found += 1
        told = run.by.mature(name, run.ledgers[name], facts(), NOON_MS + DAY_MS + EPOCH_MS)
        assert [(outcome.action, outcome.is_care, outcome.sent) for outcome in told] == [
            ("care-email", False, False),
            ("care-email", True, True),
        ]
    assert found


def coupon_then_care(**between: Any) -> Decided:
    """Return a run in which a coupon was sent at noon and care-email a day later, with facts as they were by then."""
    raw = SHIPPED.model_dump(mode="json")
    raw["actions"] = [action for action in raw["actions"] if action["name"] in {"coupon-10", "care-email"}]
    raw["guardrails"] |= {"channel_caps": {}, "complaint_cooldown_days": 0}
    raw["actions"] = [{**action, "uplift": {"by_tier": dict.fromkeys(TIERS, 0.1)}} for action in raw["actions"]]
    by = decider(Catalogue.model_validate(raw))
    for number in range(200):
        run = Decided(by).on([point(customer_id=f"c{number}")])
        upset = complaint(f"c{number}", NOON_MS + DAY_MS)
        known = msgspec.structs.replace(upset.facts, **between)
        run.on([msgspec.structs.replace(upset, facts=known)])
        if [act.intervention.action for act in run.those(Act)] == ["coupon-10", "care-email"]:
            return run
    raise AssertionError("nobody was sent both")


@pytest.mark.parametrize(
    ("between", "after", "opened", "redeemed"),
    [
        ({}, {"opened": 1}, (False, True), (False, False)),
        ({"opened": 1}, {"opened": 1}, (True, False), (False, False)),
        ({"opened": 1}, {"opened": 2}, (True, True), (False, False)),
        # Care gives nothing away: a redemption is of the coupon, whenever it comes.
        ({}, {"redeemed_30d": 1.0, "redeemed_at_ms": NOON_MS + 5 * DAY_MS}, (False, False), (True, False)),
    ],
)
def test_what_became_of_messages_counts_once_where_care_falls_into_a_window(
    between: dict[str, Any], after: dict[str, Any], opened: tuple[bool, bool], redeemed: tuple[bool, bool]
) -> None:
    run = coupon_then_care(**between)
    ((name, ledger),) = run.ledgers.items()
    first = run.by.mature(name, ledger, facts(**after), NOON_MS + EPOCH_MS)
    second = run.by.mature(name, ledger, facts(**after), NOON_MS + DAY_MS + EPOCH_MS)
    told = [*first, *second]
    assert [each.action for each in told] == ["coupon-10", "care-email"]
    assert tuple(each.opened for each in told) == opened
    assert tuple(each.redeemed for each in told) == redeemed
    care = next(action for action in SHIPPED.actions if action.name == "care-email")
    assert [each.cost_besides for each in told] == [care.cost, 0.0]


def test_the_lift_report_counts_a_customer_with_care_once_and_all_that_was_spent() -> None:
    run = coupon_then_care()
    ((name, ledger),) = run.ledgers.items()
    book = LiftBook(holdout_share=0.1)
    for each in run.by.mature(name, ledger, facts(), NOON_MS + 40 * DAY_MS):
        book.add(each)
    report = book.report()
    assert (report.customers, report.outcomes) == (1, 2)
    assert [(each.name, each.treated) for each in report.slices] == [
        ("all", 1),
        ("tier:high", 1),
        ("action:coupon-10", 1),
    ]
    spent = sum(action.cost for action in SHIPPED.actions if action.name in {"coupon-10", "care-email"})
    assert book.state.slices["all"].measures["cost"].treated.mean == pytest.approx(spent)


def test_the_holdout_would_be_cared_for_at_the_same_draws() -> None:
    points = [each for n in range(40) for each in (point(customer_id=f"c{n}"), complaint(f"c{n}", NOON_MS + DAY_MS))]
    treated, held = Decided(decider()).on(points), Decided(decider(holdout_share=1.0)).on(points)
    for at_ms in (NOON_MS, NOON_MS + DAY_MS):
        assert sorted(drawn_at(treated, at_ms)) == sorted(drawn_at(held, at_ms))
    assert not held.those(Act)


NIGHT_MS = to_ms(datetime(2026, 7, 1, 21, 30, tzinfo=UTC))
MORNING_MS = to_ms(datetime(2026, 7, 2, 6, 0, tzinfo=UTC))


def test_what_quiet_hours_stopped_is_tried_again_at_their_end() -> None:
    run = Decided(decider(only("care-sms"))).on([complaint("c1", NIGHT_MS)])
    (told,) = run.those(Suppress)
    assert (told.suppressed.reason, told.retry_at_ms) == ("quiet_hours", MORNING_MS)
    assert run.ledgers["c1"].retry_at_ms == MORNING_MS
    assert run.by.quiet_until_ms(facts(), NIGHT_MS) == MORNING_MS
    run.on([complaint("c1", MORNING_MS, since_ms=NIGHT_MS)])
    assert drawn_at(run, MORNING_MS)


def test_where_another_channel_is_open_nothing_is_tried_again() -> None:
    run = Decided(decider()).on([complaint("c1", NIGHT_MS)])
    assert run.ledgers["c1"].retry_at_ms == 0
    assert drawn_at(run, NIGHT_MS)


def test_without_quiet_channels_no_time_is_quiet() -> None:
    assert decider(guarded(quiet_hours={"channels": []})).quiet_until_ms(facts(), NIGHT_MS) == 0


def test_a_standing_no_is_told_once_an_epoch_and_a_passing_one_once_a_day() -> None:
    unknown = facts(profile=None)
    days = range(0, 60, 2)
    run = Decided(decider()).on([point(at_ms=NOON_MS + day * DAY_MS, facts=unknown) for day in days])
    told = [to_ms(s.suppressed.event_time) for s in run.those(Suppress)]
    assert told == [NOON_MS + day * DAY_MS for day in (0, 14, 28, 42, 56)]
    busy = facts(last_order_ms=NOON_MS - HOUR_MS)
    marketing = only("coupon-10")
    fresh = Decided(decider(marketing)).on([point(at_ms=NOON_MS + n * HOUR_MS, facts=busy) for n in range(30)])
    assert len(fresh.those(Suppress)) == 2
