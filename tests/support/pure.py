"""The uninterrupted run: the engine alone over what the input topics hold, and everything that it would send."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from stream_app.adapters.assembly import engine_of
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.engine.shard import DictStore, Shard
from stream_app.settings import Settings
from stream_app.wire.decode import decode
from stream_app.wire.encode import encode
from stream_app.wire.partition import partition_of
from stream_app.wire.rejection import Rejection
from stream_app.worker.aligner import UNBOUNDED, Aligner, Item
from tests.support.probe import records_of

PIECE = 2_000


class PureRun:
    """Follows the input topics whenever it is asked to, as if all that they hold had been there from the start.

    That holds only while everything that is fed later is later in event time, too, or changes nothing. Misrouted
    records are put in their place in time, where no worker can have them: then only what each topic folds by itself
    is the same.

    Parameters
    ----------
    settings
        The app's.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = engine_of(settings)
        self._encoding = settings.encode_policy()
        self._read: dict[Topic, dict[int, int]] = {role: {} for role in CUSTOMER_TOPICS}
        self.shards: dict[int, Shard] = {
            number: self._engine.open_shard(number, DictStore(), PartitionState())
            for number in range(settings.partitions)
        }
        self.sent: dict[Topic, set[bytes]] = defaultdict(set)
        """Fingerprints of all outputs, by topic; dead letters by what they are of."""
        self.misrouted: set[tuple[str, int, int]] = set()
        """Records under a null or foreign key or on another's partition: topic, partition, offset."""
        self.records = 0

    async def follow(self) -> None:
        """Process what the topics got since the last call."""
        # A lane for each topic, and one for what misrouted records each partition of each topic holds.
        lanes = len(CUSTOMER_TOPICS) * (1 + len(self.shards))
        aligners = {number: Aligner(lanes, UNBOUNDED) for number in self.shards}
        for lane, role in enumerate(CUSTOMER_TOPICS):
            async for number, records in records_of(self._settings, self._settings.topic(role), self._read[role]):
                self.records += len(records)
                wrongly = lane + len(CUSTOMER_TOPICS) * (1 + number)
                for home, item, is_misrouted in self._decoded(lane, role, records):
                    aligners[home].push(wrongly if is_misrouted else lane, [item])
        for number, aligner in aligners.items():
            while items := aligner.release(PIECE, (), 0).items:
                effects = self._engine.process(self.shards[number], [item.entry for item in items])
                assert not effects.rejected
                for output in (*effects.outputs, *effects.interventions):
                    encoded = encode(output, self._encoding)
                    self.sent[encoded.topic].add(fingerprint(encoded.key, encoded.value))

    def _decoded(self, lane: int, role: Topic, records: list[Any]) -> Iterator[tuple[int, Item, bool]]:
        """Yield what can be read, the partition that it belongs to, and whether it came to the wrong place."""
        for record in records:
            entry = decode(
                role,
                record.key,
                record.value,
                record.headers,
                record.partition,
                record.offset,
                record.timestamp,
                self._settings.decode_limits(),
            )
            if isinstance(entry, Rejection):
                place = (role.value, record.partition, record.offset)
                self.sent[Topic.DEAD_LETTERS].add(fingerprint_of_letter(record.key, record.value, *place))
                continue
            assert isinstance(entry, Record)
            key = entry.customer_id.encode()
            home = partition_of(key, self._settings.partitions)
            is_misrouted = record.key != key or home != record.partition
            if is_misrouted:
                self.misrouted.add((role.value, record.partition, record.offset))
            yield home, Item(entry.at_ms, lane, record.offset, entry, (record,), None, entry.at_ms), is_misrouted


def fingerprint(*parts: object) -> bytes:
    """Return a short digest that tells records apart."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=12).digest()


def fingerprint_of_letter(key: bytes | None, value: bytes | None, role: str, partition: int, offset: int) -> bytes:
    """Return the digest of a dead letter: the record as it was, and where it stood."""
    return fingerprint(key, value, role, partition, offset)


async def sent_by(settings: Settings, topic: Topic) -> tuple[set[bytes], int]:
    """Return the fingerprints of what stands on an output topic, and how many records that are."""
    found: set[bytes] = set()
    count = 0
    roles = {settings.topic(role): role.value for role in CUSTOMER_TOPICS}
    async for _, records in records_of(settings, settings.topic(topic)):
        count += len(records)
        for record in records:
            if topic is Topic.DEAD_LETTERS:
                told = {name: value.decode() for name, value in record.headers}
                place = (roles[told["dlq_topic"]], int(told["dlq_partition"]), int(told["dlq_offset"]))
                found.add(fingerprint_of_letter(record.key, record.value, *place))
            else:
                found.add(fingerprint(record.key, record.value))
    return found, count
