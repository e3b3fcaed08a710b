"""Decision points and catalogues for tests, and strategies that make many of them."""

from typing import Any, TypeVar

from hypothesis import strategies as st

from stream_app.core.facts import Facts
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import Reason
from stream_app.core.partition import PartitionState
from stream_app.core.state import ProfileState
from stream_app.core.times import DAY_MS, HOUR_MS
from stream_app.decisions.catalogue import Catalogue, load_shipped_catalogue
from stream_app.decisions.decider import CatalogueDecider
from stream_app.decisions.types import Decision, DecisionPoint

Kind = TypeVar("Kind", bound=Decision)

NOON_MS = 20_000 * DAY_MS + 12 * HOUR_MS
"""2024-10-04 12:00 UTC."""
WILLING = ProfileState(
    marketing=True, email=True, sms=True, push=True, phone=True, onsite=True, time_zone="Europe/Vienna", language="en"
)
SHIPPED = load_shipped_catalogue()


def reasons(language: str) -> tuple[Reason, ...]:
    return (Reason(code="recency", text=f"No order for long ({language}).", contribution=1.5),)


def facts(**changes: Any) -> Facts:
    usual: dict[str, Any] = {
        "profile": WILLING,
        "orders": 4,
        "last_order_ms": NOON_MS - 60 * DAY_MS,
        "total_amount": 320.0,
        "order_days_90d": 2.5,
        "order_days_at_ms": NOON_MS - 60 * DAY_MS,
        "recent_bought": ("p1", "p2"),
        "recent_seen": ("p3", "p1"),
    }
    return Facts(**{**usual, **changes})


def point(**changes: Any) -> DecisionPoint:
    at_ms = changes.get("at_ms", NOON_MS)
    usual: dict[str, Any] = {
        "customer_id": "c1",
        "at_ms": at_ms,
        "frontier_ms": at_ms,
        "trigger": "timer",
        "facts": facts(),
        "probability": 0.7,
        "tier": 2,
        "previous_tier": 1,
        "reasons": reasons,
        "model_version": "m1",
    }
    return DecisionPoint(**{**usual, **changes})


def decider(catalogue: Catalogue = SHIPPED, **changes: Any) -> CatalogueDecider:
    usual: dict[str, Any] = {"salt": "test", "holdout_share": 0.0, "mode_override": "live"}
    return CatalogueDecider(catalogue, **{**usual, **changes})


def guarded(**limits: Any) -> Catalogue:
    """Return the shipped catalogue with other guardrails."""
    raw = SHIPPED.model_dump(mode="json")
    raw["guardrails"].update(limits)
    return Catalogue.model_validate(raw)


def only(name: str, **changes: Any) -> Catalogue:
    """Return a catalogue with one of the shipped actions, changed."""
    raw = SHIPPED.model_dump(mode="json")
    raw["actions"] = [{**action, **changes} for action in raw["actions"] if action["name"] == name]
    return Catalogue.model_validate(raw)


consents = st.sampled_from([None, False, True])
profiles = st.none() | st.builds(
    ProfileState,
    marketing=consents,
    email=consents,
    sms=consents,
    push=consents,
    phone=consents,
    onsite=consents,
    profiling=st.sampled_from([None, True]),
    birthday_month=st.integers(0, 12),
    birthday_day=st.integers(1, 28),
    time_zone=st.sampled_from(["", "Europe/Vienna", "America/New_York", "Asia/Shanghai", "Nowhere/At_All"]),
    language=st.sampled_from(["", "en", "de-AT", "zh_CN", "fr"]),
)
any_facts = st.builds(
    facts,
    profile=profiles,
    orders=st.integers(0, 30),
    discounted_orders=st.integers(0, 30),
    last_order_ms=st.integers(NOON_MS - 100 * DAY_MS, NOON_MS),
    total_amount=st.floats(0, 5000),
    session_cart=st.integers(0, 3),
    last_cart_ms=st.integers(NOON_MS - 10 * DAY_MS, NOON_MS),
    last_click_ms=st.integers(NOON_MS - 10 * DAY_MS, NOON_MS),
    sentiment_sum=st.floats(-3, 3),
    sentiment_weight=st.floats(0, 3),
    last_complaint_ms=st.sampled_from([0, NOON_MS - DAY_MS, NOON_MS - 40 * DAY_MS]),
    unsubscribed_ms=st.sampled_from([0, 0, NOON_MS - DAY_MS]),
    unsubscribed_channels=st.sampled_from([(), ("email",), ("all",), ("push", "sms")]),
)
willing_facts = st.builds(
    facts,
    orders=st.integers(0, 30),
    total_amount=st.floats(0, 5000),
    sentiment_sum=st.floats(-3, 3),
    sentiment_weight=st.floats(0, 3),
    last_complaint_ms=st.sampled_from([0, NOON_MS - 40 * DAY_MS]),
)


def sequences(
    of: st.SearchStrategy[Facts], customers: int = 1, max_size: int = 40
) -> st.SearchStrategy[list[DecisionPoint]]:
    """Make points in order of event time, half an hour to twenty days apart, some of them at the same instant."""
    steps = st.lists(
        st.tuples(
            st.sampled_from([0, 0, HOUR_MS // 2, 7 * HOUR_MS, DAY_MS, 5 * DAY_MS, 14 * DAY_MS, 20 * DAY_MS]),
            of,
            st.integers(0, customers - 1),
            st.sampled_from(["order", "review", "feedback", "tier_change", "timer"]),
            st.integers(0, 3),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=max_size,
    )
    return steps.map(_points)


def _points(steps: list[tuple[int, Facts, int, str, int, float]]) -> list[DecisionPoint]:
    made: list[DecisionPoint] = []
    at_ms = NOON_MS
    for step_ms, known, customer, trigger, tier, probability in steps:
        at_ms += step_ms
        made.append(
            point(
                customer_id=f"c{customer}",
                at_ms=at_ms,
                facts=known,
                trigger=trigger,
                tier=tier,
                probability=probability,
            )
        )
    return made


class Decided:
    """Runs points through a decider with one ledger a customer and one partition memory."""

    def __init__(self, by: CatalogueDecider) -> None:
        self.by = by
        self.ledgers: dict[str, Ledger] = {}
        self.memory = PartitionState()
        self.decisions: list[Decision] = []

    def on(self, points: list[DecisionPoint]) -> "Decided":
        for each in points:
            ledger = self.ledgers.setdefault(each.customer_id, Ledger())
            self.decisions.append(self.by.decide(each, ledger, self.memory))
        return self

    def those(self, kind: type[Kind]) -> list[Kind]:
        return [decision for decision in self.decisions if isinstance(decision, kind)]
