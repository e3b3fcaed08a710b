"""What the changelog of customer states holds: states and, after each batch's states, one partition record.

Every value begins with an envelope: what it is, the epoch of the owner that wrote it and the number of its batch. The
partition record closes its batch: states that no partition record follows were not finished and do not count. So a
batch is atomic even where it does not fit into one Kafka record batch, and an owner of an older epoch cannot overwrite
anything.
"""

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

import msgspec

from stream_app.core.partition import PartitionState
from stream_app.core.topics import Topic

PARTITION_KEY = b"\xff\x00partition"
"""Key of partition records: no UTF-8, so that no customer id can equal it."""

OUTBOX_KEY = b"\xff\x00outbox"
"""Keys of outbox parts begin so; a number follows."""

STATE = 1
PARTITION = 2
OUTBOX = 3
VERSION = 1

_ENVELOPE = Struct(">BIQ")
ENVELOPE_BYTES = _ENVELOPE.size
_pack = _ENVELOPE.pack
_unpack_from = _ENVELOPE.unpack_from


class PendingSend(msgspec.Struct, array_like=True, frozen=True):
    """One encoded intervention of the outbox, byte for byte as it is sent."""

    topic: Topic
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int = -1


class SourcePosition(msgspec.Struct, array_like=True, frozen=True):
    """How far a source topic was processed in this partition."""

    epoch: int
    """The source epoch, a setting that is raised when a topic was re-created."""
    next_offset: int


class PartitionRecord(msgspec.Struct, array_like=True, frozen=True):
    """What a partition's owner knows besides the states. Fields may only be appended, each with a default."""

    memory: PartitionState
    positions: dict[str, SourcePosition] = {}
    """By topic role."""
    outbox: tuple[PendingSend, ...] = ()
    """Interventions of this batch: a new owner sends them again, in case that the old one did not come to it."""
    outbox_parts: int = 0
    """How many outbox records of the same batch hold the interventions instead, where they are too large for this one.

    Compaction can take them only after a later batch wrote its own, and by then these have been sent.
    """


class Envelope(NamedTuple):
    """What stands before every changelog value."""

    kind: int
    epoch: int
    sequence: int


class ChangelogFormatError(ValueError):
    """A changelog value that no owner of this release or an older one can have written."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(PartitionRecord).decode
_encode_part = msgspec.msgpack.Encoder().encode
_decode_part = msgspec.msgpack.Decoder(tuple[PendingSend, ...]).decode
_KNOWN = {STATE, PARTITION, OUTBOX}


def envelope(kind: int, epoch: int, sequence: int) -> bytes:
    """Return the bytes to put before a state or a partition record."""
    return _pack(VERSION << 4 | kind, epoch, sequence)


def read_envelope(value: bytes) -> Envelope:
    """Return the envelope of a changelog value; the payload begins at `ENVELOPE_BYTES`.

    Raises
    ------
    ChangelogFormatError
        Too short, or of an unknown version or kind: something else wrote to this topic, or a newer release did.
    """
    if len(value) < ENVELOPE_BYTES:
        raise ChangelogFormatError(f"a changelog value of {len(value)} bytes: something else writes to this topic")
    tag, epoch, sequence = _unpack_from(value)
    if tag >> 4 != VERSION or tag & 0xF not in _KNOWN:
        raise ChangelogFormatError(
            f"a changelog value with tag {tag:#04x}, and this release knows "
            f"{', '.join(f'{VERSION << 4 | known:#04x}' for known in sorted(_KNOWN))}: "
            "run the release that wrote it, or a newer one"
        )
    return Envelope(tag & 0xF, epoch, sequence)


def encode_partition_record(record: PartitionRecord) -> bytes:
    """Return the payload of a partition record; the inverse of `decode_partition_record`."""
    return _encode(record)


def decode_partition_record(payload: bytes | memoryview) -> PartitionRecord:
    """Return the partition record of a payload.

    Raises
    ------
    ChangelogFormatError
        The payload is damaged.
    """
    try:
        return _decode(payload)
    except msgspec.MsgspecError as error:
        raise ChangelogFormatError(f"damaged partition record ({len(payload)} bytes): {error}") from error


def encode_outbox_parts(outbox: tuple[PendingSend, ...], most_bytes: int) -> list[bytes]:
    """Return payloads of outbox records of at most about `most_bytes` each; the inverse of `decode_outbox_parts`."""
    parts: list[bytes] = []
    group: list[PendingSend] = []
    size = 0
    for pending in outbox:
        weight = len(pending.value or b"") + sum(len(name) + len(value) for name, value in pending.headers)
        if group and size + weight > most_bytes:
            parts.append(_encode_part(tuple(group)))
            group, size = [], 0
        group.append(pending)
        size += weight
    if group:
        parts.append(_encode_part(tuple(group)))
    return parts


def decode_outbox_parts(payloads: Iterable[bytes | memoryview]) -> tuple[PendingSend, ...]:
    """Return the interventions of outbox records, in their order.

    Raises
    ------
    ChangelogFormatError
        A payload is damaged.
    """
    try:
        return tuple(pending for payload in payloads for pending in _decode_part(payload))
    except msgspec.MsgspecError as error:
        raise ChangelogFormatError(f"damaged outbox record: {error}") from error
