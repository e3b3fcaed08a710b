"""Structs as short rows: times as distances, names as codes, whole numbers as integers; everything comes back exactly.

Whole floats are written as integers, which msgpack keeps in one to five bytes instead of nine; a decoder of a field
that holds floats makes floats of them again. Negative zero comes back as zero, which it equals.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from stream_app.core.names import NameReader, NameWriter

S = TypeVar("S", bound=msgspec.Struct)

FLOATS = (float, tuple[float, ...], tuple[float, float])
"""Types of fields that hold numbers for `whole`."""
_LARGEST_WHOLE = float(2**31)
"""Beyond, an integer is no shorter than the float."""


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


def whole(value: float | tuple[float, ...]) -> float | list[float]:
    """Return a number that is whole as an integer, and any other as it is; a tuple of numbers as a list of such."""
    return [_whole(each) for each in value] if isinstance(value, tuple) else _whole(value)


def _whole(value: float) -> float:
    return int(value) if -_LARGEST_WHOLE < value < _LARGEST_WHOLE and value == int(value) else value


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
    wholes
        Fields that hold a float, or a tuple of floats, which often are whole numbers.
    """

    def __init__(self, kind: type[S], names: Sequence[str] = (), wholes: Sequence[str] = ()) -> None:
        fields = [field.name for field in msgspec.structs.fields(kind)]
        times = [place for place, name in enumerate(fields) if name.endswith("_ms")]
        self._kind = kind
        self._first_time, self._times = times[0], tuple(times[1:])
        self._names = tuple(fields.index(name) for name in names)
        self._wholes = tuple(fields.index(name) for name in wholes)

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
            for place in self._wholes:
                row[place] = whole(row[place])
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
