"""Logs of events: builders for single records, and Hypothesis strategies for whole shops."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from stream_app.core.events import (
    ClickEvent,
    Consent,
    CustomerProfile,
    CustomerRecord,
    FeedbackEvent,
    OrderEvent,
    OrderItem,
    ReviewEvent,
)
from stream_app.core.records import Position, Record
from stream_app.core.times import DAY_MS, MINUTE_MS, from_ms, to_ms
from stream_app.core.topics import RANK, Topic

START_MS = to_ms(datetime(2026, 1, 5, tzinfo=UTC))


def order(
    customer: str, at_ms: int, event_id: str = "", *, amount: float = 20.0, status: str = "completed"
) -> OrderEvent:
    identity = event_id or f"o-{customer}-{at_ms}"
    item = OrderItem(product_id="p1", quantity=1, unit_price=amount)
    return OrderEvent.model_validate(
        {
            "customer_id": customer,
            "timestamp": from_ms(at_ms),
            "event_id": identity,
            "order_id": identity,
            "items": (item,),
            "amount": amount,
            "status": status,
        }
    )


def click(customer: str, at_ms: int, event_id: str = "", *, kind: str = "product_view") -> ClickEvent:
    return ClickEvent(
        customer_id=customer,
        timestamp=from_ms(at_ms),
        event_id=event_id or f"c-{customer}-{at_ms}",
        event_type=kind,
        product_id="p1",
    )


def review(customer: str, at_ms: int, text: str = "Great, I love it", *, complaint: bool = False) -> ReviewEvent:
    return ReviewEvent(
        customer_id=customer,
        timestamp=from_ms(at_ms),
        event_id=f"r-{customer}-{at_ms}",
        kind="complaint" if complaint else "review",
        rating=None if complaint else 4.0,
        text=text,
    )


def profile(customer: str, at_ms: int, *, profiling: bool | None = None) -> CustomerProfile:
    consent = Consent(marketing=True, email=True, push=True, sms=True, phone=True, onsite=True, profiling=profiling)
    return CustomerProfile(
        customer_id=customer,
        timestamp=from_ms(at_ms),
        consent=consent,
        time_zone="Europe/Vienna",
        language="en",
    )


def feedback(customer: str, at_ms: int, *, unsubscribed: bool = False) -> FeedbackEvent:
    return FeedbackEvent(
        customer_id=customer,
        timestamp=from_ms(at_ms),
        event_id=f"f-{customer}-{at_ms}",
        intervention_id="iv_1",
        kind="unsubscribed" if unsubscribed else "opened",
        channel="email",
    )


def topic_of(event: CustomerRecord) -> Topic:
    match event:
        case ClickEvent():
            return Topic.CLICKSTREAM
        case OrderEvent():
            return Topic.ORDERS
        case ReviewEvent():
            return Topic.REVIEWS
        case FeedbackEvent():
            return Topic.FEEDBACK
        case CustomerProfile():
            return Topic.CUSTOMERS


def log_of(events: list[CustomerRecord], partition: int = 0) -> list[Record]:
    """Give every event its offset in its topic, in the order given, and merge the topics by their heads."""
    queues: dict[Topic, list[Record]] = {topic: [] for topic in RANK}
    for event in events:
        topic = topic_of(event)
        at_ms = to_ms(event.timestamp)
        position = Position(topic, partition, len(queues[topic]))
        queues[topic].append(Record(position, event.customer_id, at_ms, event, at_ms))
    heads = dict.fromkeys(RANK, 0)
    merged = []
    for _ in events:
        topic = min(
            (topic for topic in RANK if heads[topic] < len(queues[topic])),
            key=lambda topic: (queues[topic][heads[topic]].at_ms, RANK[topic]),
        )
        merged.append(queues[topic][heads[topic]])
        heads[topic] += 1
    return merged


_CUSTOMERS = st.sampled_from(["ada", "bob", "cyd"])
_KINDS = ("order", "order", "click", "click", "cart", "review", "profile", "feedback", "cancel")
_MINUTES = st.integers(min_value=0, max_value=120 * DAY_MS // MINUTE_MS)


@st.composite
def one_event(draw: st.DrawFn) -> CustomerRecord:
    """An event of any topic of one of three customers within 120 days."""
    customer = draw(_CUSTOMERS)
    at_ms = START_MS + draw(_MINUTES) * MINUTE_MS
    match draw(
        st.sampled_from(["order", "order", "click", "click", "cart", "review", "profile", "feedback", "cancel"])
    ):
        case "order":
            return order(customer, at_ms, amount=draw(st.floats(0, 500)))
        case "cancel":
            return order(customer, at_ms, f"x-{customer}-{at_ms}", status="cancelled")
        case "click":
            return click(customer, at_ms)
        case "cart":
            return click(customer, at_ms, f"k-{customer}-{at_ms}", kind="add_to_cart")
        case "review":
            return review(customer, at_ms, draw(st.sampled_from(["Awful, broken", "Great", "", "It is a box"])))
        case "profile":
            return profile(customer, at_ms, profiling=draw(st.sampled_from([None, None, True, False])))
        case _:
            return feedback(customer, at_ms, unsubscribed=draw(st.booleans()))


def event_logs(max_size: int = 60) -> st.SearchStrategy[list[Record]]:
    """Logs of one partition whose topics are each in event-time order."""
    return st.lists(one_event(), max_size=max_size).map(lambda events: log_of(sorted(events, key=_time)))


def unordered_logs(max_size: int = 60) -> st.SearchStrategy[list[Record]]:
    """Logs of one partition whose topics jump back and forth in event time."""
    return st.lists(one_event(), max_size=max_size).map(log_of)


def _time(event: CustomerRecord) -> datetime:
    return event.timestamp
