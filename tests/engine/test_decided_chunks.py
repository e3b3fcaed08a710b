"""What decisions and the passing of time do depends neither on how a log was cut into batches nor on steps of time."""

import random
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pytest

from stream_app.adapters.assembly import engine_of
from stream_app.core.events import CustomerRecord
from stream_app.core.partition import PartitionState
from stream_app.core.records import Entry, Record, TimePassed
from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS, MINUTE_MS
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.wire.state_codec import decode_state, encode_state
from tests.support import logs


def shop(seed: int, events: int, customers: int, days: int) -> list[Record]:
    """Customers who buy; where it is often enough, orders follow points within the day in which these are concluded."""
    chance = random.Random(seed)
    made: list[CustomerRecord] = [logs.profile(f"c{one}", logs.START_MS) for one in range(customers)]
    for number, minute in enumerate(sorted(chance.randrange(days * DAY_MS // MINUTE_MS) for _ in range(events))):
        name, at_ms = f"c{chance.randrange(customers)}", logs.START_MS + minute * MINUTE_MS
        kind = chance.random()
        if kind < 0.5:
            made.append(logs.order(name, at_ms, f"o{number}"))
        elif kind < 0.8:
            made.append(logs.click(name, at_ms, f"k{number}", kind="add_to_cart"))
        else:
            made.append(logs.review(name, at_ms, "Terrible, it broke"))
    return logs.log_of(made)


class Outcome(NamedTuple):
    """What a run leaves and sends."""

    states: dict[str, bytes]
    memory: PartitionState
    sent: list[object]
    states_left: list[CustomerState]


class ForgetfulStore(DictStore):
    """Keeps the bytes of states alone between batches: what nobody asks for stays packed."""

    def forget(self) -> None:
        self.states = {name: decode_state(encode_state(state)) for name, state in self.states.items()}


def run(batches: Iterable[Sequence[Entry]], store: DictStore | None = None) -> Outcome:
    engine = engine_of(
        Settings(clock="event", actions_mode="live", unknown_consent="allow", allowed_lateness_seconds=0, partitions=1)
    )
    store = store or DictStore()
    shard = engine.open_shard(0, store, PartitionState())
    sent: list[object] = []
    for batch in batches:
        if isinstance(store, ForgetfulStore):
            store.forget()
        effects = engine.process(shard, batch)
        sent += [*effects.outputs, *effects.interventions]
    states = dict(shard.store.items())
    encoded = {name: encode_state(state) for name, state in states.items()}
    return Outcome(encoded, shard.memory, sorted(sent, key=repr), list(states.values()))


def cut(log: Sequence[Entry], size: int) -> list[Sequence[Entry]]:
    return [log[start : start + size] for start in range(0, len(log), size)]


def with_steps(log: list[Record], chance: random.Random) -> Iterator[list[Entry]]:
    """Let time on before a record, in any steps that do not pass it: as the worker does where much is due."""
    now_ms = log[0].at_ms
    yield [log[0]]
    for record in log[1:]:
        while now_ms < record.at_ms and chance.random() < 0.7:
            now_ms = min(record.at_ms, now_ms + chance.randrange(1, 3 * DAY_MS))
            yield [TimePassed(now_ms)]
        now_ms = max(now_ms, record.at_ms)
        yield [record]


@pytest.mark.parametrize("seed", [1, 2])
def test_chunking_leaves_no_trace_where_contacts_are_made(seed: int) -> None:
    log = shop(seed, events=1_500, customers=25, days=60)
    whole = run([log])
    assert sum(one.contacts for state in whole.states_left for one in state.pending) > len(whole.states)
    for size in (1, 7, 100):
        assert run(cut(log, size))[:3] == whole[:3]


@pytest.mark.parametrize("seed", [1, 2])
def test_what_stays_packed_between_batches_leaves_no_trace(seed: int) -> None:
    log = shop(seed, events=1_500, customers=25, days=60)
    assert run(cut(log, 20), ForgetfulStore())[:3] == run([log])[:3]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_steps_in_which_time_passes_leave_no_trace(seed: int) -> None:
    log = shop(seed, events=150, customers=6, days=300)
    assert run(with_steps(log, random.Random(seed)))[:3] == run([log])[:3]
