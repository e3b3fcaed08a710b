"""Stable hashes: deterministic ids, phases and draws. Python's own `hash` differs from process to process."""

from hashlib import blake2b

_SEPARATOR = "\x1f"
_UNIT = 1 << 64


def digest(text: str, size_bytes: int = 6) -> bytes:
    """Return a short digest of a text."""
    return blake2b(text.encode(), digest_size=size_bytes).digest()


def stable_id(prefix: str, *parts: str | int) -> str:
    """Return an id that depends on its parts alone, so that a replay gives the same one."""
    joined = _SEPARATOR.join(map(str, parts)).encode()
    return f"{prefix}_{blake2b(joined, digest_size=12).hexdigest()}"


def unit_draw(*parts: str | int) -> float:
    """Return a number in [0, 1) that is uniform over parts and the same for equal parts."""
    joined = _SEPARATOR.join(map(str, parts)).encode()
    return int.from_bytes(blake2b(joined, digest_size=8).digest()) / _UNIT
