"""Each guardrail has a law and a reason: for any customer it stops what it must, no more, and says that it did.

`tests.support.guardrail_laws` has the laws by reason code; `GUARDRAILS` below names every guardrail and its reason.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from stream_app.core.ledger import Ledger
from stream_app.core.partition import PartitionState
from stream_app.core.state import ProfileState
from stream_app.decisions import decider as decider_module
from stream_app.decisions import guardrails
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.types import NOTHING, Act, Suppress
from tests.decisions import test_decider_laws as decider_laws
from tests.decisions import test_limits as limits_tests
from tests.support.decisions import decider, facts, point
from tests.support.guardrail_laws import (
    ACTION,
    CHANNELS,
    LAWS,
    LIMITS,
    OPEN,
    OTHERS,
    SENT,
    Case,
    catalogue_of,
    holds,
    told,
)


def replace_guardrail(monkeypatch: pytest.MonkeyPatch, code: str, answer: str | None) -> None:
    """Put another guardrail in the place of one: it stops everybody, or nobody."""

    def other(*_: Any) -> str | None:
        return answer

    monkeypatch.setattr(
        guardrails, "GUARDS", tuple((name, other if name == code else guard) for name, guard in guardrails.GUARDS)
    )
    if code == "budget":
        monkeypatch.setattr(decider_module, "reserve_budget", other)
    elif code == "rate_breaker":
        monkeypatch.setattr(decider_module, "count_for_breaker", other)
    elif code == "kill_switch":
        switch = property(lambda _: answer is None, lambda *_: None)
        monkeypatch.setattr(decider_module.CatalogueDecider, "_enabled", switch, raising=False)


def broken_by(code: str, *, stopped: bool) -> Case:
    """Return a case in which a guardrail's law is broken, or raise NoSuchExample."""
    return find(
        LAWS[code],
        lambda case: case.stopped is stopped and not holds(code, case),
        settings=settings(max_examples=500, database=None),
    )


@pytest.mark.parametrize("stopped", [True, False], ids=["stopped", "let_through"])
@pytest.mark.parametrize("code", LAWS)
@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_a_guardrail_stops_what_it_must_and_no_more(code: str, stopped: bool, data: DataObject) -> None:
    case = data.draw(LAWS[code].filter(lambda case: case.stopped is stopped))
    assert holds(code, case), f"{told(case)} instead of {code if stopped else SENT}"


