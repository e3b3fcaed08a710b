import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from stream_app.core.compact import Rows, distance, short, single, singles, time_at
from stream_app.core.names import NameReader, NameWriter

_TIMES = st.integers(0, 2**45)


class _First(msgspec.Struct, array_like=True, frozen=True):
    name: str
    at_ms: int
    later_ms: int = 0
    amount: float = 0.0


class _Appended(msgspec.Struct, array_like=True, frozen=True):
    name: str
    at_ms: int
    later_ms: int = 0
    amount: float = 0.0
    note: str = "none"


_STRUCTS = st.lists(
    st.builds(_First, st.sampled_from(["email", "own", ""]), _TIMES, _TIMES, st.floats(allow_nan=False))
)


@given(at_ms=_TIMES, from_ms=_TIMES)
def test_distances_lead_back_and_never_stays_never(at_ms: int, from_ms: int) -> None:
    assert time_at(distance(at_ms, from_ms), from_ms) == at_ms
    assert (distance(at_ms, from_ms) == 0) == (at_ms == 0)


@example(value=1e300)
@example(value=float(2**100))
@example(value=float("inf"))
@given(
    value=st.floats(allow_nan=False) | st.integers(-(2**33), 2**33).map(float) | st.floats(width=32, allow_nan=False)
)
def test_numbers_are_written_shorter_where_they_can_be_and_read_the_same(value: float) -> None:
    written = msgspec.msgpack.encode(short(value))
    read = msgspec.msgpack.decode(written, type=float)
    assert (read, type(read)) == (value, float)
    is_short = abs(value) < 2**31 and (value == int(value) or single(value) == value)
    assert len(written) <= (5 if is_short else 9)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(short((value, 0.5))), type=tuple[float, ...]) == (value, 0.5)


@given(values=st.lists(st.floats(-1e30, 1e30), max_size=4).map(tuple))
def test_rounding_to_single_precision_is_rounding_once(values: tuple[float, ...]) -> None:
    rounded = singles(values)
    assert rounded == tuple(map(single, values)) == singles(rounded)
    assert all(
        abs(after - before) <= abs(before) * 2**-24 + 1e-45 for before, after in zip(values, rounded, strict=True)
    )


@given(structs=_STRUCTS, from_ms=_TIMES)
def test_rows_come_back_under_a_kind_that_has_grown(structs: list[_First], from_ms: int) -> None:
    stored = msgspec.msgpack.encode(Rows(_First, ("name",), ("amount",)).shrink(structs, from_ms, NameWriter()))
    same = Rows(_First, ("name",), ("amount",)).restore(
        msgspec.msgpack.decode(stored, type=list[_First]), from_ms, NameReader()
    )
    grown = Rows(_Appended, ("name",), ("amount",)).restore(
        msgspec.msgpack.decode(stored, type=list[_Appended]), from_ms, NameReader()
    )
    assert same == structs
    assert [msgspec.structs.astuple(each) for each in grown] == [
        (*msgspec.structs.astuple(each), "none") for each in structs
    ]
