from collections import Counter, defaultdict

import numpy as np
import orjson
from msgspec import structs

from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.dynamics import initial_state, order_intensity
from stream_app.simulation.people import Cohort, Kind
from stream_app.simulation.places import CATEGORIES
from stream_app.simulation.shop import Shop

SHOP = Shop(ShopConfig(customers=4000, days=120, seed=12, drift=Drift.NONE))
EVENTS = list(SHOP.events())
NUMBER = {name: number for number, name in enumerate(SHOP.names)}


def orders_by_customer() -> dict[int, int]:
    return Counter(
        NUMBER[event.customer_id] for event in EVENTS if event.topic is Topic.ORDERS and b"completed" in event.value
    )


def test_browsers_visit_and_never_buy() -> None:
    browsers = set(np.flatnonzero(~SHOP.people.buyer).tolist())
    visitors = {NUMBER[event.customer_id] for event in EVENTS if event.topic is Topic.CLICKSTREAM}

    assert len(browsers) > 300
    assert not browsers & set(orders_by_customer())
    assert len(browsers & visitors) > 200


def test_all_kinds_and_cohorts_are_there_and_arrive_in_order() -> None:
    assert set(SHOP.people.kind.tolist()) == {int(kind) for kind in Kind}
    assert set(SHOP.people.cohort.tolist()) == {int(cohort) for cohort in Cohort}
    assert (np.diff(SHOP.people.arrival) >= 0).all()
    campaign = SHOP.people.arrival[SHOP.people.cohort == Cohort.CAMPAIGN]
    assert len(np.unique(campaign)) < 60  # bursts, not a flow over all 120 days


def test_tails_are_heavy() -> None:
    counts = np.array(list(orders_by_customer().values()))
    amounts = np.array([orjson.loads(e.value)["amount"] for e in EVENTS if e.topic is Topic.ORDERS])
    per_visit = np.array(
        list(Counter(orjson.loads(e.value)["session_id"] for e in EVENTS if e.topic is Topic.CLICKSTREAM).values())
    )

    assert counts.max() > 5 * np.median(counts)
    assert amounts.max() > 8 * np.median(amounts)
    assert np.quantile(per_visit, 0.99) > 5 * np.median(per_visit)


def test_customers_keep_to_their_categories_and_hours() -> None:
    liked, all_views = 0, 0
    hours: dict[int, list[float]] = defaultdict(list)
    for event in EVENTS:
        if event.topic is Topic.CLICKSTREAM:
            number = NUMBER[event.customer_id]
            category = orjson.loads(event.value).get("category")
            if category is not None:
                all_views += 1
                favourites = (SHOP.people.favourite[number], SHOP.people.second[number])
                liked += category in {CATEGORIES[int(index)] for index in favourites}
            hours[number].append(event.at_ms % 86_400_000 / 3_600_000)

    assert liked / all_views > 0.75
    busy = [np.array(found) / 24 * 2 * np.pi for found in hours.values() if len(found) > 30]
    concentration = np.mean([np.hypot(np.cos(angles).mean(), np.sin(angles).mean()) for angles in busy])
    assert concentration > 0.7  # 0 for visits at any hour


def test_own_cadence_shows_in_the_orders() -> None:
    counts = orders_by_customer()
    who = np.flatnonzero((SHOP.people.arrival == 0) & SHOP.people.buyer & SHOP.state.alive)
    placed = np.array([counts.get(number, 0) for number in who.tolist()])
    slow = SHOP.people.cadence_days[who] > np.median(SHOP.people.cadence_days[who])

    assert placed[~slow].mean() > 2 * placed[slow].mean()


def test_moods_show_in_stars_and_texts_come_in_both_languages() -> None:
    stars, languages = [], Counter[str]()
    for event in EVENTS:
        if event.topic is Topic.REVIEWS:
            said = orjson.loads(event.value)
            languages[said.get("language", "")] += "text" in said
            if "rating" in said:
                stars.append(said["rating"])

    assert set(stars) == {1, 2, 3, 4, 5}
    assert languages["en"] > 50
    assert languages["zh"] > 10


