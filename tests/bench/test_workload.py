"""Laws of the benchmark's events: equal for equal seeds, valid, placed as every client places them."""

from collections import Counter
from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.bench.workload import (
    BURST,
    CHUNK_EVENTS,
    SHARES,
    TOPICS,
    EventStream,
    Workload,
    customer_key,
    customer_partitions,
)
from stream_app.core.records import Record
from stream_app.core.times import HOUR_MS
from stream_app.wire.decode import DecodeLimits, decode
from stream_app.wire.partition import partition_of

LIMITS = DecodeLimits(future_tolerance_ms=None)
SMALL = Workload(customers=500)


@given(st.integers(1, 96), st.integers(1, 3_000))
def test_all_customers_are_placed_as_murmur2_places_them(partitions: int, customers: int) -> None:
    placed = customer_partitions(customers, partitions).tolist()
    assert placed == [partition_of(customer_key(index), partitions) for index in range(customers)]


@given(st.integers(0, 10**11 - 1))
def test_keys_are_twelve_bytes_whatever_the_index(index: int) -> None:
    assert len(customer_key(index)) == 12


def test_equal_seeds_give_equal_events_and_other_seeds_others() -> None:
    first, again = list(EventStream(SMALL, 2_000)), list(EventStream(SMALL, 2_000))
    assert first == again
    assert first != list(EventStream(Workload(customers=500, seed=2), 2_000))


def test_a_longer_backlog_begins_like_a_shorter_one() -> None:
    assert list(EventStream(SMALL, 700)) == list(islice(EventStream(SMALL, CHUNK_EVENTS + 5), 700))


@pytest.mark.parametrize("burst", [1, BURST])
def test_every_event_is_what_the_contract_says(burst: int) -> None:
    for offset, event in enumerate(EventStream(Workload(customers=500, burst=burst), 3_000)):
        decoded = decode(TOPICS[event.topic], event.key, event.value, (), event.partition, offset, 0, LIMITS)
        assert isinstance(decoded, Record)
        assert decoded.customer_id.encode() == event.key
        assert decoded.at_ms == event.at_ms


def test_shares_are_as_promised() -> None:
    counts = Counter(event.topic for event in EventStream(SMALL, 60_000))
    for topic, share in enumerate(SHARES):
        assert counts[topic] / 60_000 == pytest.approx(share, rel=0.1)


def test_customers_come_in_bursts_or_one_by_one() -> None:
    bursts = [event.key for event in EventStream(Workload(customers=100_000), 8_000)]
    assert all(len(set(bursts[start : start + BURST])) == 1 for start in range(0, 8_000, BURST))
    singles = [event.key for event in EventStream(Workload(customers=100_000, burst=1), 8_000)]
    assert sum(before == after for before, after in pairwise(singles)) < 8


def test_event_ids_are_unique_and_time_never_runs_back() -> None:
    events = list(EventStream(SMALL, 5_000))
    assert len({event.value[: event.value.index(b",")] for event in events}) == 5_000
    assert all(before.at_ms <= after.at_ms for before, after in pairwise(events))


@given(st.integers(1, 10**7))
def test_customers_come_once_an_hour_on_average_however_many_there_are(customers: int) -> None:
    assert Workload(customers=customers).step_ms * customers * BURST == pytest.approx(HOUR_MS)


def test_given_times_are_the_events_times() -> None:
    times = np.arange(1_800_000_000_000, 1_800_000_000_100, dtype=np.int64)
    assert [event.at_ms for event in EventStream(SMALL, 100, times)] == times.tolist()
