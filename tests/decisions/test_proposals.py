"""What waits for a person: until when, what is sent of it, and that it stands in nobody's way."""

from typing import Any

import pytest

from stream_app.core.outputs import Intervention
from stream_app.core.times import DAY_MS, HOUR_MS, from_ms
from stream_app.decisions.decider import EPOCH_MS
from stream_app.decisions.outcomes import WINDOW_MS
from stream_app.decisions.proposals import note_approval
from stream_app.decisions.types import Act, Suppress
from tests.support.decisions import NOON_MS, Decided, decider, facts, only, point

ANY_TIER = {"low": 0.05, "medium": 0.05, "high": 0.05, "critical": 0.05}


def proposed(name: str = "loyalty-points", since: int = 0, **changes: Any) -> tuple[Decided, Intervention]:
    """Return a run in which an action waits for approval, drawn at noon, and what waits."""
    catalogue = only(name, **{"uplift": {"by_tier": ANY_TIER}, "cost": 0, **changes})
    for number in range(since, since + 60):
        run = Decided(decider(catalogue, mode_override="approve")).on([point(customer_id=f"c{number}")])
        told = run.those(Suppress)
        if told and told[0].suppressed.proposal is not None:
            return run, told[0].suppressed.proposal
    raise AssertionError("nobody was proposed anything")


@pytest.mark.parametrize(("hours", "waits_ms"), [(504, WINDOW_MS), (24, 24 * HOUR_MS)])
def test_nothing_waits_beyond_the_window_in_which_its_contact_would_count(hours: float, waits_ms: int) -> None:
    run, proposal = proposed(expires_hours=hours)
    assert proposal.expires_at == from_ms(NOON_MS + waits_ms)
    ledger = run.ledgers[proposal.customer_id]
    assert ledger.proposals[0].expires_ms == NOON_MS + waits_ms
    assert note_approval(ledger, proposal.intervention_id, "Ada")
    run.on([point(customer_id=proposal.customer_id, at_ms=NOON_MS + waits_ms)])
    assert not run.those(Act)
    assert run.those(Suppress)[-1].suppressed.reason == "expired"


def test_the_last_moment_of_waiting_still_has_an_outcome() -> None:
    run, proposal = proposed(expires_hours=504)
    ledger = run.ledgers[proposal.customer_id]
    note_approval(ledger, proposal.intervention_id, "Ada")
    run.on([point(customer_id=proposal.customer_id, at_ms=NOON_MS + WINDOW_MS - 1)])
    assert len(run.those(Act)) == 1
    assert [told.sent for told in run.by.mature(proposal.customer_id, ledger, facts(), NOON_MS + WINDOW_MS)] == [True]


def test_what_a_limit_delayed_waits_as_long_as_its_draw_counts() -> None:
    catalogue = only("loyalty-points", uplift={"by_tier": ANY_TIER}, cost=0, expires_hours=504)
    for number in range(60):
        name = f"c{number}"
        run = Decided(decider(catalogue, mode_override="approve", enabled=False)).on([point(customer_id=name)])
        if run.ledgers[name].drawn_open:
            break
    run.by = decider(catalogue, mode_override="approve")
    run.on([point(customer_id=name, at_ms=NOON_MS + 10 * DAY_MS)])
    (waiting,) = run.ledgers[name].proposals
    assert waiting.expires_ms == NOON_MS + EPOCH_MS
