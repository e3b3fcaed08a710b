"""Decisions, contacts and what they do to observations do not depend on how a log was cut into batches either."""

import random

import pytest

from stream_app.adapters.assembly import engine_of
from stream_app.core.events import CustomerRecord
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS, MINUTE_MS
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.wire.state_codec import encode_state
from tests.support import logs


def busy_shop(seed: int, events: int, customers: int) -> list[Record]:
    """Customers who buy often enough that orders follow points within the day in which these are concluded."""
    chance = random.Random(seed)
    made: list[CustomerRecord] = [logs.profile(f"c{one}", logs.START_MS) for one in range(customers)]
    for number, minute in enumerate(sorted(chance.randrange(60 * DAY_MS // MINUTE_MS) for _ in range(events))):
        name, at_ms = f"c{chance.randrange(customers)}", logs.START_MS + minute * MINUTE_MS
        kind = chance.random()
        if kind < 0.5:
            made.append(logs.order(name, at_ms, f"o{number}"))
        elif kind < 0.8:
            made.append(logs.click(name, at_ms, f"k{number}", kind="add_to_cart"))
        else:
            made.append(logs.review(name, at_ms, "Terrible, it broke"))
    return logs.log_of(made)


def states_after(log: list[Record], size: int) -> tuple[dict[str, CustomerState], int]:
    engine = engine_of(
        Settings(clock="event", actions_mode="live", unknown_consent="allow", allowed_lateness_seconds=0, partitions=1)
    )
    shard = engine.open_shard(0, DictStore(), PartitionState())
    interventions = 0
    for start in range(0, len(log), size):
        interventions += len(engine.process(shard, log[start : start + size]).interventions)
    return dict(shard.store.items()), interventions


@pytest.mark.parametrize("seed", [1, 2])
def test_chunking_leaves_no_trace_where_contacts_are_made(seed: int) -> None:
    log = busy_shop(seed, events=1_500, customers=25)
    whole, interventions = states_after(log, len(log))
    assert interventions > len(whole)
    assert any(one.contacts for state in whole.values() for one in state.pending)
    for size in (1, 7, 100):
        states, repeated = states_after(log, size)
        assert repeated == interventions
        assert {name: encode_state(state) for name, state in states.items()} == {
            name: encode_state(state) for name, state in whole.items()
        }
