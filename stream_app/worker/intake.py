"""Raw records of one chunk to entries of the merge, dead letters and re-publications by customer."""

import logging
from collections import deque
from collections.abc import Container, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from stream_app.adapters.metrics import Recorder
from stream_app.core.outputs import DeadLetter
from stream_app.core.records import ClickRun, Position, Record, TimePassed
from stream_app.core.topics import RANK, Topic
from stream_app.wire.decode import DecodeLimits, decode
from stream_app.wire.encode import encode_dead_letter
from stream_app.wire.headers import reroute_headers
from stream_app.wire.partition import librdkafka_partition_of, partition_of
from stream_app.wire.rejection import Rejection
from stream_app.worker.aligner import Item
from stream_app.worker.click_runs import join_clicks
from stream_app.worker.outgoing import Outgoing

logger = logging.getLogger(__name__)

FLOOD_WINDOW = 1_000
"""Records of a source partition among which bad ones are counted."""

MAX_LETTER_BYTES = 900_000
"""A dead letter keeps so much of a value: with its headers it must fit where the original fitted."""

TICK_RANK = len(RANK)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DeadLetterFloodError(RuntimeError):
    """So many bad records that a deploy must have gone wrong: draining the topic into dead letters helps nobody."""


class Source(NamedTuple):
    """One source topic as this worker reads it."""

    role: Topic
    name: str
    """Its name on this broker."""
    lane: int | None
    """Its lane in the merge; None: its partitions do not match, so that all of its records are re-published."""


class Taken(NamedTuple):
    """What became of one chunk."""

    items: list[Item]
    sides: list[Outgoing]
    """Dead letters and re-publications, in the order of the records."""


