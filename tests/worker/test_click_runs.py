"""Clicks joined to runs are what `decode` makes of each of them, in the same order."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.events import Click
from stream_app.core.records import ClickRun, Record
from stream_app.core.times import DAY_MS, HOUR_MS, iso
from stream_app.core.topics import Topic
from stream_app.wire.decode import DecodeLimits, decode
from stream_app.wire.partition import partition_of
from stream_app.worker.click_runs import LONGEST_RUN, join_clicks
from stream_app.worker.intake import Source
from tests.support.logs import START_MS
from tests.worker.test_intake import PARTITIONS, intake

CLICKS = Source(Topic.CLICKSTREAM, "shop.clicks", 0)
PARENT = ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")


class Polled(NamedTuple):
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = START_MS
    headers: tuple[tuple[str, bytes], ...] = ()


def value(customer: str, at_ms: int, identity: str, more: str = "") -> bytes:
    text = f'{{"event_id":"{identity}","customer_id":"{customer}","timestamp":"{iso(at_ms)}"{more}'
    return (text + ',"event_type":"page_view"}').encode()


@st.composite
def chunks(draw: st.DrawFn) -> list[Polled]:
    """Chunks of visits, with all that may come between their clicks."""
    records: list[Polled] = []
    at_ms, offset = START_MS, 10
    for _ in range(draw(st.integers(1, 6))):
        customer = draw(st.sampled_from(["ada", "bob", "cyd"]))
        for _ in range(draw(st.integers(1, 7))):
            at_ms += draw(st.sampled_from([0, 5, 1_000, -1_000, HOUR_MS]))
            offset += draw(st.sampled_from([1, 1, 1, 1, 1, 2]))
            key: bytes | None = draw(st.sampled_from([customer.encode()] * 6 + [b"eve", None]))
            more = draw(
                st.sampled_from([""] * 8 + [',"page":"\\u00e4"', ',"more":{"a":[1]}', ',"price":-1', ',"x":"\r"'])
            )
            body = value(customer, at_ms, f"e{offset}", more)
            record = Polled(offset, key, draw(st.sampled_from([body] * 12 + [b"", b"{", None])))
            headers = draw(st.sampled_from([()] * 6 + [(PARENT,), (("other", b"1"),)]))
            recorded_ms = draw(st.sampled_from([at_ms, at_ms, at_ms, 0, -1, at_ms - 3 * DAY_MS]))
            records.append(record._replace(headers=headers, timestamp=recorded_ms))
    return records


@given(records=chunks(), tolerance_ms=st.sampled_from([None, DAY_MS]), source_epoch=st.integers(0, 2))
def test_joined_clicks_are_what_decode_says_of_each(
    records: list[Polled], tolerance_ms: int | None, source_epoch: int
) -> None:
    limits = DecodeLimits(future_tolerance_ms=tolerance_ms, source_epoch=source_epoch)

    joined = list(join_clicks(records, 3, limits))

    assert [record for one in joined for record in one.records] == records
    for together, entry in joined:
        expected = [
            decode(Topic.CLICKSTREAM, one.key, one.value, one.headers, 3, one.offset, one.timestamp, limits)
            for one in together
        ]
        if isinstance(entry, ClickRun):
            assert len(together) > 1
            assert len({one.key for one in together}) == 1
            found = [entry.record(index) for index in range(len(together))]
            assert [as_told(one) for one in found] == [as_told(one) for one in expected]
            assert entry.times_ms == sorted(entry.times_ms)
        elif entry is not None:
            assert [entry] == expected


def as_told(entry: object) -> tuple[object, ...]:
    assert isinstance(entry, Record)
    return entry.position, entry.customer_id, entry.at_ms, entry.event, entry.traceparent


@given(records=chunks())
def test_the_intake_takes_runs_as_it_takes_records(records: list[Polled]) -> None:
    partition = partition_of(b"ada", PARTITIONS)
    whole = intake().take(CLICKS, partition, records, ("bob",), "chunk")
    single = [intake().take(CLICKS, partition, [record], ("bob",), "chunk") for record in records]

    assert whole.sides == [side for one in single for side in one.sides]
    flat = [
        item.part(index, index + 1) if isinstance(item.entry, ClickRun) else item
        for item in whole.items
        for index in range(len(item.records))
    ]
    expected = [item for one in single for item in one.items]
    assert [(item.place, item.records[0], item.last_ms) for item in flat] == [
        (item.place, item.records[0], item.last_ms) for item in expected
    ]
    assert [as_told(item.entry) for item in flat] == [as_told(item.entry) for item in expected]


@pytest.mark.parametrize(("step_ms", "longest"), [(0, LONGEST_RUN), (60_000, 61)])
def test_a_run_ends_somewhere(step_ms: int, longest: int) -> None:
    records = [Polled(at, b"ada", value("ada", START_MS + at * step_ms, f"e{at}")) for at in range(700)]
    runs = [entry for _, entry in join_clicks(records, 0, DecodeLimits(future_tolerance_ms=None))]
    sizes = [len(entry.clicks) for entry in runs if isinstance(entry, ClickRun)]
    assert max(sizes) == longest
    assert all(isinstance(click, Click) for entry in runs if isinstance(entry, ClickRun) for click in entry.clicks)


def test_one_unusual_click_in_a_chunk_leaves_the_others_joined() -> None:
    records = [Polled(at, b"ada", value("ada", START_MS, f"e{at}")) for at in range(512)]
    records[77] = records[77]._replace(value=b"{bad")
    joined = list(join_clicks(records, 0, DecodeLimits(future_tolerance_ms=None)))
    assert sum(len(one.records) for one in joined if one.entry is None) <= 4
