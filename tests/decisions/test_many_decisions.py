"""Caps, cooldowns, holdout and budget over a year of a whole shop: never violated, and all of them bind.

STREAM_APP_TEST_DECISIONS sets how many decisions are made; the default keeps the suite fast, two million take minutes.
"""

import logging
import os
from collections import Counter, defaultdict, deque
from zlib import crc32

import numpy as np
import pytest

from stream_app.core.ledger import Ledger
from stream_app.core.outputs import Intervention
from stream_app.core.partition import PartitionState
from stream_app.core.state import ProfileState
from stream_app.core.times import DAY_MS, HOUR_MS, to_ms
from stream_app.decisions.catalogue import Cap, Catalogue
from stream_app.decisions.types import Act, Suppress
from tests.support.decisions import NOON_MS, WILLING, decider, facts, guarded, point

logger = logging.getLogger(__name__)

DECISIONS = int(os.environ.get("STREAM_APP_TEST_DECISIONS", "20000"))
PARTITIONS, HOLDOUT, DAYS = 4, 0.1, 365
MONEY, COUNT = DECISIONS / DAYS * 0.04, max(PARTITIONS, int(DECISIONS / DAYS * 0.05))
CATALOGUE = guarded(budget={"money_per_day": MONEY, "count_per_day": COUNT}, complaint_cooldown_days=7)
PROFILES = (
    WILLING,
    ProfileState(marketing=True, email=True, onsite=True, time_zone="Asia/Shanghai"),
    ProfileState(marketing=False, email=True, phone=True, time_zone="America/New_York"),
    None,
)
TRIGGERS = ("timer", "order", "review", "feedback", "tier_change")


class Watch:
    """Checks every intervention against what was sent before, with nothing of the decider's own books."""

    def __init__(self, catalogue: Catalogue) -> None:
        guards = catalogue.guardrails
        self.actions = {action.name: action for action in catalogue.actions}
        self.rules: dict[str, tuple[Cap, ...]] = {"total": guards.total_caps}
        self.rules |= {str(channel): caps for channel, caps in guards.channel_caps.items()}
        for action in catalogue.actions:
            cooldown = (Cap(count=1, days=action.cooldown_days),) if action.cooldown_days else ()
            self.rules[f"action:{action.name}"] = (*action.caps, *cooldown)
        self.sent: dict[tuple[str, str], deque[int]] = defaultdict(deque)
        self.budget: dict[int, list[float]] = defaultdict(lambda: [0.0, 0.0])

    def check(self, sent: Intervention) -> None:
        at_ms = to_ms(sent.decided_at)
        for rule in ("total", sent.channel, f"action:{sent.action}"):
            times = self.sent[sent.customer_id, rule]
            for cap in self.rules.get(rule, ()):
                assert sum(each > at_ms - cap.days * DAY_MS for each in times) < cap.count, (rule, sent)
            times.append(at_ms)
        day = self.budget[at_ms // DAY_MS]
        day[0] += sent.cost
        day[1] += 1
        assert day[0] <= MONEY + 1e-4 * day[1]
        assert day[1] <= COUNT


@pytest.mark.timeout(max(300, DECISIONS // 1_000))
def test_a_shop_of_decisions_keeps_every_limit_and_meets_each() -> None:
    by = decider(CATALOGUE, holdout_share=HOLDOUT, partitions=PARTITIONS)
    customers = max(200, DECISIONS // 100)
    rng = np.random.default_rng(1)
    who = rng.integers(0, customers, DECISIONS)
    times = NOON_MS + np.sort(rng.integers(0, DAYS * DAY_MS, DECISIONS))
    tiers, chances = rng.integers(0, 4, DECISIONS), rng.random((DECISIONS, 5))
    ledgers: dict[int, Ledger] = {}
    memories = [PartitionState() for _ in range(PARTITIONS)]
    watch, reasons = Watch(CATALOGUE), Counter[str]()
    for at_ms, number, tier, chance in zip(times.tolist(), who.tolist(), tiers.tolist(), chances.tolist(), strict=True):
        name = f"c{number}"
        known = facts(
            profile=PROFILES[number % 8 if number % 8 < len(PROFILES) else 0],
            orders=1 + number % 30,
            discounted_orders=number % 7,
            last_order_ms=at_ms - int(chance[0] * 100 * DAY_MS),
            total_amount=50.0 * (1 + number % 30),
            last_complaint_ms=at_ms - int(chance[1] * 5 * DAY_MS) if chance[2] < 0.1 else 0,
            unsubscribed_ms=at_ms if number % 97 == 0 else 0,
        )
        trigger = TRIGGERS[int(chance[3] * len(TRIGGERS))]
        late_ms = int(60 * HOUR_MS) if chance[4] < 0.01 else 0
        at = point(
            customer_id=name,
            at_ms=at_ms - late_ms,
            frontier_ms=at_ms,
            trigger=trigger,
            facts=known,
            tier=tier,
            probability=0.2 * tier + 0.2 * chance[0],
        )
        decision = by.decide(at, ledgers.setdefault(number, Ledger()), memories[crc32(name.encode()) % PARTITIONS])
        if isinstance(decision, Act):
            assert by.arm_of(name) == 1
            assert number % 97
            assert known.profile is not None
            assert not late_ms
            watch.check(decision.intervention)
            reasons["sent"] += 1
        elif isinstance(decision, Suppress):
            reasons[decision.suppressed.reason] += 1
    logger.info("%d decisions of %d customers: %s", DECISIONS, customers, dict(reasons.most_common()))
    expected = {"sent", "holdout", "budget", "cap", "consent", "unsubscribed", "stale_data", "order_cooldown"}
    assert expected <= set(reasons), expected - set(reasons)
