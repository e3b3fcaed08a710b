from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.records import Record
from stream_app.core.times import HOUR_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.simulation.config import Dirt, ShopConfig
from stream_app.simulation.dirt import MALFORMATIONS, Spoiler, without_field
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.shop import simulate_shop
from stream_app.wire.decode import DecodeLimits, decode
from stream_app.wire.rejection import Rejection

LIMITS = DecodeLimits(future_tolerance_ms=None)
CLEAN = list(simulate_shop(ShopConfig(customers=80, days=40, seed=11)))
OF_CUSTOMERS = [event for event in CLEAN if event.topic in CUSTOMER_TOPICS]


def one_of(topic: Topic) -> SimulatedEvent:
    return next(event for event in CLEAN if event.topic is topic)


def decoded(event: SimulatedEvent, value: bytes) -> object:
    return decode(event.topic, (event.key or "").encode(), value, None, 0, 0, event.at_ms, LIMITS)


@pytest.mark.parametrize("topic", [Topic.CLICKSTREAM, Topic.ORDERS, Topic.REVIEWS, Topic.CUSTOMERS])
@pytest.mark.parametrize("malform", [malform for _, malform in MALFORMATIONS], ids=[name for name, _ in MALFORMATIONS])
def test_every_malformation_is_refused(topic: Topic, malform: object) -> None:
    event = one_of(topic)

    assert isinstance(decoded(event, event.value), Record)
    assert isinstance(decoded(event, malform(event.value)), Rejection)  # type: ignore[operator]
    assert b"\n" not in malform(event.value)  # type: ignore[operator]


@pytest.mark.parametrize("topic", [Topic.CLICKSTREAM, Topic.ORDERS, Topic.REVIEWS, Topic.CUSTOMERS])
@pytest.mark.parametrize("choice", range(5))
def test_a_record_without_a_required_field_is_refused_for_that_field(topic: Topic, choice: int) -> None:
    event = one_of(topic)
    name, value = without_field(topic, event.value, choice)

    refused = decoded(event, value)

    assert isinstance(refused, Rejection)
    assert (refused.code, refused.field) == ("missing_field", name)


@settings(max_examples=15)
@given(
    st.builds(
        Dirt,
        duplicates=st.floats(0, 0.3),
        late=st.floats(0, 0.3),
        out_of_order=st.floats(0, 0.3),
        malformed=st.floats(0, 0.3),
        missing_fields=st.floats(0, 0.3),
        foreign_keys=st.floats(0, 0.3),
    ),
    st.integers(0, 1000),
)
def test_spoiling_loses_nothing_and_adds_only_what_it_counts(dirt: Dirt, seed: int) -> None:
    spoiler = Spoiler(dirt, seed)
    delivered = list(spoiler.spoil(CLEAN))

    counts = spoiler.counts
    broken = sum(count for name, count in counts.items() if name.startswith(("malformed:", "missing:")))
    assert len(delivered) == len(CLEAN) + counts["duplicates"]
    clean, dirty = Counter(event.value for event in CLEAN), Counter(event.value for event in delivered)
    assert (clean - dirty).total() == broken
    assert (dirty - clean).total() == broken + counts["duplicates"]
    assert sum(event.foreign_partition for event in delivered) >= counts["foreign_keys"]


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_spoiling_is_repeatable_and_a_clean_request_changes_nothing(seed: int) -> None:
    dirt = Dirt(duplicates=0.1, late=0.1, malformed=0.1)

    assert list(Spoiler(dirt, seed).spoil(CLEAN)) == list(Spoiler(dirt, seed).spoil(CLEAN))
    assert list(Spoiler(Dirt(), seed).spoil(CLEAN)) == CLEAN


def test_spoiling_takes_no_event_before_it_is_asked_for_one() -> None:
    taken: list[SimulatedEvent] = []

    def source() -> Iterator[SimulatedEvent]:
        for event in CLEAN:
            taken.append(event)
            yield event

    next(Spoiler(Dirt(malformed=0.5), 1).spoil(source()))

    assert len(taken) == 1


def test_late_events_come_hours_late_and_disordered_ones_within_a_minute() -> None:
    def worst_delay_ms(dirt: Dirt) -> int:
        newest, worst = 0, 0
        for event in Spoiler(dirt, 1).spoil(CLEAN):
            newest = max(newest, event.at_ms)
            worst = max(worst, newest - event.at_ms)
        return worst

    assert worst_delay_ms(Dirt()) == 0
    assert 20 * HOUR_MS < worst_delay_ms(Dirt(late=0.2)) <= 36 * HOUR_MS
    assert 0 < worst_delay_ms(Dirt(out_of_order=0.2)) <= 61_000


def test_shares_come_out_as_asked() -> None:
    spoiler = Spoiler(Dirt(duplicates=0.1, foreign_keys=0.2), 3)
    delivered = list(spoiler.spoil(CLEAN))

    assert abs(spoiler.counts["duplicates"] / len(OF_CUSTOMERS) - 0.1) < 0.02
    assert abs(spoiler.counts["foreign_keys"] / len(OF_CUSTOMERS) - 0.2) < 0.03
    assert len(delivered) > len(CLEAN)


def test_shares_outside_zero_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match="late is 1"):
        Dirt(late=1.5)
