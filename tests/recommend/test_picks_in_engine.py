"""Product picks inside the engine: neither chunking nor a restart changes what an intervention recommends."""

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.events import CustomerRecord, OrderEvent, OrderItem
from stream_app.core.outputs import Intervention
from stream_app.core.times import DAY_MS, HOUR_MS, from_ms
from tests.support.engines import Run, run
from tests.support.logs import START_MS, log_of

PRODUCTS = [f"p{i}" for i in range(8)]
CUSTOMERS = [f"customer {i}" for i in range(6)]
END_MS = START_MS + 300 * DAY_MS
purchases = st.lists(
    st.tuples(
        st.sampled_from(CUSTOMERS),
        st.integers(1, 20),
        st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=3, unique=True),
    ),
    min_size=10,
    max_size=40,
)


def shop(steps: list[tuple[str, int, list[str]]]) -> list[CustomerRecord]:
    events: list[CustomerRecord] = []
    at_ms = START_MS
    for number, (customer, days, products) in enumerate(steps):
        at_ms += days * DAY_MS // 4 + HOUR_MS
        items = tuple(OrderItem(product_id=product, quantity=1, unit_price=30.0) for product in products)
        events.append(
            OrderEvent(
                customer_id=customer,
                timestamp=from_ms(at_ms),
                event_id=f"o{number}",
                order_id=f"o{number}",
                items=items,
                amount=30.0 * len(items),
            )
        )
    return events


def recommended(of: Run) -> list[tuple[str, str, tuple[str, ...]]]:
    return [
        (output.body.intervention_id, output.body.customer_id, output.body.content.products)
        for output, _ in of.outputs
        if isinstance(output.body, Intervention)
    ]


@settings(max_examples=40)
@given(purchases, st.lists(st.integers(1, 39), max_size=6), st.integers(1, 39))
def test_neither_chunks_nor_restarts_change_what_is_recommended(
    steps: list[tuple[str, int, list[str]]], cuts: list[int], reopened: int
) -> None:
    log = log_of(shop(steps))
    whole = recommended(run(log, [], end_ms=END_MS))
    assert recommended(run(log, cuts, end_ms=END_MS)) == whole
    assert recommended(run(log, [*cuts, reopened], end_ms=END_MS, reopen_after=reopened)) == whole


def test_picks_are_what_others_bought_too() -> None:
    steps = [(customer, 1, ["p1", "p2"]) for customer in CUSTOMERS[1:]] + [(CUSTOMERS[0], 1, ["p1"])]
    found = recommended(run(log_of(shop(steps)), [], end_ms=END_MS))
    assert ("p2",) in {products for _, customer, products in found if customer == CUSTOMERS[0]}
