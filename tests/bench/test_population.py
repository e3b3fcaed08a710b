"""Preloaded customers: real states of the engine, the same every time, and due evenly."""

from collections import Counter

import pytest

from stream_app.bench.hosting import OneCustomer
from stream_app.bench.population import Population
from stream_app.bench.workload import DEFAULT_START_MS, customer_key
from stream_app.core.times import DAY_MS
from stream_app.settings import Settings
from stream_app.wire.state_codec import decode_state

IDS = [customer_key(index).decode() for index in range(400)]


@pytest.fixture(scope="module")
def population() -> Population:
    settings = Settings(_env_file=None, clock="event", actions_mode="live", unknown_consent="allow")
    return Population(settings, 1, DEFAULT_START_MS)


def test_no_position_of_a_template_is_kept(population: Population) -> None:
    """A kept position would make the benchmark's first events repeats, which cost next to nothing."""
    assert all(not decode_state(population.state(customer_id)).sources.offsets for customer_id in IDS)


def test_a_customer_is_the_same_every_time(population: Population) -> None:
    assert [population.state(customer_id) for customer_id in IDS] == [population.state(one) for one in IDS]


def test_customers_have_a_past(population: Population) -> None:
    states = [decode_state(population.state(customer_id)) for customer_id in IDS]
    assert sum(state.orders is not None for state in states) > len(states) / 2
    assert all(state.clicks is not None and state.profile is not None for state in states)
    assert sum(bool(state.pending) for state in states) > len(states) / 4


def test_nothing_is_overdue_and_looks_spread_over_the_week(population: Population) -> None:
    states = [decode_state(population.state(customer_id)) for customer_id in IDS]
    looks = [state.next_look_ms for state in states if state.next_look_ms]
    assert min(looks) > DEFAULT_START_MS
    days = Counter((look - DEFAULT_START_MS) // DAY_MS for look in looks)
    assert max(days.values()) < len(looks) / 3
    assert all(one.at_ms + 30 * DAY_MS > DEFAULT_START_MS - DAY_MS for state in states for one in state.pending)


def test_a_store_of_one_customer_knows_no_other(population: Population) -> None:
    state = decode_state(population.state(IDS[0]))
    store = OneCustomer(IDS[0], state)
    assert store.get(IDS[0]) is state
    assert store.get(IDS[1]) is None
    assert [customer_id for customer_id, _ in store.items()] == [IDS[0]]
