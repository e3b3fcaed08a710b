"""Every draw has one outcome, told once, with what happened inside its window."""

from typing import Any

import pytest
from hypothesis import given

from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS, to_ms
from stream_app.decisions.outcomes import WINDOW_MS
from stream_app.decisions.types import Act, DecisionPoint, Suppress
from tests.support.decisions import NOON_MS, Decided, any_facts, decider, facts, only, point, sequences

GIFT = only("loyalty-points", channel="email", price_cut=False)


def outcome_of(after: dict[str, Any], **how: Any) -> DecisionOutcome:
    """Return what is told of one draw, when the facts at the window's end are `after`."""
    number = 0
    while True:
        run = Decided(decider(GIFT, **how)).on([point(customer_id=f"c{number}")])
        ledger = run.ledgers[f"c{number}"]
        if ledger.drawn == "loyalty-points":
            break
        number += 1
    assert run.by.outcome_due_ms(ledger) == NOON_MS + WINDOW_MS
    assert run.by.mature(f"c{number}", ledger, facts(**after), NOON_MS + WINDOW_MS - 1) == []
    (outcome,) = run.by.mature(f"c{number}", ledger, facts(**after), NOON_MS + WINDOW_MS)
    assert run.by.outcome_due_ms(ledger) == 0
    return outcome


def test_revenue_and_orders_are_what_came_in_the_window() -> None:
    outcome = outcome_of({"orders": 6, "total_amount": 420.0})
    assert (outcome.orders, outcome.revenue, outcome.sent, outcome.number) == (2, 100.0, True, 0)
    assert outcome.reward == pytest.approx(0.35 * 100 - 0.001)


def test_a_redeemed_incentive_costs_and_bad_ends_are_penalised() -> None:
    after = {"redeemed_30d": 0.8, "redeemed_at_ms": NOON_MS + 10 * DAY_MS}
    outcome = outcome_of({**after, "unsubscribed_ms": NOON_MS + DAY_MS, "message_complaint_ms": NOON_MS + DAY_MS})
    assert (outcome.redeemed, outcome.unsubscribed, outcome.complained) == (True, True, True)
    assert outcome.cost == pytest.approx(2.001)
    assert outcome.reward == pytest.approx(-2.001 - 5 - 10)


def test_what_was_before_the_draw_does_not_count() -> None:
    outcome = outcome_of({"unsubscribed_ms": NOON_MS - DAY_MS, "message_complaint_ms": NOON_MS - DAY_MS})
    assert (outcome.orders, outcome.unsubscribed, outcome.complained, outcome.redeemed) == (0, False, False, False)


def test_the_holdout_has_outcomes_too_at_no_cost() -> None:
    outcome = outcome_of({"orders": 5, "total_amount": 400.0}, holdout_share=1.0)
    assert (outcome.arm, outcome.sent, outcome.cost) == ("holdout", False, 0.0)
    assert outcome.reward == pytest.approx(0.35 * 80)


def test_a_switched_off_shop_sends_nothing_and_still_tells() -> None:
    assert outcome_of({}, enabled=False).sent is False


@given(sequences(any_facts, customers=3, max_size=50))
def test_every_draw_matures_exactly_once(points: list[DecisionPoint]) -> None:
    run = Decided(decider(unknown_consent_override="allow", holdout_share=0.3))
    told: list[DecisionOutcome] = []

    def mature(at_ms: int) -> None:
        for customer_id, ledger in run.ledgers.items():
            told.extend(run.by.mature(customer_id, ledger, facts(), at_ms))

    for each in points:
        mature(each.now_ms)
        run.on([each])
    mature(points[-1].now_ms + WINDOW_MS)
    drawn = {
        (s.suppressed.customer_id, to_ms(s.suppressed.event_time))
        for s in run.those(Suppress)
        if s.suppressed.alternatives
    } | {(a.intervention.customer_id, to_ms(a.intervention.event_time)) for a in run.those(Act)}
    assert {(o.customer_id, to_ms(o.drawn_at)) for o in told} <= drawn
    assert len(told) == sum(ledger.draws for ledger in run.ledgers.values())
    assert len({o.outcome_id for o in told}) == len(told)
