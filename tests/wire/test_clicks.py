"""The fast path for clicks and the contract agree: on what is accepted, on every value, on every refusal."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_app.core.events import Click, ClickEvent
from stream_app.core.times import to_ms
from stream_app.wire.clicks import LONGEST, read_click, read_clicks

CLICK = (
    b'{"event_id":"1-000000001","customer_id":"c01","timestamp":"2026-02-16T00:00:00.123Z",'
    b'"event_type":"page_view","product_id":"sku","price":12.5,"quantity":2,"channel":"web","extra":1.5,"more":"abc"}'
)
FIELDS = sorted(set(Click.__struct_fields__) - {"timestamp"})
SCRAPS = [
    b'"', b",", b":", b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1", b"0", b"01", b"1.", b".5",
    b"-", b"1e", b"1E5", b"-0.0", b"\x00", b"\x01", b"\n", b"\t", b" ", b"\x1f", b"\x7f", b"'", b"//", b"{}", b"[",
    b'"price":1,', b'"price":"x",', b'"price":null,', b'"price":true,', b'"price":1000000000000,',
    b'"price":1000000000000.0001,', b'"price":1000000000001,', b'"price":18446744073709551616,', b'"price": 5 ,',
    b'"quantity":1000000,', b'"quantity":1e-400,', b'"quantity":0,', b'"":1,', b'"extra":nul,', b'"extra":1e999,',
    b'"extra":00,', b'"extra":NaN,', b'"extra":' + b"9" * 400 + b",", b'"extra":' + b"9" * 5_000 + b",",
    b'"customer_id":"",', b'"customer_id":"zz",', b'"customer_id":null,', b'"customer_id":7,', b"a" * 200,
    b'"timestamp":1,', b'"timestamp":null,', b'"ex\x01tra":2,', b'"extra":"a\x05b",', b"\\u0041", b"\\ud800",
    b"\xc3\xa9", b"\xff", b'"event_type":"' + b"x" * 65 + b'",',
]  # fmt: skip
SEPARATORS = [index + 1 for index, byte in enumerate(CLICK) if byte in b",{:"]


def by_contract(value: bytes) -> ClickEvent | None:
    try:
        return ClickEvent.__pydantic_validator__.validate_json(value, strict=True)  # type: ignore[no-any-return]
    except ValidationError:
        return None


def assert_agreement(value: bytes) -> bool:
    """Return whether the fast path took it."""
    read = read_click(value)
    if read is None:
        return False
    click, at_ms = read
    event = by_contract(value)
    assert event is not None, value
    assert {name: getattr(click, name) for name in FIELDS} == {name: getattr(event, name) for name in FIELDS}
    assert at_ms == to_ms(event.timestamp)
    return True


def damaged(whole: bytes, edits: Iterable[tuple[str, int, bytes, int]]) -> bytes:
    value = bytearray(whole)
    for kind, place, scrap, count in edits:
        if kind == "insert":
            value[place:place] = scrap
        elif kind == "delete":
            del value[place : place + count]
        else:
            value[place : place + len(scrap)] = scrap
    return bytes(value)


edit = st.tuples(
    st.sampled_from(["insert", "insert", "delete", "replace"]),
    st.one_of(st.sampled_from(SEPARATORS), st.integers(0, len(CLICK) - 1)),
    st.sampled_from(SCRAPS) | st.binary(min_size=1, max_size=2),
    st.integers(1, 6),
)


@settings(max_examples=1_500)
@given(st.lists(edit, min_size=1, max_size=3))
def test_a_damaged_click_is_the_same_to_both(edits: list[tuple[str, int, bytes, int]]) -> None:
    assert_agreement(damaged(CLICK, edits))


JSON_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300)


@settings(max_examples=600)
@given(st.dictionaries(st.sampled_from([*FIELDS, "timestamp", "unknown"]), JSON_SCALARS, max_size=6))
def test_any_field_of_any_value_is_the_same_to_both(changes: dict[str, Any]) -> None:
    assert_agreement(json.dumps(json.loads(CLICK) | changes, ensure_ascii=False).encode(errors="surrogatepass"))


@given(st.datetimes(), st.sampled_from(["seconds", "milliseconds", "microseconds"]), st.sampled_from(["Z", "+00:00"]))
@example(datetime.min, "seconds", "Z")  # noqa: DTZ901 - the zone is in the text
@example(datetime.max, "microseconds", "Z")  # noqa: DTZ901 - the zone is in the text
def test_every_time_in_utc_is_read_fast_and_right(moment: datetime, precision: str, zone: str) -> None:
    value = CLICK.replace(b"2026-02-16T00:00:00.123Z", (moment.isoformat(timespec=precision) + zone).encode())

    read = read_click(value)

    assert assert_agreement(value)
    assert read is not None
    cut = {"seconds": moment.replace(microsecond=0), "microseconds": moment}.get(
        precision, moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
    )
    assert read[1] == to_ms(cut.replace(tzinfo=UTC))


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-16T24:00:00Z", "2026-02-16T23:59:60Z", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00Z",
        "2026-02-16T00:00:00", "2026-02-16 00:00:00Z", "2026-02-16T00:00Z", "2026-02-16T00:00:00.1Z",
        "2026-02-16T00:00:00.1234567Z", "2026-02-16T00:00:00+01:00", "2026-02-16T00:00:00z", "20260216T000000Z",
        "1771200000", "", "2026-02-16T00:00:00.12aZ", "2026-02-16T00:00:00.123Z ", " 2026-02-16T00:00:00.123Z",
    ],
)  # fmt: skip
def test_any_other_time_is_left_to_the_contract(text: str) -> None:
    assert read_click(CLICK.replace(b"2026-02-16T00:00:00.123Z", text.encode())) is None


def test_the_usual_click_is_read_fast() -> None:
    assert assert_agreement(CLICK)
    assert read_click(CLICK[:-1] + b',"long":"' + b"x" * LONGEST + b'"}') is None


def test_the_lean_form_has_the_fields_of_the_contract() -> None:
    assert set(Click.__struct_fields__) == set(ClickEvent.model_fields)


@settings(max_examples=1_000)
@given(
    st.lists(
        st.just(CLICK)
        | st.sampled_from([CLICK.replace(b"2026", b"2027"), CLICK[:-1] + b"\n}", b" " + CLICK, CLICK + b"\r"])
        | st.tuples(st.integers(0, len(CLICK)), st.integers(0, len(CLICK))).map(
            lambda cut: CLICK[min(cut) : max(cut)]  # pieces that might lean on their neighbours
        )
        | st.tuples(edit).map(lambda edits: damaged(CLICK, edits))
        | st.sampled_from([b"", b"{", b"}", b"{}", b",", b"5", b'"', CLICK + b"\r," + CLICK, CLICK + b"," + CLICK]),
        min_size=1,
        max_size=5,
    )
)
def test_clicks_read_together_are_those_read_alone(values: list[bytes]) -> None:
    together = read_clicks(values)
    alone = [read_click(value) for value in values]

    if together is not None:
        assert list(zip(*together, strict=True)) == alone
    elif all(value.startswith(b"{") and b"\r" not in value for value in values):
        assert None in alone


def test_values_do_not_lean_on_their_neighbours() -> None:
    middle = CLICK.index(b',"event_type"')
    first, second = CLICK[:middle], CLICK[middle + 1 :]
    # Joined by a comma, these two would make one click, and with it as many objects as values.
    assert read_clicks([CLICK + b"\r," + first, second]) is None
    assert read_clicks([first, second]) is None
    assert read_clicks([CLICK, CLICK]) is not None