@pytest.mark.parametrize("code", LAWS)
def test_without_its_guardrail_a_law_is_broken(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_guardrail(monkeypatch, code, None)
    assert told(broken_by(code, stopped=True)) == SENT


@pytest.mark.parametrize("code", LAWS)
def test_a_guardrail_that_stops_everybody_breaks_its_law(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_guardrail(monkeypatch, code, "stopped")
    assert told(broken_by(code, stopped=False)) == code


@given(
    st.lists(st.tuples(st.integers(-2, 2), st.booleans()), min_size=1, max_size=5),
    st.sampled_from(["email", "onsite"]),
    st.integers(0, 10**6),
)
def test_only_the_most_urgent_of_what_is_allowed_is_drawn_from(
    actions: list[tuple[int, bool]], allowed_channel: str, number: int
) -> None:
    raw = [
        {
            **ACTION,
            "name": f"a{position}",
            "priority": priority,
            "channel": allowed_channel if may else ("onsite" if allowed_channel == "email" else "email"),
        }
        for position, (priority, may) in enumerate(actions)
    ]
    catalogue = Catalogue.model_validate({**OTHERS, "actions": raw, "guardrails": OPEN})
    known = ProfileState(marketing=True, email=allowed_channel == "email", onsite=allowed_channel == "onsite")
    at = point(customer_id=f"c{number}", facts=facts(profile=known))
    decision = decider(catalogue).decide(at, Ledger(), PartitionState())
    highest = max((priority for priority, may in actions if may), default=None)
    wanted = {f"a{position}" for position, (priority, may) in enumerate(actions) if may and priority == highest}
    if isinstance(decision, Act):
        assert set(decision.intervention.alternatives) == wanted | {NOTHING}
    else:
        assert isinstance(decision, Suppress)
        assert set(decision.suppressed.alternatives) == (wanted | {NOTHING} if wanted else set())


@given(st.integers(1, 20), st.integers(1, 60))
def test_the_breaker_goes_on_counting_what_it_stops(minimum: int, customers: int) -> None:
    limits = {"breaker": {"minimum": minimum, "factor": 2, "window_minutes": 60}}
    by, free = (decider(catalogue_of(Case(stopped=True, limits=each))) for each in (limits, {}))
    memory, unlimited = PartitionState(), PartitionState()
    points = [point(customer_id=f"c{number}") for number in range(customers)]
    sent = sum(isinstance(by.decide(each, Ledger(), memory), Act) for each in points)
    wanted = sum(isinstance(free.decide(each, Ledger(), unlimited), Act) for each in points)
    assert sent == min(wanted, minimum)
    assert memory.breaker_count == wanted


@given(st.sampled_from(CHANNELS), st.sampled_from(["marketing", "service"]), st.integers(0, 3), st.integers(0, 10**6))
def test_of_whom_nothing_is_known_nobody_is_contacted(channel: str, purpose: str, tier: int, number: int) -> None:
    quiet = {"channels": list(CHANNELS)}
    case = Case(
        stopped=True,
        profile=None,
        action={"channel": channel, "purpose": purpose, "min_orders": 0},
        where={"customer_id": f"c{number}", "tier": tier},
    )
    assert told(case) in {"consent", "no_eligible_action"}
    # Were consent somebody else's business, the unknown night would still be respected.
    elsewhere = msgspec.structs.replace(case, limits={"unknown_consent": "allow", "quiet_hours": quiet})
    assert told(elsewhere) in {"quiet_hours", "no_eligible_action"}


class Guardrail(NamedTuple):
    """A guardrail of the product, the reason that it gives ("": it chooses, and stops nobody), and laws besides."""

    what: str
    reason: str
    besides: tuple[Callable[..., None], ...] = ()


GUARDRAILS = (
    Guardrail(
        "consent per channel and purpose", "consent", (decider_laws.test_without_stated_consent_nothing_is_sent,)
    ),
    Guardrail(
        "a stated no, even where unknown consent is allowed",
        "consent",
        (decider_laws.test_a_stated_no_holds_even_where_unknown_consent_is_allowed,),
    ),
    Guardrail("no profiling", "profiling"),
    Guardrail("unsubscribe suppression", "unsubscribed"),
    Guardrail("complaint suppression", "message_complaint"),
    Guardrail("quiet hours in the customer's zone", "quiet_hours"),
    Guardrail(
        "caps per channel, action and total on rolling windows",
        "cap",
        (decider_laws.test_no_rolling_window_ever_holds_more_contacts_than_its_cap,),
    ),
    Guardrail("distance of two contacts with one action", "cooldown"),
    Guardrail("cooldown after an order", "order_cooldown"),
    Guardrail("cooldown after a complaint", "complaint_cooldown"),
    Guardrail("discount-dependence limit", "discount_dependence"),
    Guardrail("priorities", "", (test_only_the_most_urgent_of_what_is_allowed_is_drawn_from,)),
    Guardrail("budget in money and count", "budget", (decider_laws.test_the_budget_of_a_day_is_never_exceeded,)),
    Guardrail(
        "each partition owns its share of the day",
        "budget",
        (limits_tests.test_the_shares_of_all_partitions_never_exceed_the_whole,),
    ),
    Guardrail("stale-data guard", "stale_data"),
    Guardrail("rate breaker", "rate_breaker", (test_the_breaker_goes_on_counting_what_it_stops,)),
    Guardrail("kill switch", "kill_switch", (decider_laws.test_the_kill_switch_sends_nothing_and_goes_on_recording,)),
    Guardrail(
        "fail closed where information is missing", "consent", (test_of_whom_nothing_is_known_nobody_is_contacted,)
    ),
    Guardrail(
        "caps are reserved at decision time",
        "cap",
        (decider_laws.test_points_of_the_same_instant_cannot_both_pass_a_cap,),
    ),
)


def test_every_reason_has_a_law_and_every_guardrail_a_reason_or_a_law() -> None:
    filters = {code for code, _ in guardrails.GUARDS}
    assert set(LAWS) == filters | LIMITS
    assert {each.reason for each in GUARDRAILS if each.reason} == set(LAWS)
    for each in GUARDRAILS:
        assert each.reason or each.besides
        assert all(getattr(law, "is_hypothesis_test", False) for law in each.besides), each.what
