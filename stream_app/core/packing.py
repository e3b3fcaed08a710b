"""Feature rows as few bytes: a bitmap of what is not zero, then those values as 16-bit floats.

A 16-bit float keeps 11 significant bits, about 0.05 % of a value: far below what a score can show, at half the size.
Rows are rounded before they are scored (`quantise`), so unpacking gives back exactly what was scored.
"""

import numpy as np
from numpy.typing import NDArray

LARGEST = 65_504.0
"""Largest finite 16-bit float: values beyond are cut to it."""

_HALF = np.dtype("<f2")
_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def quantise(features: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to the nearest 16-bit float, cut at +-65,504, with no negative zeros; the result is C-contiguous."""
    halves = np.clip(features, -LARGEST, LARGEST).astype(_HALF, order="C")
    rounded: NDArray[np.float32] = halves.astype(np.float32)
    rounded += np.float32(0.0)
    return rounded


def in_single(probabilities: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to single precision, still below 1: a state keeps several of its scores, in four bytes each."""
    return np.minimum(probabilities.astype(np.float32), _BELOW_ONE)


def pack(row: NDArray[np.float32]) -> bytes:
    """Return one row's bytes: one bit a feature, then two bytes for each that is not zero.

    The inverse of `unpack` for rows that `quantise` returned.
    """
    (packed,) = pack_rows(row[np.newaxis])
    return packed


def pack_rows(rows: NDArray[np.float32]) -> list[bytes]:
    """Return the bytes of each row of a block, as `pack` does: a block costs little more than a row."""
    filled = rows != 0
    bitmaps = [bitmap.tobytes() for bitmap in np.packbits(filled, axis=1)]
    values: bytes = rows[filled].astype(_HALF).tobytes()
    ends = np.cumsum(np.count_nonzero(filled, axis=1) * _HALF.itemsize).tolist()
    return [bitmap + values[start:end] for bitmap, start, end in zip(bitmaps, [0, *ends], ends, strict=False)]


def unpack(packed: bytes, width: int) -> NDArray[np.float32]:
    """Return the row of `width` features; raises ValueError when the bytes are not a packed row of that width."""
    bitmap_bytes = (width + 7) // 8
    if len(packed) < bitmap_bytes:
        raise ValueError(f"a packed row of {width} features has at least {bitmap_bytes} bytes, got {len(packed)}")
    bits = np.frombuffer(packed, dtype=np.uint8, count=bitmap_bytes)
    filled = np.unpackbits(bits, count=width).astype(np.bool_)
    count = int(filled.sum())
    if len(packed) != bitmap_bytes + 2 * count:
        raise ValueError(f"a packed row with {count} values has {bitmap_bytes + 2 * count} bytes, got {len(packed)}")
    row = np.zeros(width, dtype=np.float32)
    row[filled] = np.frombuffer(packed, dtype=_HALF, offset=bitmap_bytes)
    return row
