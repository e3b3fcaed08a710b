import gzip
from pathlib import Path

import numpy as np
import orjson
import pytest

from stream_app.core.topics import Topic
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.people import Kind
from stream_app.simulation.shop import Shop
from stream_app.simulation.truth import TruthWriter, potential_orders, silence_probability


def shop_at(day: int, config: ShopConfig) -> Shop:
    shop = Shop(config)
    while shop.day < day:
        for _ in shop.live_day():
            pass
    return shop


def test_silence_probabilities_are_calibrated_against_the_shops_own_chance() -> None:
    expected, observed, variance = 0.0, 0, 0.0
    for seed in range(4):
        shop = shop_at(40, ShopConfig(customers=2000, days=80, seed=seed))
        who = np.arange(shop.present(39))
        silence = silence_probability(shop, who, 30)
        expected += silence.sum()
        variance += (silence * (1 - silence)).sum()
        observed += int((~potential_orders(shop, who, 30)).sum())

    assert abs(observed - expected) < 4 * np.sqrt(variance)


@pytest.mark.parametrize("action", range(len(ACTION_KINDS)), ids=ACTION_KINDS)
def test_effects_are_calibrated_and_have_the_sign_of_the_customers_kind(action: int) -> None:
    shop = shop_at(30, ShopConfig(customers=6000, days=70, seed=5, existing_share=0.8))
    who = np.flatnonzero((shop.state.alive & shop.people.buyer)[: shop.present(29)])
    gain = silence_probability(shop, who, 30) - silence_probability(shop, who, 30, action)
    happened = potential_orders(shop, who, 30, action).astype(float) - potential_orders(shop, who, 30)
    kinds = shop.people.kind[who]

    spread = happened.std() / np.sqrt(len(who))
    assert abs(happened.mean() - gain.mean()) < 4 * spread + 1e-9
    assert gain[kinds == Kind.PERSUADABLE].mean() > 0
    assert gain[kinds == Kind.SLEEPING_DOG].mean() < 0
    assert np.abs(gain[kinds == Kind.SURE_THING]).max() < 1e-12
    assert np.abs(gain[kinds == Kind.LOST_CAUSE]).max() < 1e-12


def test_coupon_lovers_learn_to_wait() -> None:
    shop = shop_at(20, ShopConfig(customers=3000, days=90, seed=3, existing_share=1.0))
    lovers = np.flatnonzero((shop.people.kind == Kind.COUPON_LOVER) & shop.state.alive & shop.people.buyer)
    for number in lovers.tolist():
        for week in range(3):
            shop.react(shop.names[number], f"{number}-{week}", "coupon", "email", shop.now_ms)
    spoiled, fresh = shop, shop_at(20, shop.config)
    spoiled.state.coupon_days[:] = 0

    waiting = silence_probability(spoiled, lovers, 30).mean()
    assert waiting > silence_probability(fresh, lovers, 30).mean() + 0.05


def test_fatigue_wears_out_what_messages_do_for_persuadables() -> None:
    fresh = shop_at(20, ShopConfig(customers=3000, days=60, seed=4, existing_share=1.0))
    tired = shop_at(20, fresh.config)
    tired.state.fatigue[:] = 4.0
    who = np.flatnonzero((fresh.people.kind == Kind.PERSUADABLE) & fresh.state.alive & fresh.people.buyer)
    action = ACTION_KINDS.index("product_picks")

    def gain(shop: Shop) -> float:
        return float((silence_probability(shop, who, 30) - silence_probability(shop, who, 30, action)).mean())

    assert gain(tired) < 0.5 * gain(fresh)


def test_the_truth_file_describes_the_shop_and_agrees_with_its_events(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl.gz"
    shop = Shop(ShopConfig(customers=200, days=40, seed=9, horizons_days=(10, 30)))
    writer = TruthWriter(path, every_days=14)
    ordered: dict[str, list[str]] = {}
    for event in shop.events(writer.at_daybreak):
        if event.topic is Topic.ORDERS and b'"status":"completed"' in event.value:
            ordered.setdefault(event.customer_id, []).append(orjson.loads(event.value)["timestamp"])
    writer.close()

    head, *rows = (orjson.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines())
    assert head["shop"]["seed"] == 9
    assert len(rows) == writer.rows
    ends = {"2025-01-15T00:00:00.000Z": "2025-01-25", "2025-01-29T00:00:00.000Z": "2025-02-08"}
    assert {row["at"] for row in rows} == set(ends)
    for row in rows:
        happened = any(row["at"] <= at < ends[row["at"]] for at in ordered.get(row["customer_id"], ()))
        assert row["orders_if"]["nothing"] == happened
        assert row["orders"] == sum(at < row["at"] for at in ordered.get(row["customer_id"], ()))
    assert sum(row["orders_if"]["nothing"] for row in rows) > 30
    assert all(set(row["effects"]) == set(ACTION_KINDS) for row in rows)
    assert all(set(row["orders_if"]) == {"nothing", *ACTION_KINDS} for row in rows)
    assert all(row["p_no_order"]["10"] >= row["p_no_order"]["30"] for row in rows)
    assert all(row["alive"] or row["p_no_order"]["30"] == 1.0 for row in rows)


@pytest.mark.parametrize(("every_days", "share"), [(0, 1.0), (7, 0.0), (7, 1.5)])
def test_the_truth_writer_refuses_what_it_cannot_write(tmp_path: Path, every_days: int, share: float) -> None:
    with pytest.raises(ValueError, match="truth every"):
        TruthWriter(tmp_path / "truth.jsonl", every_days, share)
