from collections import Counter
from datetime import date

import numpy as np
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.shop import Shop, simulate_shop
from stream_app.simulation.truth import potential_orders, silence_probability
from stream_app.wire.decode import DecodeLimits, decode, decode_reference
from stream_app.wire.rejection import Rejection

LIMITS = DecodeLimits(future_tolerance_ms=None)

configs = st.builds(
    ShopConfig,
    customers=st.integers(1, 120),
    days=st.integers(1, 45),
    seed=st.integers(0, 2**40),
    start=st.dates(date(2019, 1, 1), date(2026, 6, 1)),
    drift=st.sampled_from(Drift),
    drift_at=st.floats(0, 1),
    promotions=st.booleans(),
    crises=st.booleans(),
    texts=st.booleans(),
    preset=st.sampled_from(["shop", "cdnow", "online-retail"]),
    existing_share=st.floats(0, 1),
    browser_share=st.floats(0, 1),
    visits_per_order=st.floats(0.5, 20),
    horizons_days=st.just((14, 30)),
)


def order_days(events: list[SimulatedEvent], config: ShopConfig) -> dict[str, list[int]]:
    days: dict[str, list[int]] = {}
    for event in events:
        if event.topic is Topic.ORDERS and b'"status":"completed"' in event.value:
            days.setdefault(event.customer_id, []).append(event.at_ms // DAY_MS - config.first_day)
    return days


@settings(max_examples=12)
@given(configs)
def test_one_seed_is_one_shop_byte_for_byte(config: ShopConfig) -> None:
    assert [event.line() for event in simulate_shop(config)] == [event.line() for event in simulate_shop(config)]


def test_another_seed_is_another_shop() -> None:
    first, second = (list(simulate_shop(ShopConfig(customers=50, days=20, seed=seed))) for seed in (1, 2))

    assert [event.value for event in first] != [event.value for event in second]


@settings(max_examples=20)
@given(configs)
def test_every_event_is_valid_in_order_unique_and_within_the_run(config: ShopConfig) -> None:
    seen: set[tuple[Topic, str]] = set()
    first_ms, end_ms = config.first_day * DAY_MS, (config.first_day + config.days) * DAY_MS
    last_ms = first_ms
    for offset, event in enumerate(simulate_shop(config)):
        assert last_ms <= event.at_ms < end_ms
        last_ms = event.at_ms
        if event.topic not in CUSTOMER_TOPICS:
            assert not isinstance(decode_reference(event.topic, event.value, LIMITS), Rejection)
            continue
        assert event.key == event.customer_id
        record = decode(event.topic, event.key.encode(), event.value, None, 0, offset, event.at_ms, LIMITS)
        assert isinstance(record, Record), record
        assert (record.customer_id, record.at_ms) == (event.customer_id, event.at_ms)
        identity = (event.topic, record.event.event_id or "")  # type: ignore[union-attr]  # no tombstones here
        assert identity not in seen
        seen.add(identity)


@settings(max_examples=12)
@given(configs)
def test_a_profile_comes_before_all_else_of_its_customer(config: ShopConfig) -> None:
    known: set[str] = set()
    for event in simulate_shop(config):
        if event.topic is Topic.CUSTOMERS:
            known.add(event.customer_id)
        elif event.topic in CUSTOMER_TOPICS:
            assert event.customer_id in known


@settings(max_examples=12)
@given(configs, st.integers(2, 9))
def test_treated_and_untreated_streams_are_equal_with_effects_off(config: ShopConfig, every: int) -> None:
    quiet = Shop(ShopConfig(**{name: getattr(config, name) for name in config.__struct_fields__} | {"effects": False}))
    busy = Shop(quiet.config)
    untreated = [event.line() for event in quiet.events()]

    treated = []
    for number, event in enumerate(busy.events()):
        if event.topic is Topic.FEEDBACK:
            continue
        treated.append(event.line())
        if number % every == 0 and event.customer_id:
            kind = ACTION_KINDS[number % len(ACTION_KINDS)]
            assert busy.react(event.customer_id, f"i{number}", kind, "email", event.at_ms)

    assert treated == untreated


def test_messages_change_the_stream_with_effects_on() -> None:
    config = ShopConfig(customers=300, days=60)
    untreated = sum(event.topic is Topic.ORDERS for event in simulate_shop(config))
    shop = Shop(config)
    treated = 0
    for number, event in enumerate(shop.events()):
        treated += event.topic is Topic.ORDERS
        if event.topic is Topic.CLICKSTREAM and number % 20 == 0:
            shop.react(event.customer_id, f"i{number}", "personal_care", "email", event.at_ms)

    assert treated != untreated


@settings(max_examples=10)
@given(configs, st.integers(0, 20))
def test_what_the_truth_says_would_happen_is_what_happens(config: ShopConfig, day: int) -> None:
    horizon = 14
    day = min(day, config.days - 1)
    said: dict[str, bool] = {}
    certain: dict[str, float] = {}

    def at_daybreak(shop: Shop) -> None:
        if shop.day == day and day > 0:
            who = np.arange(shop.present(day - 1))
            outcomes = potential_orders(shop, who, min(horizon, config.days - day))
            said.update({shop.names[number]: bool(outcomes[number]) for number in who.tolist()})
            silence = silence_probability(shop, who, min(horizon, config.days - day))
            certain.update({shop.names[number]: float(silence[number]) for number in who.tolist()})

    ordered = order_days(list(Shop(config).events(at_daybreak)), config)

    for customer, will_order in said.items():
        assert will_order == any(day <= at < day + horizon for at in ordered.get(customer, ()))
        assert 0.0 <= certain[customer] <= 1.0
        if certain[customer] == 1.0:
            assert not will_order


@settings(max_examples=10)
@given(st.integers(0, 2**40), st.sampled_from(range(len(ACTION_KINDS))))
def test_the_potential_outcome_of_an_action_is_what_happens_when_it_is_taken(seed: int, action: int) -> None:
    config = ShopConfig(customers=150, days=45, seed=seed, existing_share=0.9)
    day, horizon = 10, 30
    shop = Shop(config)
    said: list[bool] = []

    def at_daybreak(shop: Shop) -> None:
        if shop.day != day:
            return
        who = np.arange(shop.present(day - 1))
        said.extend(potential_orders(shop, who, horizon, action).tolist())
        for number in who.tolist():
            shop.react(shop.names[number], f"i{number}", ACTION_KINDS[action], "email", shop.now_ms)

    ordered = order_days(list(shop.events(at_daybreak)), config)

    happened = [any(day <= at < day + horizon for at in ordered.get(name, ())) for name in shop.names[: len(said)]]
    assert happened == said


def test_counts_match_intensities() -> None:
    deviations = []
    for seed in range(5):
        shop = Shop(ShopConfig(customers=600, days=100, seed=seed, texts=False, visits_per_order=2.0))
        orders = Counter(event.topic for event in shop.events())[Topic.ORDERS]
        assert orders == shop.placed_orders.sum()
        # The sum over days of (count - compensator) is a martingale whose variance is at most the compensator.
        deviations.append((orders - shop.expected_orders.sum()) / np.sqrt(shop.expected_orders.sum()))

    assert np.abs(deviations).max() < 4
    assert abs(np.mean(deviations)) < 4 / np.sqrt(len(deviations))


def test_the_departed_order_no_more_but_some_look_in() -> None:
    shop = Shop(ShopConfig(customers=500, days=150))
    gone_on: dict[str, int] = {}

    def at_daybreak(shop: Shop) -> None:
        for number in np.flatnonzero(~shop.state.alive).tolist():
            gone_on.setdefault(shop.names[number], shop.day)

    after = Counter[Topic]()
    for event in shop.events(at_daybreak):
        day = event.at_ms // DAY_MS - shop.config.first_day
        if day >= gone_on.get(event.customer_id, 10**6) and b'"status":"' not in event.value.replace(
            b'"status":"completed"', b""
        ):
            after[event.topic] += 1

    assert len(gone_on) > 50
    assert after[Topic.ORDERS] == 0
    assert after[Topic.CLICKSTREAM] > 0


def test_an_intervention_is_obeyed_once_and_only_by_its_own_customer() -> None:
    shop = Shop(ShopConfig(customers=5, days=3))
    next(iter(shop.events()))

    assert shop.react("c00000003", "i1", "coupon", "email", shop.now_ms)
    assert not shop.react("c00000003", "i1", "coupon", "email", shop.now_ms)
    assert not shop.react("c00000009", "i2", "coupon", "email", shop.now_ms)
    assert not shop.react("somebody", "i3", "coupon", "email", shop.now_ms)
    assert shop.messages.contacts == 1


def test_feedback_stands_in_the_stream_in_order_and_is_about_the_message() -> None:
    shop = Shop(ShopConfig(customers=200, days=30))
    told: list[dict[str, str]] = []
    last_ms = 0
    for number, event in enumerate(shop.events()):
        assert event.at_ms >= last_ms
        last_ms = event.at_ms
        if event.topic is Topic.FEEDBACK:
            told.append(orjson.loads(event.value))
        elif event.topic is Topic.ORDERS:
            shop.react(event.customer_id, f"i{number}", "coupon", "email", event.at_ms)

    kinds = Counter(entry["kind"] for entry in told)
    assert kinds["sent"] >= kinds["delivered"] >= kinds["opened"] >= kinds["clicked"] > 0
    assert kinds["redeemed"] > 0
    assert kinds["sent"] == kinds["delivered"] + kinds["bounced"] or kinds["sent"] > kinds["delivered"]
    assert len({entry["event_id"] for entry in told}) == len(told)
