"""Where a customer stands: told by what came before, forgotten after 45 days, noted at both ends of a window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.facts import Facts
from stream_app.core.ledger import Contact, Ledger
from stream_app.core.times import DAY_MS
from stream_app.decisions.courses import COURSE, MEMORY_DAYS, STEP, course_of, step_matrix
from stream_app.decisions.outcomes import WINDOW_MS
from stream_app.decisions.types import DecisionPoint
from tests.support.decisions import NOON_MS, SHIPPED, Decided, any_facts, decider, facts, sequences, willing_facts


def columns(known: Facts, *contacts: Contact, at_ms: int = NOON_MS) -> dict[str, float]:
    course = course_of(known, Ledger(contacts=list(contacts)), at_ms, SHIPPED.incentives)
    return dict(zip(COURSE, course.columns, strict=True))


def contact(days_ago: float, action: str = "coupon-10") -> Contact:
    return Contact(NOON_MS - int(days_ago * DAY_MS), action, "email")


def test_the_last_contact_is_told_with_its_kind_its_age_and_its_answer() -> None:
    silent = facts(last_order_ms=NOON_MS - 60 * DAY_MS)
    told = columns(silent, contact(28), contact(14, "product-picks"))
    assert (told["contacts"], told["freshness"], told["answered"]) == (2.0, 0.5, 0.0)
    assert told["after_incentive"] == 0.0
    assert columns(silent, contact(14))["after_incentive"] == 1.0
    assert columns(facts(last_order_ms=NOON_MS - 3 * DAY_MS), contact(14))["answered"] == 1.0
    assert told["ln_recency"] == pytest.approx(np.log1p(60))


def test_contacts_of_long_ago_and_those_that_never_were_leave_no_trace() -> None:
    none = columns(facts())
    assert columns(facts(), contact(MEMORY_DAYS), contact(300)) == none
    course = course_of(facts(), Ledger(would_be=[contact(3)]), NOON_MS, SHIPPED.incentives)
    assert course.last_action == ""
    assert course.columns == tuple(none.values())


@given(any_facts, st.lists(st.integers(0, 60), max_size=4), st.booleans())
def test_columns_are_finite_and_a_step_is_that_of_many(known: Facts, ages: list[int], repeated: bool) -> None:
    contacts = [contact(age) for age in sorted(ages, reverse=True)]
    course = course_of(known, Ledger(contacts=contacts), NOON_MS, SHIPPED.incentives)
    assert np.isfinite(course.columns).all()
    action = course.last_action if repeated else "product-picks"
    many = step_matrix(np.array([course.columns]), np.array([float(action == course.last_action)]))
    assert tuple(many[0]) == course.step(action)
    assert len(course.step(action)) == len(STEP)


@given(sequences(willing_facts, max_size=10))
def test_every_outcome_tells_both_ends_of_its_window(points: list[DecisionPoint]) -> None:
    run = Decided(decider()).on(points)
    for customer, ledger in run.ledgers.items():
        for draw in list(ledger.open_draws):
            assert len(draw.course) == len(COURSE)
        last_ms = max((draw.at_ms for draw in ledger.open_draws), default=0)
        for outcome in run.by.mature(customer, ledger, facts(), last_ms + WINDOW_MS):
            assert len(outcome.course) == len(outcome.course_after) == len(COURSE)
