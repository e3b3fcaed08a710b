"""A worker that was down for days: what came due meanwhile is worked off in order."""

import time
from itertools import pairwise

from stream_app.core.effects import TrainingExample
from stream_app.core.events import CustomerProfile, OrderEvent
from stream_app.core.partition import PartitionState
from stream_app.core.records import TimePassed
from stream_app.core.times import DAY_MS, MINUTE_MS, to_ms
from stream_app.core.told import ScoreTold
from stream_app.engine.shard import DictStore
from tests.support import logs
from tests.support.engines import build_engine

CUSTOMERS = 400
DAYS_DOWN = 45


def test_what_came_due_in_days_fires_in_order() -> None:
    engine = build_engine()
    shard = engine.open_shard(0, DictStore(), PartitionState())
    events: list[CustomerProfile | OrderEvent] = []
    for number in range(CUSTOMERS):
        name, at_ms = f"c{number}", logs.START_MS + number * MINUTE_MS
        events += [logs.profile(name, at_ms), logs.order(name, at_ms + 1), logs.order(name, at_ms + 2 * DAY_MS)]
    engine.process(shard, logs.log_of(sorted(events, key=lambda event: event.timestamp)))
    down_since_ms = shard.memory.frontier_ms

    begun = time.process_time()
    effects = engine.process(shard, [TimePassed(down_since_ms + DAYS_DOWN * DAY_MS)])
    cpu_seconds = time.process_time() - begun

    fired = effects.counts["timers"]
    # Shown, not asserted: how fast it is depends on the machine.
    print(f"{fired:,} timers in {cpu_seconds:.2f} CPU-seconds: {fired / cpu_seconds:,.0f} a CPU-second")  # noqa: T201 - see above
    assert fired > CUSTOMERS
    bodies = [output.body for output in effects.outputs]
    scored = [to_ms(body.event_time) for body in bodies if isinstance(body, ScoreTold)]
    labelled = [body.due_ms for body in bodies if isinstance(body, TrainingExample)]
    assert scored
    assert labelled
    for moments in (scored, labelled):
        assert all(former <= later for former, later in pairwise(moments))
        assert down_since_ms < moments[0] <= moments[-1] <= down_since_ms + DAYS_DOWN * DAY_MS
