import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.adapters.clients import client_arguments
from stream_app.adapters.feeding import Feeder
from stream_app.adapters.topics_admin import create_topics
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.simulation.config import Dirt, ShopConfig
from stream_app.simulation.dirt import Spoiler
from stream_app.simulation.live import LiveShop, parse_intervention
from stream_app.simulation.shop import Shop
from stream_app.wire.partition import librdkafka_partition_of, partition_of

TOLD = {
    "intervention_id": "i1",
    "customer_id": "c00000001",
    "action": "coupon-10",
    "action_kind": "coupon",
    "channel": "email",
    "event_time": "2025-01-01T10:00:00Z",
}


def test_an_intervention_is_read_from_both_modes_and_nothing_else_is() -> None:
    binary, structured = orjson.dumps(TOLD), orjson.dumps({"specversion": "1.0", "id": "i1", "data": TOLD})

    assert parse_intervention(binary) == parse_intervention(structured)
    assert parse_intervention(b"{}") is None
    assert parse_intervention(b"\xff") is None


def test_what_is_heard_is_obeyed_once_and_the_rest_is_counted() -> None:
    shop = Shop(ShopConfig(customers=5, days=2))
    live = LiveShop(Settings(), shop, days_per_second=None, respond=True)

    for value in (orjson.dumps(TOLD), orjson.dumps(TOLD), b"nonsense", None):
        live.hear(value)

    assert (live.report.reacted, live.report.foreign) == (1, 3)


def test_a_time_that_cannot_be_read_is_taken_for_now() -> None:
    shop = Shop(ShopConfig(customers=5, days=2))
    live = LiveShop(Settings(), shop, days_per_second=None, respond=True)

    live.hear(orjson.dumps(TOLD | {"event_time": "soon"}))

    assert live.report.reacted == 1


@pytest.mark.kafka
async def test_a_live_shop_sends_all_its_events_and_answers_interventions(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        settings = Settings(bootstrap=broker.bootstrap, partitions=2)
        await asyncio.to_thread(create_topics, settings)
        shop = Shop(ShopConfig(customers=40, days=12, seed=3))
        live = LiveShop(settings, shop, days_per_second=3.0, respond=True)
        running = asyncio.create_task(live.run(Spoiler(Dirt(foreign_keys=0.3), 1).spoil(shop.events())))
        async with Feeder(settings) as feeder:
            number = 0
            while not running.done() and not live.report.reacted:
                number += 1
                told = TOLD | {"intervention_id": f"i{number}", "event_time": "2025-01-02T00:00:00Z"}
                await feeder.send(Topic.INTERVENTIONS, "c00000001", orjson.dumps(told), 1)
                await feeder.flush()
                await asyncio.wait([running], timeout=0.2)
        report = await asyncio.wait_for(running, 60)
        sent = await read_all(settings)

    assert report.reacted > 0
    assert sum(len(values) for values in sent.values()) == report.records
    assert orjson.loads(sent[Topic.FEEDBACK][0].value)["customer_id"] == "c00000001"
    clicks = [(message.partition, message.key) for message in sent[Topic.CLICKSTREAM]]
    misplaced = [(partition, key) for partition, key in clicks if partition != partition_of(key, 2)]
    assert 0.05 < len(misplaced) / len(clicks) < 0.3
    assert all(partition == librdkafka_partition_of(key, 2) for partition, key in misplaced)


async def read_all(settings: Settings) -> dict[Topic, list[Any]]:
    roles = (
        Topic.CLICKSTREAM,
        Topic.ORDERS,
        Topic.REVIEWS,
        Topic.CUSTOMERS,
        Topic.FEEDBACK,
        Topic.PRODUCTS,
        Topic.CALENDAR,
    )
    found: dict[Topic, list[Any]] = {role: [] for role in roles}
    by_name = {settings.topic(role): role for role in roles}
    consumer = AIOKafkaConsumer(*by_name, auto_offset_reset="earliest", **client_arguments(settings))
    await consumer.start()
    try:
        while batches := await consumer.getmany(timeout_ms=1500):
            for place, messages in batches.items():
                found[by_name[place.topic]] += messages
    finally:
        await consumer.stop()
    return found
