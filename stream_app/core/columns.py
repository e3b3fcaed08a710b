"""Observations as columns: what is alike in all of them is written once, and numbers take the bytes that they need."""

from functools import cache
from struct import Struct, error

import msgspec

from stream_app.core.names import full_name, short_name
from stream_app.core.waiting import Observation

_MOST = 64
"""Observations in one body: so many layouts are made at most."""
_MOST_ARM = 63

_astuple = msgspec.structs.astuple
_encode = msgspec.msgpack.Encoder().encode


class ObservationColumns(msgspec.Struct, array_like=True, gc=False):
    """Several observations; fields may only be appended, each with a default."""

    numbers: bytes
    """Of all: times since the first, flags (kind, answer, arm), contacts, lengths of rows, scores, propensities."""
    rows: bytes
    versions: str | list[str]
    """One where all are the same."""
    weights: list[float] = []
    """None where all are 1."""


_decode = msgspec.msgpack.Decoder(ObservationColumns).decode


def columns_of(pending: list[Observation]) -> bytes | None:
    """Return observations, at least one, as bytes; None where a number is beyond what a column holds."""
    count = len(pending)
    if count > _MOST:
        return None
    times, kinds, weights, retained, rows, probabilities, versions, contacts, arms, stays = zip(
        *map(_astuple, pending), strict=True
    )
    if max(kinds) > 1 or max(arms) > _MOST_ARM:
        return None
    oldest_ms = times[0]
    numbers = (
        *[at_ms - oldest_ms for at_ms in times],
        *[kind | is_retained << 1 | arm << 2 for kind, is_retained, arm in zip(kinds, retained, arms, strict=True)],
        *contacts,
        *map(len, rows),
        *probabilities,
        *stays,
    )
    layout = _layout(count)
    try:
        packed = layout.pack(*numbers)
    except (error, OverflowError):
        return None
    if layout.unpack(packed) != numbers:
        return None
    version = versions[0]
    row = (packed, b"".join(rows), short_name(version) if versions.count(version) == count else versions, weights)
    return _encode(row[:3] if weights.count(1.0) == count else row)


def observations_of(body: bytes, oldest_ms: int) -> list[Observation]:
    """Return the observations of `columns_of`; raises msgspec.MsgspecError or ValueError for damaged bytes."""
    columns = _decode(body)
    count = len(columns.numbers) // _layout(1).size
    try:
        numbers = _layout(count).unpack(columns.numbers)
    except error as problem:
        raise ValueError(f"{len(columns.numbers)} bytes of numbers are no columns: {problem}") from problem
    if not count:
        raise ValueError("there are no observations in columns")
    versions, weights = columns.versions, columns.weights or [1.0] * count
    if isinstance(versions, str):
        versions = [full_name(versions)] * count
    if not len(versions) == len(weights) == count:
        raise ValueError(f"{count} observations have {len(versions)} versions and {len(weights)} weights")
    restored, begin, rows = [], 0, columns.rows
    away, flags, contacts, lengths, scores, stays = (
        numbers[first : first + count] for first in range(0, len(numbers), count)
    )
    for index, length in enumerate(lengths):
        flag, end = flags[index], begin + length
        restored.append(
            Observation(
                oldest_ms + away[index],
                flag & 1,
                weights[index],
                flag & 2 > 0,
                rows[begin:end],
                scores[index],
                versions[index],
                contacts[index],
                flag >> 2,
                stays[index],
            )
        )
        begin = end
    return restored


@cache
def _layout(count: int) -> Struct:
    return Struct(f"<{count}I{3 * count}B{2 * count}f")
