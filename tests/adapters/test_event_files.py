"""Event files: JSON Lines of any topic in event-time order, broken lines included, and the Online Retail table."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.event_files import EventFile, EventFileError, FileEvent, merge_by_event_time, topic_of_name
from stream_app.adapters.retail_csv import RetailCsv
from stream_app.core.records import Record
from stream_app.core.times import iso
from stream_app.core.topics import RANK, Topic
from stream_app.wire.decode import decode

T0 = 1_767_225_600_000
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


def line(customer_id: str = "c1", at_ms: int = T0, **more: object) -> bytes:
    return json.dumps({**more, "event_id": "e", "customer_id": customer_id, "timestamp": iso(at_ms)}).encode()


def file_of(folder: Path, name: str, *lines: bytes) -> EventFile:
    path = folder / name
    content = b"\n".join(lines) + b"\n"
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return EventFile(path)


@pytest.mark.parametrize("name", ["orders.jsonl", "orders.jsonl.gz"])
def test_lines_come_as_they_are_with_customer_and_time(tmp_path: Path, name: str) -> None:
    file = file_of(tmp_path, name, line("a", T0), b"", line("b", T0 + 5))

    assert list(file) == [
        FileEvent(Topic.ORDERS, T0, "a", line("a", T0), 1),
        FileEvent(Topic.ORDERS, T0 + 5, "b", line("b", T0 + 5), 3),
    ]
    assert file.done_bytes == file.total_bytes


def test_broken_lines_are_kept_in_place_and_counted(tmp_path: Path) -> None:
    broken = [b"not json", b'{"customer_id": 5}', b"\xff\xfe", b'{"customer_id":"c","timestamp":"2026-01-01T00:00:00"}']
    file = file_of(tmp_path, "orders.jsonl", line("a", T0), *broken, line("b", T0 + 5))

    events = list(file)
    assert [event.value for event in events[1:-1]] == broken
    assert [event.at_ms for event in events] == [T0] * 5 + [T0 + 5]
    assert [event.customer_id for event in events] == ["a", "", "", "", "c", "b"]
    assert file.broken_lines == 4


def test_a_merged_file_names_the_topic_in_each_line(tmp_path: Path) -> None:
    merged = [b'{"topic":"orders",' + line()[1:], b'{"topic":"clickstream",' + line()[1:], b"broken"]
    events = list(file_of(tmp_path, "shop.jsonl", *merged))

    assert [event.topic for event in events] == [Topic.ORDERS, Topic.CLICKSTREAM, Topic.CLICKSTREAM]
    assert [event.value for event in events] == [line(), line(), b"broken"]


def test_a_line_cannot_reach_a_topic_that_is_no_input(tmp_path: Path) -> None:
    lines = [b'{"topic":"orders",' + line()[1:], b'{"topic":"interventions",' + line()[1:]]

    assert [event.topic for event in file_of(tmp_path, "shop.jsonl", *lines)] == [Topic.ORDERS, Topic.ORDERS]


def test_a_file_that_tells_no_topic_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(EventFileError, match="--topic"):
        file_of(tmp_path, "events.jsonl", line())

    assert next(iter(EventFile(tmp_path / "events.jsonl", Topic.REVIEWS))).topic is Topic.REVIEWS


def test_a_cut_off_gzip_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl.gz"
    path.write_bytes(gzip.compress(b"\n".join(line(str(number)) for number in range(5_000)))[:-20])

    with pytest.raises(EventFileError, match=r"orders\.jsonl\.gz.*damaged"):
        list(EventFile(path))


@pytest.mark.parametrize(
    ("name", "topic"),
    [
        ("clickstream.jsonl.gz", Topic.CLICKSTREAM),
        ("2024-Orders.jsonl", Topic.ORDERS),
        ("intervention-feedback.jsonl", Topic.FEEDBACK),
        ("customers.jsonl", Topic.CUSTOMERS),
        ("shop.jsonl", None),
    ],
)
def test_names_speak_of_topics(name: str, topic: Topic | None) -> None:
    assert topic_of_name(name) is topic


EVENTS = st.builds(
    FileEvent,
    topic=st.sampled_from(list(RANK)),
    at_ms=st.integers(T0, T0 + 20),
    customer_id=st.just("c"),
    value=st.binary(max_size=3),
    line=st.integers(1, 9),
)


def in_order(events: list[FileEvent]) -> list[FileEvent]:
    return sorted(events, key=lambda event: (event.at_ms, RANK[event.topic]))


@given(st.lists(st.lists(EVENTS, max_size=12), max_size=4))
def test_a_merge_is_ordered_and_loses_nothing(files: list[list[FileEvent]]) -> None:
    merged = list(merge_by_event_time([in_order(events) for events in files]))

    assert [(event.at_ms, RANK[event.topic]) for event in merged] == sorted(
        (event.at_ms, RANK[event.topic]) for events in files for event in events
    )
    assert sorted(map(repr, merged)) == sorted(repr(event) for events in files for event in events)


def retail(folder: Path, *rows: str, header: str = HEADER, encoding: str = "utf-8") -> RetailCsv:
    path = folder / "retail.csv"
    path.write_bytes((header + "\n".join(rows) + "\n").encode(encoding))
    return RetailCsv(path)


def test_invoice_lines_become_orders(tmp_path: Path) -> None:
    file = retail(
        tmp_path,
        "536366,22633,HAND WARMER,6,12/1/2010 8:28,1.85,17850,United Kingdom",
        "536365,85123A,HOLDER,6,12/1/2010 8:26,2.55,17850.0,United Kingdom",
        'C536379,D,"Discount, 10%",-1,12/1/2010 9:41,27.5,14527,United Kingdom',
        "536365,71053,LANTERN,2,12/1/2010 8:26,3.39,17850,United Kingdom",
        "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom",
        "A563186,B,Adjust bad debt,1,8/12/2011 14:51,-11062.06,12345,United Kingdom",
    )
    events = list(file)
    orders = [json.loads(event.value) for event in events]

    assert [order["event_id"] for order in orders] == ["or-536365", "or-536366", "or-C536379"]
    assert [order["amount"] for order in orders] == [22.08, 11.1, 27.5]
    assert [order["status"] for order in orders] == ["completed", "completed", "cancelled"]
    assert orders[0]["items"][1] == {"product_id": "71053", "quantity": 2.0, "unit_price": 3.39}
    assert file.left_out == 2
    for event in events:
        assert isinstance(decode(event.topic, None, event.value, None, 0, 0, 0), Record)


def test_the_second_edition_and_latin_1_are_read(tmp_path: Path) -> None:
    header = "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    row = "489434,85048,POTÉ,12,2009-12-01 07:45:00,6.95,13085.0,United Kingdom"
    (event,) = retail(tmp_path, row, header=header, encoding="iso-8859-1")

    assert (event.customer_id, iso(event.at_ms)) == ("13085", "2009-12-01T07:45:00.000Z")


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("a,b\n", "1,2", "no column InvoiceNo"),
        (HEADER, "536365,85123A,H,six,12/1/2010 8:26,2.55,17850,UK", "line 2.*six"),
        (HEADER, "536365,85123A,H,6,yesterday,2.55,17850,UK", "line 2.*yesterday"),
    ],
)
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, header: str, row: str, message: str) -> None:
    with pytest.raises(EventFileError, match=message):
        list(retail(tmp_path, row, header=header))


@pytest.mark.data
def test_the_real_orders_make_the_table_that_makes_the_orders(data_dir: Path, tmp_path: Path) -> None:
    source = [json.loads(event.value) for event in EventFile(data_dir / "online_retail" / "orders.jsonl.gz")][:2_000]
    rows = [
        f"{order['event_id'][3:]},{item['product_id']},x,{item['quantity']},"
        f"{order['timestamp'][:19].replace('T', ' ')},{item['unit_price']},{order['customer_id']},UK"
        for order in source
        for item in order["items"]
    ]
    again = [json.loads(event.value) for event in retail(tmp_path, *rows)]

    assert [order["event_id"] for order in again] == [order["event_id"] for order in source]
    assert [order["items"] for order in again] == [order["items"] for order in source]
    assert [order["amount"] for order in again] == pytest.approx([order["amount"] for order in source], abs=0.011)


def test_a_calendar_day_is_keyed_by_its_date_and_region(tmp_path: Path) -> None:
    path = tmp_path / "shop.jsonl"
    path.write_text(
        '{"topic":"calendar","date":"2026-12-24","timestamp":"2026-01-01T00:00:00Z","kind":"holiday","name":"Eve"}\n'
        '{"topic":"calendar","date":"2026-12-24","timestamp":"2026-01-01T00:00:00Z","kind":"holiday","name":"Eve",'
        '"region":"north"}\n'
    )

    keys = [event.customer_id for event in EventFile(path)]

    assert keys == ["2026-12-24", "2026-12-24/north"], "a compacted topic refuses records without a key"


def test_fields_that_are_null_do_not_hide_key_and_time(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(
        '{"customer_id":"ada","timestamp":"2026-01-05T00:00:00Z","product_id":null,"region":null,"date":null}\n'
    )
    opened = EventFile(file, Topic.ORDERS)

    assert [(event.customer_id, event.at_ms) for event in opened] == [("ada", 1_767_571_200_000)]
    assert opened.broken_lines == 0
