"""Structs as short rows: times as distances, names as codes, whole numbers as integers; everything comes back exactly.

Whole floats are written as integers, which msgpack keeps in one to five bytes instead of nine, and those of single
precision in five; a decoder of a field that holds floats makes floats of either again. Negative zero comes back as
zero, which it equals.
"""

from collections.abc import Iterable, Sequence
from struct import Struct, pack, unpack
from typing import Any, Generic, TypeVar

import msgspec

from stream_app.core.names import NameReader, NameWriter

S = TypeVar("S", bound=msgspec.Struct)

FLOATS = (float, tuple[float, ...], tuple[float, float])
"""Types of fields that hold numbers for `short`."""
_LARGEST_WHOLE = float(2**31)
"""Beyond, an integer is no shorter than the float."""
_SINGLE_MARK = 0xCA
"""Of msgpack, before a float of single precision."""
_SINGLE = Struct(">Bf")
_pack_single, _unpack_single = _SINGLE.pack, _SINGLE.unpack


def distance(at_ms: int, from_ms: int) -> int:
    """Return a time as its distance from another, so that 0 still means never: later times count from 1."""
    if not at_ms:
        return 0
    away_ms = at_ms - from_ms
    return away_ms + 1 if away_ms >= 0 else away_ms


def time_at(away: int, from_ms: int) -> int:
    """Return the time at a distance: the inverse of `distance`."""
    if not away:
        return 0
    return from_ms + (away - 1 if away > 0 else away)


def single(value: float) -> float:
    """Return a number rounded to single precision."""
    rounded: float = _unpack_single(_pack_single(_SINGLE_MARK, value))[1]
    return rounded


def singles(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return numbers rounded to single precision, seven digits; raises OverflowError for one beyond 3.4e38."""
    layout = f"{len(values)}f"
    return unpack(layout, pack(layout, *values))


def short(value: float | tuple[float, ...]) -> Any:
    """Return a number in the shortest form that msgpack has of it; a tuple of numbers as a list of such."""
    return _short_tuple(value) if isinstance(value, tuple) else _short(value)


def _short(value: float) -> Any:
    if not -_LARGEST_WHOLE < value < _LARGEST_WHOLE:
        return value
    if value == int(value):
        return int(value)
    packed = _pack_single(_SINGLE_MARK, value)
    return msgspec.Raw(packed) if _unpack_single(packed)[1] == value else value


def _short_tuple(values: tuple[float, ...]) -> list[Any]:
    try:
        # Where all are of single precision, as what is noted at draws is, they are found to be so at once.
        if singles(values) == values:
            return [
                int(value)
                if -_LARGEST_WHOLE < value < _LARGEST_WHOLE and value == int(value)
                else msgspec.Raw(_pack_single(_SINGLE_MARK, value))
                for value in values
            ]
    except OverflowError:
        pass  # a number beyond single precision: each as it can be
    return [_short(value) for value in values]


class Rows(Generic[S]):
    """Makes rows of structs of one kind, and structs of such rows.

    Fields that end in `_ms` are times. The first of them in a row is a distance from the row before, all others from
    it. Fields may be appended to the kind, as anywhere in stored state; they are written as they are.

    Parameters
    ----------
    kind
        A struct with a time among its fields.
    names
        Fields that hold a name, or a mapping with names as keys.
    numbers
        Fields that hold a float, or a tuple of floats, which often are whole or of single precision.
    """

    def __init__(self, kind: type[S], names: Sequence[str] = (), numbers: Sequence[str] = ()) -> None:
        fields = [field.name for field in msgspec.structs.fields(kind)]
        times = [place for place, name in enumerate(fields) if name.endswith("_ms")]
        self._kind = kind
        self._first_time, self._times = times[0], tuple(times[1:])
        self._names = tuple(fields.index(name) for name in names)
        self._numbers = tuple(fields.index(name) for name in numbers)

    def shrink(self, structs: Iterable[S], from_ms: int, names: NameWriter) -> list[list[Any]]:
        """Return the rows of structs; the first time is a distance from `from_ms`."""
        first_time, rows = self._first_time, []
        for struct in structs:
            row: list[Any] = list(msgspec.structs.astuple(struct))
            at_ms = row[first_time]
            row[first_time] = distance(at_ms, from_ms)
            for place in self._times:
                row[place] = distance(row[place], at_ms)
            for place in self._names:
                value = row[place]
                row[place] = names.short(value) if type(value) is str else names.short_keys(value)
            for place in self._numbers:
                row[place] = short(row[place])
            rows.append(row)
            from_ms = at_ms
        return rows

    def restore(self, shrunk: Iterable[S], from_ms: int, names: NameReader) -> list[S]:
        """Return the structs of rows that were decoded as the kind itself."""
        first_time, kind, restored = self._first_time, self._kind, []
        for struct in shrunk:
            row = list(msgspec.structs.astuple(struct))
            at_ms = row[first_time] = time_at(row[first_time], from_ms)
            for place in self._times:
                row[place] = time_at(row[place], at_ms)
            for place in self._names:
                value = row[place]
                row[place] = names.full(value) if type(value) is str else names.full_keys(value)
            restored.append(kind(*row))
            from_ms = at_ms
        return restored
