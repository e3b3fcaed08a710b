"""Records on their way out: what the publisher sends, whatever they are."""

from collections.abc import Sequence
from typing import NamedTuple

Header = tuple[str, bytes | None]
Headers = Sequence[Header]


class Outgoing(NamedTuple):
    """One record to send."""

    topic: str
    """Name on this broker."""
    partition: int | None
    """None: by murmur2 of the key."""
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    timestamp_ms: int | None = None
    """None: the time of sending."""
