"""Bytes to entries, or to reasons that a person understands."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.records import Position, Record, TimePassed
from stream_app.core.times import DAY_MS, to_ms
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.wire.decode import EARLIEST_MS, LATEST_MS, DecodeLimits, decode, decode_reference
from stream_app.wire.headers import reroute_headers
from stream_app.wire.rejection import Rejection

AT = "2026-03-14T18:22:05.123Z"
AT_MS = 1_773_512_525_123
CLICK = {"event_id": "e1", "customer_id": "c1", "event_type": "page_view", "timestamp": AT}
ORDER = {"event_id": "e1", "customer_id": "c1", "order_id": "o1", "amount": 5, "timestamp": AT}
SECRET = "Mustermann"


def decoded(topic: Topic, value: bytes | None, **changes: Any) -> Record | TimePassed | Rejection:
    arguments: dict[str, Any] = {"key": b"c1", "headers": None, "partition": 3, "offset": 17, "record_ms": AT_MS}
    return decode(topic, value=value, **(arguments | changes))


def rejected(topic: Topic, value: bytes | None, **changes: Any) -> Rejection:
    result = decoded(topic, value, **changes)
    assert isinstance(result, Rejection), result
    return result


def click(**changes: Any) -> bytes:
    return json.dumps(CLICK | changes).encode()


def order(**changes: Any) -> bytes:
    return json.dumps(ORDER | changes).encode()


@given(st.sampled_from(list(Topic)), st.binary(max_size=200), st.integers(-10, 2**60))
def test_nothing_that_a_topic_holds_can_raise(topic: Topic, value: bytes, record_ms: int) -> None:
    result = decoded(topic, value, record_ms=record_ms)

    assert isinstance(result, Record | TimePassed | Rejection)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(
    st.sampled_from(CUSTOMER_TOPICS), st.sampled_from(sorted({*CLICK, *ORDER, "items", "consent", "currency"})), JSON
)
def test_one_wrong_field_never_raises_and_is_named(topic: Topic, field: str, value: Any) -> None:
    whole = {**CLICK, **ORDER, "intervention_id": "i1", "kind": "sent" if topic is Topic.FEEDBACK else "review"}
    result = decoded(topic, json.dumps(whole | {field: value}).encode())

    if isinstance(result, Rejection) and result.field:
        assert result.field.split(".")[0] == field
        assert field in result.detail


@given(st.datetimes(timezones=st.timezones()))
def test_event_time_is_the_instant_whatever_the_zone(moment: Any) -> None:
    moment = moment.replace(fold=0)
    result = decoded(Topic.CLICKSTREAM, click(timestamp=moment.isoformat()), record_ms=0)

    if isinstance(result, Record):
        assert result.at_ms == to_ms(moment)
        assert EARLIEST_MS <= result.at_ms <= LATEST_MS
    else:
        assert isinstance(result, Rejection)
        assert result.code in {"far_past", "far_future", "bad_timestamp"}


def test_a_click_carries_its_place_and_time() -> None:
    result = decoded(Topic.CLICKSTREAM, click())

    assert isinstance(result, Record)
    assert result.position == Position(Topic.CLICKSTREAM, 3, 17, 0)
    assert (result.customer_id, result.at_ms, result.recorded_at_ms) == ("c1", AT_MS, AT_MS)


def test_unknown_fields_are_ignored() -> None:
    assert isinstance(decoded(Topic.CLICKSTREAM, click(utm="x", nested={"a": [1]})), Record)


DEEP = "[" * 60 + "]" * 60
BAD_CLICKS: list[tuple[str, bytes, str, str]] = [
    ("empty", b"", "empty", ""),
    ("plain text", b"hello", "not_json", ""),
    ("cut off", click()[:-9], "not_json", ""),
    ("two objects", click() + click(), "not_json", ""),
    ("array", b"[1,2]", "not_an_object", ""),
    ("string", b'"x"', "not_an_object", ""),
    ("null", b"null", "not_an_object", ""),
    ("utf-16", json.dumps(CLICK).encode("utf-16"), "bad_encoding", ""),
    ("utf-16 without a mark", json.dumps(CLICK).encode("utf-16-le"), "bad_encoding", ""),
    ("byte order mark", b"\xef\xbb\xbf" + click(), "bad_encoding", ""),
    ("latin-1", click(query="x").replace(b'"x"', b'"caf\xe9"'), "bad_encoding", ""),
    ("huge", b'{"a":"' + b"x" * 300_000 + b'"}', "too_large", ""),
    ("deep", click()[:-1] + f', "x": {DEEP}}}'.encode(), "too_deep", ""),
    ("deeper than the parser goes", b'{"a":' * 5_000, "too_deep", ""),
    (
        "no customer",
        b'{"event_id":"e","event_type":"x","timestamp":"2026-03-14T18:22:05Z"}',
        "missing_field",
        "customer_id",
    ),
    ("empty customer", click(customer_id=""), "too_short", "customer_id"),
    ("long customer", click(customer_id="c" * 129), "too_long", "customer_id"),
    ("number for customer", click(customer_id=5), "wrong_type", "customer_id"),
    ("null event id", click(event_id=None), "wrong_type", "event_id"),
    ("negative price", click(price=-1), "out_of_range", "price"),
    ("string for price", click(price="12"), "wrong_type", "price"),
    ("zero quantity", click(quantity=0), "out_of_range", "quantity"),
    ("no zone", click(timestamp="2026-03-14T18:22:05"), "naive_timestamp", "timestamp"),
    ("date only", click(timestamp="2026-03-14"), "bad_timestamp", "timestamp"),
    ("no such day", click(timestamp="2026-02-30T00:00:00Z"), "bad_timestamp", "timestamp"),
    ("unix seconds", click(timestamp=1_773_512_525), "wrong_type", "timestamp"),
    ("seconds as milliseconds", click(timestamp="1970-01-21T12:38:32Z"), "far_past", "timestamp"),
    ("next year", click(timestamp="2027-03-14T18:22:05Z"), "far_future", "timestamp"),
    ("end of the calendar", click(timestamp="9999-12-31T23:59:59-10:00"), "far_future", "timestamp"),
]


@pytest.mark.parametrize(
    ("value", "code", "field"), [case[1:] for case in BAD_CLICKS], ids=[case[0] for case in BAD_CLICKS]
)
def test_a_bad_click_is_refused_with_its_reason(value: bytes, code: str, field: str) -> None:
    result = rejected(Topic.CLICKSTREAM, value)

    assert (result.code, result.field) == (code, field)
    assert 20 < len(result.detail) < 300
    assert "Traceback" not in result.detail
    assert "pydantic" not in result.detail


BAD_ORDERS: list[tuple[str, bytes, str, str]] = [
    ("lower-case currency", order(currency="eur"), "unknown_currency", "currency"),
    ("no such currency", order(currency="EUX"), "unknown_currency", "currency"),
    ("negative amount", order(amount=-5), "out_of_range", "amount"),
    ("not a number", order(amount=float("nan")), "out_of_range", "amount"),
    ("infinite", order(amount=float("inf")), "out_of_range", "amount"),
    ("true for amount", order(amount=True), "wrong_type", "amount"),
    ("unknown status", order(status="lost"), "unknown_value", "status"),
    ("items is an object", order(items={}), "wrong_type", "items"),
    ("item is a number", order(items=[5]), "not_an_object", "items.0"),
    ("item without a price", order(items=[{"product_id": "p", "quantity": 1}]), "missing_field", "items.0.unit_price"),
    ("too many items", order(items=[{"product_id": "p", "quantity": 1, "unit_price": 1}] * 2_001), "too_long", "items"),
]


@pytest.mark.parametrize(
    ("value", "code", "field"), [case[1:] for case in BAD_ORDERS], ids=[case[0] for case in BAD_ORDERS]
)
def test_a_bad_order_is_refused_with_its_reason(value: bytes, code: str, field: str) -> None:
    result = rejected(Topic.ORDERS, value)

    assert (result.code, result.field) == (code, field)


def test_several_faults_are_told_at_once() -> None:
    detail = rejected(Topic.CLICKSTREAM, b"{}").detail

    assert detail.startswith("customer_id is missing")
    assert "timestamp" in detail
    assert "event_id" in detail


@pytest.mark.parametrize("field", ["customer_id", "query", "session_id", "page"])
def test_what_could_be_personal_is_never_quoted(field: str) -> None:
    long_value = SECRET * 500

    assert SECRET not in rejected(Topic.CLICKSTREAM, click(**{field: long_value})).detail


@pytest.mark.parametrize("attributes", [{SECRET: 5}, {SECRET * 40: "x"}])
def test_a_key_that_a_producer_chose_is_never_quoted(attributes: dict[str, Any]) -> None:
    profile = {"customer_id": "c1", "timestamp": AT, "attributes": attributes}
    result = rejected(Topic.CUSTOMERS, json.dumps(profile).encode())

    assert result.field == "attributes"
    assert SECRET not in result.detail


def test_a_quoted_value_is_cut_short() -> None:
    detail = rejected(Topic.ORDERS, order(status="lost" * 100)).detail

    assert "lostlost" in detail
    assert len(detail) < 200


def test_many_items_are_not_deep_nesting() -> None:
    items = [{"product_id": f"p{{[{n}", "quantity": 1, "unit_price": 1} for n in range(500)]

    assert isinstance(decoded(Topic.ORDERS, order(items=items)), Record)


def test_brackets_in_a_text_are_not_nesting() -> None:
    assert isinstance(decoded(Topic.CLICKSTREAM, click(query='[{"' * 100)), Record)


def test_the_future_is_judged_by_the_record_timestamp_and_only_where_asked() -> None:
    ahead = click(timestamp="2026-03-15T18:22:06Z")

    assert rejected(Topic.CLICKSTREAM, ahead).code == "far_future"
    assert isinstance(decoded(Topic.CLICKSTREAM, ahead, record_ms=AT_MS + DAY_MS), Record)
    assert isinstance(decoded(Topic.CLICKSTREAM, ahead, record_ms=-1), Record)
    assert isinstance(decoded(Topic.CLICKSTREAM, ahead, limits=DecodeLimits(future_tolerance_ms=None)), Record)


def test_a_tombstone_erases_the_customer_in_its_key() -> None:
    result = decoded(Topic.CUSTOMERS, None, key=b"c9")

    assert isinstance(result, Record)
    assert (result.customer_id, result.event, result.at_ms) == ("c9", None, AT_MS)


@pytest.mark.parametrize("key", [None, b"", b"\xff\xfe", b"c" * 129])
def test_a_tombstone_without_a_usable_key_is_refused(key: bytes | None) -> None:
    assert rejected(Topic.CUSTOMERS, None, key=key).field == "key"


@pytest.mark.parametrize("topic", [Topic.ORDERS, Topic.CLICKSTREAM, Topic.TICKS])
def test_a_tombstone_elsewhere_is_refused(topic: Topic) -> None:
    assert rejected(topic, None).code == "empty"


def test_a_rerouted_record_keeps_its_first_position() -> None:
    first = Position(Topic.ORDERS, 7, 123_456, 2)
    result = decoded(Topic.REROUTED, order(), headers=reroute_headers(first))

    assert isinstance(result, Record)
    assert result.position == first


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stream-app-source-topic", "stream-app-source-offset", "x"]), st.binary() | st.none()
        )
    )
)
def test_a_rerouted_record_without_a_position_is_refused(headers: list[tuple[str, bytes | None]]) -> None:
    assert rejected(Topic.REROUTED, order(), headers=headers).code == "no_source_position"


def test_a_record_cannot_claim_another_place_on_an_ordinary_topic() -> None:
    claimed = reroute_headers(Position(Topic.CLICKSTREAM, 0, 0))
    result = decoded(Topic.ORDERS, order(), headers=claimed)

    assert isinstance(result, Record)
    assert result.position == Position(Topic.ORDERS, 3, 17)


def test_reroute_headers_replace_older_ones_and_keep_the_rest() -> None:
    older = reroute_headers(Position(Topic.ORDERS, 1, 1), [("app", b"shop"), ("empty", None)])
    newer = reroute_headers(Position(Topic.REVIEWS, 2, 9), older)

    assert newer[:2] == [("app", b"shop"), ("empty", None)]
    assert len(newer) == 6


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        (b"00-short-01", ""),
        (b"\xff" * 55, ""),
        (None, ""),
    ],
)
def test_only_a_well_formed_trace_is_taken(header: bytes | None, expected: str) -> None:
    result = decoded(Topic.CLICKSTREAM, click(), headers=[("traceparent", header)])

    assert isinstance(result, Record)
    assert result.traceparent == expected


def test_a_tick_is_time_passing() -> None:
    assert decoded(Topic.TICKS, f'{{"timestamp":"{AT}"}}'.encode()) == TimePassed(AT_MS)


@pytest.mark.parametrize("topic", [Topic.INTERVENTIONS, Topic.SCORES, Topic.SNAPSHOTS])
def test_outputs_are_not_read_as_inputs(topic: Topic) -> None:
    assert rejected(topic, b"{}").code == "not_an_input"


def test_reference_facts_are_read_or_refused() -> None:
    product = decode_reference(Topic.PRODUCTS, b'{"product_id":"p","timestamp":"2026-03-01T00:00:00Z"}')

    assert not isinstance(product, Rejection)
    for topic, value in ((Topic.PRODUCTS, b"{}"), (Topic.CALENDAR, b""), (Topic.ORDERS, order())):
        assert isinstance(decode_reference(topic, value), Rejection)
