"""The customers that a contender already knows when the benchmark begins.

A few hundred template customers live through half a year in the engine itself; every preloaded customer is one of them,
with calendar and waiting observations moved so that what is due spreads evenly.
"""

from random import Random
from zlib import crc32

from stream_app.adapters.assembly import engine_of
from stream_app.core.events import (
    ClickEvent,
    Consent,
    CustomerProfile,
    CustomerRecord,
    OrderEvent,
    OrderItem,
    ReviewEvent,
)
from stream_app.core.partition import PartitionState
from stream_app.core.records import Position, Record
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS, from_ms
from stream_app.core.topics import Topic
from stream_app.engine.calendar import look_after
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.wire.state_codec import decode_state, encode_state

TEMPLATES = 128
HISTORY_DAYS = 180
ORDER_SHARE = 0.5
"""Of visits that end with an order."""
REVIEW_SHARE = 0.08
TEXTS = ("It does what it should and came in time.", "Lovely, thank you!", "Broken on arrival, very sad.")
_SPREAD_MS = 7 * DAY_MS


class Population:
    """Encoded states of preloaded customers, by customer id; the same for the same settings, seed and start.

    Parameters
    ----------
    settings
        Of the contender: its engine makes the templates.
    seed
        What the templates did.
    start_ms
        When the benchmark's events begin; all history lies before.
    """

    def __init__(self, settings: Settings, seed: int, start_ms: int) -> None:
        self._start_ms = start_ms
        engine = engine_of(settings)
        self._policy: EnginePolicy = engine.policy
        self._label_delay_ms = engine.policy.horizon_days * DAY_MS + engine.policy.allowed_lateness_ms
        store = DictStore()
        shard = engine.open_shard(0, store, PartitionState())
        records = _history(Random(seed), start_ms)
        for first in range(0, len(records), 500):
            engine.process(shard, records[first : first + 500])
        engine.advance(shard, start_ms)
        self._templates = [encode_state(store.states[_template_id(number)]) for number in range(TEMPLATES)]

    def state(self, customer_id: str) -> bytes:
        """Return the encoded state of a preloaded customer."""
        number = crc32(customer_id.encode())
        state = decode_state(self._templates[number % TEMPLATES])
        # Positions are of the templates' own log: kept, they would make the benchmark's first records repeats.
        state.sources.offsets = {}
        if state.next_look_ms:
            state.next_look_ms = look_after(customer_id, self._start_ms, self._policy)
        moved_ms = number // TEMPLATES * MINUTE_MS % _SPREAD_MS
        for observation in state.pending:
            observation.at_ms -= moved_ms
        state.pending = [one for one in state.pending if one.at_ms + self._label_delay_ms > self._start_ms]
        state.cart_due_ms = 0
        return encode_state(state)

    def memory(self) -> PartitionState:
        """Return the memory of a partition at the start."""
        return PartitionState(frontier_ms=self._start_ms)


def _template_id(number: int) -> str:
    return f"template-{number}"


def _history(random: Random, start_ms: int) -> list[Record]:
    """Return what the templates did, in the order of time."""
    told: list[tuple[int, str, Topic, CustomerRecord]] = []
    for number in range(TEMPLATES):
        customer_id = _template_id(number)
        joined_ms = start_ms - random.randrange(20, HISTORY_DAYS) * DAY_MS
        told.append((joined_ms, customer_id, Topic.CUSTOMERS, _profile(customer_id, joined_ms)))
        gap_ms = random.randrange(8, 60) * DAY_MS
        at_ms = joined_ms
        while at_ms < start_ms - DAY_MS:
            told += _visit(random, customer_id, at_ms)
            at_ms += int(random.expovariate(1 / gap_ms)) + HOUR_MS
    told.sort(key=lambda one: one[:2])
    return [
        Record(Position(topic, 0, offset), customer_id, at_ms, event)
        for offset, (at_ms, customer_id, topic, event) in enumerate(told)
    ]


def _profile(customer_id: str, at_ms: int) -> CustomerProfile:
    consent = Consent(marketing=True, email=True, sms=True, push=True, phone=True, onsite=True, profiling=True)
    return CustomerProfile(
        customer_id=customer_id,
        timestamp=from_ms(at_ms),
        consent=consent,
        time_zone="Europe/Vienna",
        language="en",
        region="AT",
    )


def _visit(random: Random, customer_id: str, at_ms: int) -> list[tuple[int, str, Topic, CustomerRecord]]:
    told: list[tuple[int, str, Topic, CustomerRecord]] = []
    for step in range(random.randrange(3, 12)):
        click_ms = at_ms + step * 20_000
        click = ClickEvent(
            customer_id=customer_id,
            timestamp=from_ms(click_ms),
            event_id=f"{customer_id}-{click_ms}",
            event_type=random.choice(("page_view", "product_view", "product_view", "search", "add_to_cart")),
            product_id=f"sku-{random.randrange(10_000, 99_999)}",
            channel="web",
        )
        told.append((click_ms, customer_id, Topic.CLICKSTREAM, click))
    if random.random() < ORDER_SHARE:
        order_ms = at_ms + 12 * 20_000
        price = random.randrange(500, 20_000) / 100
        order = OrderEvent(
            customer_id=customer_id,
            timestamp=from_ms(order_ms),
            event_id=f"{customer_id}-o-{order_ms}",
            order_id=f"o-{order_ms}",
            items=(OrderItem(product_id=f"sku-{random.randrange(10_000, 99_999)}", quantity=1, unit_price=price),),
            amount=price,
        )
        told.append((order_ms, customer_id, Topic.ORDERS, order))
    if random.random() < REVIEW_SHARE:
        review_ms = at_ms + 13 * 20_000
        review = ReviewEvent(
            customer_id=customer_id,
            timestamp=from_ms(review_ms),
            event_id=f"{customer_id}-r-{review_ms}",
            rating=random.randrange(1, 6),
            text=random.choice(TEXTS),
            language="en",
        )
        told.append((review_ms, customer_id, Topic.REVIEWS, review))
    return told
