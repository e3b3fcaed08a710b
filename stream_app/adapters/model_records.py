"""Records of the topic `model-snapshots`: what is sent, what was read, and why something is not served."""

import hashlib
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from stream_app.core.topics import Topic

DIGEST_HEADER: Final = "sha256"
POSITIONS_HEADER: Final = "positions"
"""How far the trainer had read when it published, as JSON: offsets by topic role and partition."""
_HEADERS_READ: Final = frozenset({DIGEST_HEADER, POSITIONS_HEADER})
PRIOR: Final = "prior"
"""What `STREAM_APP_PINNED_MODEL` and pins say to serve nothing that was learned."""

RefusalCode = Literal["missing", "damaged", "invalid", "horizon"]


class ModelRecord(NamedTuple):
    """One record for the topic; `value` None is a tombstone."""

    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]
    topic: Topic = Topic.SNAPSHOTS


class Stored(NamedTuple):
    """One snapshot as it stands in the topic, not yet decoded."""

    model: str
    version: str
    value: bytes
    digest: str
    """SHA-256 that the publisher noted; empty if it noted none."""
    stored_at_ms: int
    """Timestamp of the record: wall time of publication."""
    positions: str = ""
    """How far the trainer had read, as JSON; empty where it was not noted."""


class ModelRefusedError(Exception):
    """A snapshot that is not served; `code` for the metric, the message for the log."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def stored_of(
    model: str, version: str, value: bytes, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int
) -> Stored:
    """Return a record as it stands; headers of other names are not read, and null counts as not noted."""
    told = {header: (item or b"").decode("ascii", "replace") for header, item in headers if header in _HEADERS_READ}
    return Stored(model, version, value, told.get(DIGEST_HEADER, ""), timestamp_ms, told.get(POSITIONS_HEADER, ""))


def is_damaged(stored: Stored) -> bool:
    """Say whether the bytes do not fit the digest that was noted with them."""
    return bool(stored.digest) and stored.digest != hashlib.sha256(stored.value).hexdigest()