class Intake:
    """Decodes chunks for any number of partitions.

    Parameters
    ----------
    limits
        What a record may be.
    partitions
        Partition count of the customer-keyed topics.
    rerouted_topic, dead_letters_topic
        Names on this broker.
    flood_count
        Bad records among the last `FLOOD_WINDOW` of a partition from which on the worker stops.
    metrics
        Where dead letters and re-publications are counted.
    """

    def __init__(
        self,
        limits: DecodeLimits,
        partitions: int,
        rerouted_topic: str,
        dead_letters_topic: str,
        flood_count: int,
        metrics: Recorder,
    ) -> None:
        self._limits = limits
        self._partitions = partitions
        self._rerouted_topic = rerouted_topic
        self._dead_letters_topic = dead_letters_topic
        self._flood_count = flood_count
        self._metrics = metrics
        self._seen: dict[tuple[str, int], int] = {}
        self._bad: dict[tuple[str, int], deque[int]] = {}
        self._told: set[tuple[str, str]] = set()

    def take(self, source: Source, partition: int, records: Sequence[Any], known: Container[str], work: Any) -> Taken:
        """Decode the records of one chunk.

        Parameters
        ----------
        source
            The topic that they were read from.
        partition
            Theirs.
        records
            Of one partition, in offset order; used are their key, value, headers, timestamp and offset.
        known
            Customers of the same partition whose key is known to belong here.
        work
            Passed through in each item.

        Raises
        ------
        DeadLetterFloodError
            Too many records of this partition are bad.
        """
        place = (source.name, partition)
        self._seen[place] = self._seen.get(place, 0) + len(records)
        taken = Taken([], [])
        if source.role is not Topic.CLICKSTREAM or source.lane is None or not records:
            self._take_singly(source, partition, records, known, work, taken)
            return taken
        rank = RANK[Topic.CLICKSTREAM]
        for together, entry in join_clicks(records, partition, self._limits):
            if entry is None:
                self._take_singly(source, partition, together, known, work, taken)
            elif self._belongs(source, partition, together[0].key, entry.customer_id, known):
                at_ms, last_ms = (entry.at_ms, entry.last_ms) if isinstance(entry, ClickRun) else (entry.at_ms,) * 2
                taken.items.append(Item(at_ms, rank, together[0].offset, entry, together, work, last_ms))
            else:
                singles = [entry] if isinstance(entry, Record) else map(entry.record, range(len(together)))
                for record, single in zip(together, singles, strict=True):
                    taken.sides.append(self._reroute(source, partition, record, single))
        return taken

    def _take_singly(
        self,
        source: Source,
        partition: int,
        records: Sequence[Any],
        known: Container[str],
        work: Any,
        taken: Taken,
    ) -> None:
        role, limits, own_rank = source.role, self._limits, RANK.get(source.role)
        for record in records:
            key, offset = record.key, record.offset
            entry = decode(role, key, record.value, record.headers, partition, offset, record.timestamp, limits)
            if isinstance(entry, Record):
                if not self._belongs(source, partition, key, entry.customer_id, known):
                    taken.sides.append(self._reroute(source, partition, record, entry))
                    continue
                rank = RANK[entry.position.topic] if own_rank is None else own_rank
            elif isinstance(entry, TimePassed):
                rank = TICK_RANK
            else:
                taken.sides.append(self.refuse(source, partition, record, entry))
                continue
            taken.items.append(Item(entry.at_ms, rank, offset, entry, (record,), work, entry.at_ms))

    def _belongs(
        self, source: Source, partition: int, key: bytes | None, customer_id: str, known: Container[str]
    ) -> bool:
        """Say whether a record stands where its customer's records belong, by its key."""
        return (
            source.lane is not None
            and key is not None
            and key == customer_id.encode()
            and (customer_id in known or partition_of(key, self._partitions) == partition)
        )

    def refuse(self, source: Source, partition: int, record: Any, rejection: Rejection) -> Outgoing:
        """Return the dead letter of a record.

        Raises
        ------
        DeadLetterFloodError
            Too many records of this partition are bad.
        """
        return self.refuse_as(source, partition, record, rejection.code, rejection.field, rejection.detail)

    def refuse_as(self, source: Source, partition: int, record: Any, reason: str, field: str, detail: str) -> Outgoing:
        """Return the dead letter of a record that was refused after decoding; otherwise as `refuse`."""
        self._metrics.count("dead_letters", topic=source.name, reason=reason)
        self._guard_against_flood(source, partition, record, detail)
        letter = DeadLetter(
            topic=source.name,
            partition=partition,
            offset=record.offset,
            reason=reason,
            field=field,
            detail=detail,
            recorded_at=_EPOCH + timedelta(milliseconds=record.timestamp) if record.timestamp > 0 else None,
        )
        key, value, headers = encode_dead_letter(letter, record.key, record.value, record.headers)
        if value is not None and len(value) > MAX_LETTER_BYTES:
            headers = [*headers, ("dlq_truncated_from_bytes", b"%d" % len(value))]
            value = value[:MAX_LETTER_BYTES]
        return Outgoing(self._dead_letters_topic, None, key, value, headers)

    def _guard_against_flood(self, source: Source, partition: int, record: Any, detail: str) -> None:
        place = (source.name, partition)
        bad = self._bad.setdefault(place, deque())
        bad.append(record.offset)
        while bad[0] <= record.offset - FLOOD_WINDOW:
            bad.popleft()
        if len(bad) >= self._flood_count:
            raise DeadLetterFloodError(
                f"{len(bad)} of the last {min(self._seen.get(place, FLOOD_WINDOW), FLOOD_WINDOW):,} records of "
                f"{source.name}/{partition} are bad, up to offset {record.offset}; the newest: {detail}. "
                "Nothing of this batch was acknowledged. Mend the producer; or, to let them all go to the dead "
                "letters, raise STREAM_APP_DEAD_LETTER_FLOOD_COUNT and start again."
            )

    def _reroute(self, source: Source, partition: int, record: Any, entry: Record) -> Outgoing:
        own_key = entry.customer_id.encode()
        if record.key is None:
            cause, remedy = "null_key", "let the producer use customer_id as the record key"
        elif record.key != own_key:
            cause, remedy = "foreign_key", "let the producer use customer_id as the record key"
        else:
            cause, remedy = "wrong_partition", "let the producer use the murmur2 partitioner"
            if source.lane is None:
                remedy = f"give the topic {self._partitions} partitions, as all customer-keyed topics have"
            elif librdkafka_partition_of(own_key, self._partitions) == partition:
                remedy = "it looks like librdkafka's default: set partitioner=murmur2_random in the producer"
        self._metrics.count("rerouted", topic=source.name, cause=cause)
        if (source.name, cause) not in self._told:
            self._told.add((source.name, cause))
            logger.warning(
                "%s has records with %s (first: partition %d, offset %d): they are re-published by customer through "
                "%s, which costs time and order between topics; %s",
                source.name,
                cause.replace("_", " "),
                partition,
                record.offset,
                self._rerouted_topic,
                remedy,
            )
        position = Position(source.role, partition, record.offset, self._limits.source_epoch)
        if source.role is Topic.REROUTED:
            position = entry.position
        return Outgoing(
            self._rerouted_topic,
            partition_of(own_key, self._partitions),
            own_key,
            record.value,
            reroute_headers(position, record.headers),
            record.timestamp if record.timestamp > 0 else None,
        )
