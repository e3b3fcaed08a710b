"""Deduplication: what of each source was applied to a customer.

Offsets catch redelivery; a ring of recent event ids catches what a producer sent twice.
"""

from collections.abc import Sequence
from hashlib import blake2b

from stream_app.core.events import Click
from stream_app.core.hashing import digest
from stream_app.core.records import Position
from stream_app.core.state import SourceState
from stream_app.core.topics import RANK

DIGEST_BYTES = 5
"""Of what is kept of an id: one new id in 3 * 10^10 is taken by chance for one of the 32 in a ring."""
RING_IDS = 32
_FIRST_DIGEST_BYTES = 6
"""Of an id in the first version of stored states; today's are their beginnings."""
_RING_BYTES = DIGEST_BYTES * RING_IDS
_RANK_BITS = 8
_PARTITION_BITS = 16
_EPOCH_SHIFT = _RANK_BITS + _PARTITION_BITS


def source_key(position: Position) -> int:
    """Pack epoch, partition and topic rank into one small integer, as `SourceState.offsets` is keyed."""
    return position.epoch << _EPOCH_SHIFT | position.partition << _RANK_BITS | RANK[position.topic]


def admit(sources: SourceState, position: Position, event_id: str | None) -> bool:
    """Say whether a record is news to this customer, and note that it was seen.

    A record at or below the newest offset of its source is a redelivery. One whose event id stands in the topic's
    ring was produced twice. A record of an older source epoch than one seen is stale.
    """
    key = source_key(position)
    newest = sources.offsets.get(key)
    if newest is None:
        if sources.offsets and not _enter_epoch(sources, key):
            return False
    elif position.offset <= newest:
        return False
    sources.offsets[key] = position.offset
    if event_id is None:
        return True
    return _note_id(sources, key & ((1 << _RANK_BITS) - 1), digest(event_id, _FIRST_DIGEST_BYTES)[:DIGEST_BYTES])


def admit_all(sources: SourceState, run: Position, first: int, clicks: Sequence[Click]) -> bool:
    """Note consecutive records of one source, if each of them is surely news; otherwise note nothing.

    A faster `admit` for the usual case: what it returns False for may yet be news, which `admit` tells record by
    record.

    Parameters
    ----------
    run
        Position of the first click of a run without gaps.
    first
        How many clicks after that the first of `clicks` stands.
    clicks
        One behind the other.
    """
    key, offset = source_key(run), run.offset + first
    newest = sources.offsets.get(key)
    if newest is None or offset <= newest:
        return False
    # As `digest` does, without a call for each of so many.
    hashes = [blake2b(click.event_id.encode(), digest_size=_FIRST_DIGEST_BYTES) for click in clicks]
    identities = [hashed.digest()[:DIGEST_BYTES] for hashed in hashes]
    if len(set(identities)) < len(identities):
        return False
    rank = key & ((1 << _RANK_BITS) - 1)
    ring = sources.rings.get(rank, b"")
    for identity in identities:
        if identity in ring:
            return False
    identities.reverse()
    sources.offsets[key] = offset + len(identities) - 1
    sources.rings[rank] = (b"".join(identities) + ring)[:_RING_BYTES]
    return True


def ring_of_first_version(ring: bytes) -> bytes:
    """Return a ring of the first version of stored states as it is kept today."""
    return b"".join(ring[start : start + DIGEST_BYTES] for start in range(0, len(ring), _FIRST_DIGEST_BYTES))


def _note_id(sources: SourceState, rank: int, identity: bytes) -> bool:
    ring = sources.rings.get(rank)
    if ring is None:
        sources.rings[rank] = identity
        return True
    found = ring.find(identity)
    while found >= 0:
        if found % DIGEST_BYTES == 0:
            return False
        found = ring.find(identity, found + 1)
    sources.rings[rank] = (identity + ring)[:_RING_BYTES]
    return True


def _enter_epoch(sources: SourceState, key: int) -> bool:
    """Forget positions of older epochs of the same topic; return False if a newer epoch has been seen."""
    rank, epoch = key & ((1 << _RANK_BITS) - 1), key >> _EPOCH_SHIFT
    same_topic = [known for known in sources.offsets if known & ((1 << _RANK_BITS) - 1) == rank]
    if any(known >> _EPOCH_SHIFT > epoch for known in same_topic):
        return False
    for known in same_topic:
        if known >> _EPOCH_SHIFT < epoch:
            del sources.offsets[known]
    return True
