"""What waits for a person: until when, what is sent of it, and that it stands in nobody's way."""

from typing import Any

import msgspec
import pytest

from stream_app.core.outputs import Intervention
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS, from_ms
from stream_app.decisions.decider import EPOCH_MS
from stream_app.decisions.outcomes import WINDOW_MS
from stream_app.decisions.proposals import note_approval
from stream_app.decisions.types import Act, Suppress
from tests.support.decisions import NOON_MS, SHIPPED, Decided, decider, facts, only, point

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


@pytest.mark.parametrize(("hours", "waits_days"), [(504, 14), (48, 2)])
def test_what_is_said_of_the_expiry_is_when_it_expires(hours: float, waits_days: int) -> None:
    content = next(action for action in SHIPPED.actions if action.name == "loyalty-points").content
    said = content.model_copy(update={"parameters": {"until": "$expires_on"}}).model_dump(mode="json")
    _, proposal = proposed(expires_hours=hours, content=said)
    until = from_ms(NOON_MS + waits_days * DAY_MS)
    assert proposal.expires_at == until
    assert proposal.content.parameters == {"until": until.date().isoformat()}


def test_all_that_expired_with_an_approval_is_told_at_once() -> None:
    run, name = approved("care-email", "loyalty-points")
    run.on([point(customer_id=name, at_ms=NOON_MS + WINDOW_MS), point(customer_id=name, at_ms=NOON_MS + WINDOW_MS)])
    told = [each.suppressed for each in run.those(Suppress) if each.suppressed.reason == "expired"]
    assert len(told) == 1
    for action in ("care-email", "loyalty-points"):
        assert f"{action} was approved by Ada and is not sent" in told[0].detail
    assert run.ledgers[name].proposals == []


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


def test_what_may_no_longer_be_sent_is_dropped_told_once_and_blocks_nothing() -> None:
    run, proposal = proposed(expires_hours=504)
    name = proposal.customer_id
    ledger = run.ledgers[name]
    note_approval(ledger, proposal.intervention_id, "Ada")
    left = facts(unsubscribed_ms=NOON_MS, unsubscribed_channels=("all",))
    # Told of another action the day before: who approved is told all the same.
    ledger.standing_told["unsubscribed"] = NOON_MS
    run.on([point(customer_id=name, at_ms=NOON_MS + day * DAY_MS, facts=left) for day in (1, 2, 3)])
    told = [each.suppressed for each in run.those(Suppress)[1:]]
    assert [each.reason for each in told] == ["unsubscribed"]
    assert "loyalty-points was approved by Ada" in told[0].detail
    assert ledger.proposals == []
    run.by = decider()
    run.on([point(customer_id=name, at_ms=NOON_MS + EPOCH_MS)])
    assert ledger.draws == 2


NIGHT_MS = NOON_MS + 10 * HOUR_MS
MORNING_MS = NOON_MS + 18 * HOUR_MS


def approved(*names: str) -> tuple[Decided, str]:
    """Return a run in which these were approved, oldest first, and of whom; all of them may be drawn anew."""
    catalogue = SHIPPED.model_copy(update={"actions": tuple(a for a in SHIPPED.actions if a.name in names)})
    run, proposal = proposed(names[0], signals=["risk"], expires_hours=504)
    ledger = run.ledgers[proposal.customer_id]
    (first,) = ledger.proposals
    ledger.proposals = [
        msgspec.structs.replace(
            first,
            intervention_id=name,
            action=name,
            approved_by="Ada",
            body=proposal.model_copy(update={"action": name}).model_dump_json().encode(),
        )
        for name in names
    ]
    run.by = decider(catalogue)
    return run, proposal.customer_id


def test_what_waits_for_the_morning_holds_up_no_other_approval() -> None:
    run, name = approved("care-sms", "care-email")
    run.on([point(customer_id=name, at_ms=NIGHT_MS)])
    assert [act.intervention.action for act in run.those(Act)] == ["care-email"]
    assert run.ledgers[name].retry_at_ms == MORNING_MS
    run.on([point(customer_id=name, at_ms=MORNING_MS)])
    assert [act.intervention.action for act in run.those(Act)] == ["care-email", "care-sms"]


def test_what_waits_for_the_morning_is_told_once_and_the_epoch_goes_on() -> None:
    run, name = approved("care-sms")
    run.by = decider()
    ledger = run.ledgers[name]
    ledger.drawn_at_ms = NIGHT_MS - EPOCH_MS
    run.on([point(customer_id=name, at_ms=NIGHT_MS + minute * MINUTE_MS) for minute in range(3)])
    assert [each.suppressed.reason for each in run.those(Suppress)[1:]].count("quiet_hours") == 1
    assert ledger.draws == 2
    assert [waiting.action for waiting in ledger.proposals] == ["care-sms"]


def test_switched_off_what_was_approved_waits_and_draws_are_made() -> None:
    run, name = approved("loyalty-points")
    run.by = decider(SHIPPED, enabled=False)
    run.on([point(customer_id=name, at_ms=NOON_MS + day * DAY_MS) for day in (1, 13)])
    ledger = run.ledgers[name]
    assert (len(ledger.proposals), len(run.those(Act))) == (1, 0)
    assert {each.suppressed.reason for each in run.those(Suppress)[1:]} == {"kill_switch"}
    run.by = decider(SHIPPED)
    run.on([point(customer_id=name, at_ms=NOON_MS + 13 * DAY_MS + HOUR_MS)])
    assert [act.intervention.action for act in run.those(Act)] == ["loyalty-points"]
