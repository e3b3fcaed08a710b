"""A small shop where some customers leave, as records and as a file: enough to run the engine over."""

import json
from functools import cache
from pathlib import Path

import numpy as np

from stream_app.core.events import OrderEvent, OrderItem
from stream_app.core.records import Position, Record
from stream_app.core.times import DAY_MS, from_ms, iso
from stream_app.core.topics import Topic
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.contest import Importances, Stream, stream_of
from stream_app.evaluation.running import run_pass
from stream_app.evaluation.tuning import LabelSettings
from stream_app.learning.learner import Learner
from stream_app.sentiment.protocol import NeutralSentiment

HORIZON_DAYS = 20
START_MS = 19_000 * DAY_MS


def shop_orders() -> list[tuple[int, str, float]]:
    """Return (time, customer, amount) of a shop where some leave: by event time."""
    random = np.random.default_rng(11)
    orders: list[tuple[int, str, float]] = []
    for number in range(60):
        at, gap = float(random.uniform(0, 60)), float(random.uniform(3, 40))
        while at < 200 and random.random() > 0.08:
            orders.append((START_MS + int(at * DAY_MS), f"c{number}", round(float(random.uniform(5, 90)), 2)))
            at += float(random.exponential(gap))
    return sorted(orders)


def _record(offset: int, at_ms: int, customer_id: str, amount: float) -> Record:
    event = OrderEvent(
        customer_id=customer_id,
        timestamp=from_ms(at_ms),
        event_id=f"e{offset}",
        order_id=f"o{offset}",
        amount=amount,
        items=(OrderItem(product_id="p", quantity=1, unit_price=amount),),
    )
    return Record(Position(Topic.ORDERS, 0, offset), customer_id, at_ms, event)


def shop_records() -> list[Record]:
    return [_record(offset, *order) for offset, order in enumerate(shop_orders())]


def write_orders(path: Path) -> Path:
    lines = [
        json.dumps(
            {
                "customer_id": customer_id, "timestamp": iso(at_ms), "event_id": f"e{number}", "order_id": f"o{number}",
                "amount": amount, "items": [{"product_id": "p", "quantity": 1, "unit_price": amount}],
            }
        )
        for number, (at_ms, customer_id, amount) in enumerate(shop_orders())
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@cache
def shop_stream(labels: LabelSettings) -> tuple[Stream, tuple[int, int]]:
    """Return what label settings make of the shop, and its first and last event time."""
    learner = Learner(HORIZON_DAYS)
    importances = Importances(learner)
    policy = EnginePolicy(
        horizon_days=HORIZON_DAYS, observation_days=labels.observation_days, eligible_days=labels.eligible_days
    )
    result = run_pass(shop_records(), learner, policy, NeutralSentiment())
    return stream_of(result, importances), (result.first_ms, result.last_ms)