def test_a_crisis_lowers_ratings_in_its_region() -> None:
    shop = Shop(ShopConfig(customers=6000, days=150, seed=3))
    crisis = next(crisis for crisis in shop.world.crises if crisis.first + crisis.days < 140)
    inside: list[int] = []
    outside: list[int] = []
    for event in shop.events():
        if event.topic is Topic.REVIEWS:
            said = orjson.loads(event.value)
            if "rating" not in said:
                continue
            region = shop.people.region[int(event.customer_id[1:])]
            ordered = int(said["order_id"].rpartition("-")[2])
            hit = crisis.first <= ordered < crisis.first + crisis.days and crisis.region in {-1, int(region)}
            troubled = shop.world.trouble[region, :, ordered].any()
            if hit or not troubled:
                (inside if hit else outside).append(said["rating"])

    assert len(inside) > 5
    assert np.mean(inside) < np.mean(outside) - 0.5


def test_drift_makes_customers_slower_and_leave_more() -> None:
    rates = {}
    for drift in (Drift.NONE, Drift.ABRUPT):
        shop = Shop(
            ShopConfig(
                customers=3000, days=120, seed=8, existing_share=1.0, drift=drift, promotions=False, crises=False
            )
        )
        while shop.day < 120:
            shop.skip_day()
        rates[drift] = (shop.placed_orders[:60].sum(), shop.placed_orders[60:].sum(), shop.state.alive.mean())

    assert rates[Drift.NONE][0] == rates[Drift.ABRUPT][0]
    assert rates[Drift.ABRUPT][1] < 0.75 * rates[Drift.NONE][1]
    assert rates[Drift.ABRUPT][2] < rates[Drift.NONE][2]


def test_repeated_contact_ends_in_unsubscriptions() -> None:
    shop = Shop(ShopConfig(customers=300, days=40, seed=2, existing_share=1.0))
    kinds = Counter[str]()
    for number, event in enumerate(shop.events()):
        if event.topic is Topic.FEEDBACK:
            kinds[orjson.loads(event.value)["kind"]] += 1
        elif event.topic is Topic.CLICKSTREAM:
            shop.react(event.customer_id, f"i{number}", ACTION_KINDS[number % 9], "email", event.at_ms)

    assert kinds["unsubscribed"] > 10
    assert kinds["complained"] > 0


def test_a_price_crisis_raises_all_prices_tells_so_and_costs_orders() -> None:
    config = ShopConfig(customers=300, days=365, seed=1)
    shop = next(
        shop
        for seed in range(20)
        if (shop := Shop(structs.replace(config, seed=seed))).world.price_level[:300].max() > 1
    )
    dear = int(np.flatnonzero(shop.world.price_level > 1)[0])
    told: dict[str, list[float]] = defaultdict(list)
    lines_paid: dict[int, dict[str, float]] = defaultdict(dict)
    for event in shop.events():
        day = event.at_ms // DAY_MS - shop.config.first_day
        if event.topic is Topic.PRODUCTS:
            product = orjson.loads(event.value)
            told[product["product_id"]].append(product["price"])
        elif event.topic is Topic.ORDERS and b'"completed"' in event.value:
            for line in orjson.loads(event.value)["items"]:
                lines_paid[day][line["product_id"]] = line["unit_price"]

    assert all(len(prices) >= 2 and prices[1] > prices[0] for prices in told.values())
    assert lines_paid[dear]
    assert all(price == told[product][1] for product, price in lines_paid[dear].items())
    people, state = shop.people.rows(slice(0, 300)), initial_state(shop.people)
    usual = order_intensity(people, shop.world, state, dear).sum()
    shop.world.price_level[dear] = 1.0
    assert order_intensity(people, shop.world, state, dear).sum() > usual
