"""Retries at the end of quiet hours and approvals of proposals: parts of the log's one result, however it is cut."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_app.core.events import CustomerRecord, FeedbackEvent
from stream_app.core.features import FEATURE_INDEX
from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS, from_ms, to_ms
from stream_app.core.topics import Topic
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.decider import CatalogueDecider
from stream_app.decisions.types import Mode
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.learning.scorer import PriorScorer
from stream_app.sentiment.lexical import LexicalSentiment
from tests.support.decisions import only
from tests.support.engines import Run, run
from tests.support.logs import START_MS, click, log_of, order, profile, review

NIGHT_MS = START_MS + 40 * DAY_MS + 22 * HOUR_MS
"""23:00 in Vienna, in winter."""
MORNING_MS = START_MS + 41 * DAY_MS + 7 * HOUR_MS
ANY_TIER = {"low": 0.05, "medium": 0.05, "high": 0.05, "critical": 0.05}
SMS = only("care-sms", tiers=list(ANY_TIER), uplift={"by_tier": ANY_TIER}, cost=0)


class MovedByClicks(PriorScorer):
    """Puts whoever clicks into another tier, so that clicks are points at which nothing falls due."""

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        clicks = features[:, FEATURE_INDEX["clicks_7"]]
        return np.where(clicks > 0, 0.9, 0.1)


def engine(catalogue: Catalogue = SMS, mode: Mode = "live") -> Engine:
    decider = CatalogueDecider(catalogue, salt="test", holdout_share=0.0, mode_override=mode)
    return Engine(EnginePolicy(allowed_lateness_ms=0), decider, LexicalSentiment(), MovedByClicks(30))


def complaining(customer: str, at_ms: int) -> list[CustomerRecord]:
    return [profile(customer, START_MS), order(customer, START_MS + HOUR_MS), review(customer, at_ms, complaint=True)]


def interventions(of: Run) -> list[Intervention]:
    return [output.body for output, _ in of.outputs if isinstance(output.body, Intervention)]


def suppressed(of: Run, reason: str) -> list[SuppressedIntervention]:
    return [o.body for o, _ in of.outputs if isinstance(o.body, SuppressedIntervention) and o.body.reason == reason]


def sorted_log(events: list[CustomerRecord]) -> list[Record]:
    return log_of(sorted(events, key=lambda event: event.timestamp))


def test_care_that_quiet_hours_stopped_leaves_at_their_end() -> None:
    names = [f"c{number}" for number in range(30)]
    result = run(sorted_log([e for n in names for e in complaining(n, NIGHT_MS)]), [], engine(), end_ms=MORNING_MS)
    sent = interventions(result)
    assert len(suppressed(result, "quiet_hours")) == len(names)
    assert len(sent) >= len(names) / 2
    assert {to_ms(each.decided_at) for each in sent} == {MORNING_MS}
    assert {each.trigger for each in sent} == {"retry"}


def tight() -> Engine:
    """Return an engine that may contact one customer a day, so that it shows who came first."""
    raw = SMS.model_dump(mode="json")
    raw["guardrails"]["budget"] = {"count_per_day": 1}
    return engine(Catalogue.model_validate(raw))


@pytest.mark.parametrize("make", [engine, tight], ids=["free", "one a day"])
@settings(max_examples=40, deadline=None)
@given(
    said=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 20 * 24), st.sampled_from(["order", "complaint", "click"])),
        min_size=1, max_size=40,
    ),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    restart_at=st.integers(0, 60),
)  # fmt: skip
def test_chunks_and_restarts_leave_no_trace(
    make: Callable[[], Engine], said: list[tuple[int, int, str]], cuts: list[int], restart_at: int
) -> None:
    names = [f"c{number}" for number in range(6)]
    events: list[CustomerRecord] = [profile(n, START_MS) for n in names]
    events += [order(n, START_MS + HOUR_MS) for n in names]
    for index, (number, hour, what) in enumerate(said):
        at_ms = START_MS + DAY_MS + hour * HOUR_MS + index
        name = f"c{number}"
        events.append(
            order(name, at_ms) if what == "order"
            else click(name, at_ms) if what == "click"
            else review(name, at_ms, complaint=True)
        )  # fmt: skip
    log = sorted_log(events)
    end_ms = START_MS + 60 * DAY_MS
    whole = run(log, [], make(), end_ms=end_ms)
    single = run(log, list(range(len(log))), make(), end_ms=end_ms)
    cut = run(log, [*cuts, restart_at], make(), end_ms=end_ms, reopen_after=restart_at)
    for other in (single, cut):
        assert other.by_topic() == whole.by_topic()
        assert other.states == whole.states
        assert other.shard.memory == whole.shard.memory


def at_night(*more: CustomerRecord) -> list[Record]:
    """Return the log of twelve who complain at 23:00, the last named first, what else is said, and an order at 8:01."""
    events = [event for number in range(12) for event in complaining(f"c{number}", NIGHT_MS + 12 - number)]
    return sorted_log([*events, *more, order("other", MORNING_MS + MINUTE_MS)])


def everywhere(log: list[Record]) -> list[list[int]]:
    return [
        [],
        list(range(len(log))),
        [number for number, record in enumerate(log) if record.at_ms > NIGHT_MS + 12][:1],
    ]


def test_a_click_that_moves_the_tier_at_night_leaves_the_retry() -> None:
    log = at_night(*(click(f"c{number}", NIGHT_MS + 30 * MINUTE_MS + number) for number in range(12)))
    sent = [[each.customer_id for each in interventions(run(log, cuts, engine()))] for cuts in everywhere(log)]
    assert len(sent[0]) >= 6
    assert sent[0] == sent[1] == sent[2]


def test_who_may_be_contacted_in_the_morning_does_not_depend_on_chunks() -> None:
    log = at_night()
    sent = [
        [each.customer_id for each in interventions(run(log, cuts, tight()))]
        for cuts in [*everywhere(log), *([number] for number in range(len(log)))]
    ]
    assert len(sent[0]) == 1
    assert all(others == sent[0] for others in sent)


def approval(customer: str, intervention_id: str, at_ms: int, **changes: Any) -> FeedbackEvent:
    usual = {
        "customer_id": customer,
        "timestamp": from_ms(at_ms),
        "event_id": f"{intervention_id}-approved",
        "intervention_id": intervention_id,
        "kind": "approved",
        "detail": "Ada",
    }
    return FeedbackEvent.model_validate({**usual, **changes})


EMAIL = only("care-email", uplift={"by_tier": ANY_TIER}, cost=0)
ASKED_MS = START_MS + 40 * DAY_MS + 12 * HOUR_MS


def proposed() -> tuple[list[CustomerRecord], Intervention]:
    """Return the events of a customer for whom something waits for approval, and what waits."""
    for number in range(30):
        events = complaining(f"c{number}", ASKED_MS)
        waiting = suppressed(run(sorted_log(events), [], engine(EMAIL, "approve")), "approval")
        if waiting:
            assert waiting[0].proposal is not None
            return events, waiting[0].proposal
    raise AssertionError("nobody was proposed anything")


def answered(*more: CustomerRecord, end_ms: int | None = None) -> Run:
    return run(sorted_log([*proposed()[0], *more]), [], engine(EMAIL, "approve"), end_ms=end_ms)


def test_what_is_approved_is_sent_as_it_was_proposed_and_counts_as_a_contact() -> None:
    _, proposal = proposed()
    at_ms = ASKED_MS + 5 * HOUR_MS
    result = answered(approval(proposal.customer_id, proposal.intervention_id, at_ms))
    (sent,) = interventions(result)
    assert (sent.approved_by, sent.approved_at) == ("Ada", from_ms(at_ms))
    assert sent.model_copy(update={"approved_by": None, "approved_at": None}) == proposal
    state = result.live()[proposal.customer_id]
    assert state.ledger is not None
    assert [(contact.at_ms, contact.action) for contact in state.ledger.contacts] == [(at_ms, "care-email")]
    assert (state.ledger.would_be, state.ledger.proposals) == ([], [])
    under_way = [o for o in state.pending if o.at_ms <= at_ms]
    assert under_way
    assert {o.contacts for o in under_way} == {1}
    assert [o.stay_propensity for o in under_way] == pytest.approx([proposal.alternatives["nothing"]] * len(under_way))


def test_an_approved_contact_is_an_outcome_that_was_sent() -> None:
    _, proposal = proposed()
    later = answered(
        approval(proposal.customer_id, proposal.intervention_id, ASKED_MS + HOUR_MS), end_ms=ASKED_MS + 15 * DAY_MS
    )
    unanswered = answered(end_ms=ASKED_MS + 15 * DAY_MS)
    told = [r.by_topic()[Topic.OUTCOMES][0].body for r in (later, unanswered)]
    assert [getattr(outcome, "sent", None) for outcome in told] == [True, False]


def test_an_approval_is_acted_on_once() -> None:
    _, proposal = proposed()
    answers = [
        approval(proposal.customer_id, proposal.intervention_id, ASKED_MS + h * HOUR_MS, event_id=f"a{h}")
        for h in (1, 2)
    ]
    assert len(interventions(answered(*answers))) == 1


def test_an_approval_after_the_expiry_sends_nothing_and_says_so() -> None:
    _, proposal = proposed()
    late = approval(proposal.customer_id, proposal.intervention_id, to_ms(proposal.expires_at))
    result = answered(late)
    assert interventions(result) == []


def test_who_unsubscribed_meanwhile_is_not_written_to() -> None:
    _, proposal = proposed()
    leaves = approval(
        proposal.customer_id, "iv-other", ASKED_MS + HOUR_MS, kind="unsubscribed", channel="all", event_id="u"
    )
    result = answered(leaves, approval(proposal.customer_id, proposal.intervention_id, ASKED_MS + 2 * HOUR_MS))
    assert interventions(result) == []
    assert len(suppressed(result, "unsubscribed")) == 1


def test_an_approval_of_nothing_changes_nothing() -> None:
    result = answered(approval("c0", "int_unknown", ASKED_MS + HOUR_MS))
    assert interventions(result) == []
