"""`make soak`: the crash laws over a million events and a hundred kills that found unacknowledged work.

STREAM_APP_TEST_SEED replays a schedule; STREAM_APP_TEST_SOAK_KILLS, _EVENTS and _SLAB change its size;
STREAM_APP_TEST_SOAK_RESULT names the file that the result is written to as JSON.
"""

import json
import os
import sys
import time
import uuid
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream_app.adapters.broker import ApacheKafka
from stream_app.adapters.clients import client_arguments
from stream_app.adapters.topics_admin import plan_topics
from stream_app.settings import Settings
from tests.support.chaos import Chaos, Plan
from tests.support.kafka import Broker, NewSettings

SEED = int(os.environ.get("STREAM_APP_TEST_SEED", str(time.time_ns() % 1_000_000)))
KILLS = int(os.environ.get("STREAM_APP_TEST_SOAK_KILLS", "100"))
EVENTS = int(os.environ.get("STREAM_APP_TEST_SOAK_EVENTS", "1000000"))
SLAB = int(os.environ.get("STREAM_APP_TEST_SOAK_SLAB", "40000"))
RESULT = os.environ.get("STREAM_APP_TEST_SOAK_RESULT", "")
PARTITIONS = 6
CUSTOMERS = 3_000
COMPACTION = {"min.compaction.lag.ms": "60000", "segment.ms": "30000", "segment.bytes": str(4 << 20)}
"""So that the changelog is compacted while workers come and go; still above the longest pause."""


async def _make_changelog(bootstrap: str, app_id: str) -> None:
    settings = Settings(bootstrap=bootstrap, app_id=app_id, partitions=PARTITIONS)
    plan = next(plan for plan in plan_topics(settings) if plan.name == settings.changelog_topic)
    admin = AIOKafkaAdminClient(**client_arguments(settings))
    await admin.start()
    try:
        config = plan.config | COMPACTION
        await admin.create_topics([NewTopic(plan.name, plan.partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def _keep(told: str) -> None:
    _tell(told)
    if RESULT:
        Path(RESULT).write_text(told + "\n")


@pytest.mark.apache
@pytest.mark.slow
@pytest.mark.skipif("STREAM_APP_TEST_SOAK" not in os.environ, reason="takes an hour: make soak")
@pytest.mark.timeout(0)
async def test_a_hundred_kills_over_a_million_events_leave_no_trace(
    new_settings: NewSettings, broker: Broker, tmp_path: Path
) -> None:
    assert isinstance(broker, ApacheKafka), "the soak kills its broker, too"
    app_id = f"soak{uuid.uuid4().hex[:8]}"
    await _make_changelog(broker.bootstrap, app_id)
    settings = new_settings(app_id=app_id, partitions=PARTITIONS)
    plan = Plan(
        seed=SEED,
        kills=KILLS,
        events=EVENTS,
        slab=SLAB,
        customers=CUSTOMERS,
        audit_rounds=3,
        a_round=(8, 16),
        deliberate=("kill", "pause", "duplicate", "broker", "join", "leave"),
    )
    _tell(f"soak: replay with STREAM_APP_TEST_SEED={SEED}; worker logs in {tmp_path}")
    result = await Chaos(plan, settings, broker, tmp_path, _tell).run()
    _keep(json.dumps({**result._asdict(), "laws": "held"}, indent=2))
    assert result.counted_kills >= KILLS
    assert result.records >= EVENTS
