"""Sends many records at once: one Kafka record batch for each topic and partition, all of them awaited.

This is aiokafka's batch API, not Faust's producer: Faust makes one request a record, buffers in a place that its commit
does not wait for, and logs a failed send where we must crash.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.settings import Settings
from stream_app.wire.partition import partition_of
from stream_app.worker.outgoing import Header, Outgoing

MAX_BATCH_BYTES = 900_000
"""Below the brokers' default `message.max.bytes` of 1,048,588, which bounds a batch."""

REQUEST_TIMEOUT_MS = 60_000
"""How long a send may take, retries included: about a broker's restart. Then the worker gives up and is restarted."""


class PublishError(RuntimeError):
    """A record could not be sent. Nothing of its batch may be acknowledged: the worker must end and begin anew."""


class WrittenRange(NamedTuple):
    """Where a sequence of records came to stand in one partition."""

    first_offset: int
    next_offset: int
    """Offset behind the last of them."""
    is_unbroken: bool
    """False when someone else's records came to stand between them."""


def new_producer(settings: Settings, *, idempotent: bool) -> AIOKafkaProducer:
    """Return the worker's producer, not started. Idempotence needs a broker that knows producer ids."""
    return AIOKafkaProducer(
        **client_arguments(settings),
        client_id=f"{settings.app_id}-worker",
        acks="all",
        enable_idempotence=idempotent,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=1_000_000,
        linger_ms=0,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )


class Publisher:
    """Sends through one producer, which its owner starts and stops.

    Parameters
    ----------
    producer
        Started.
    now_ms
        Wall clock: no record gets a later timestamp. Brokers refuse records from the future (Kafka 4: by an hour), and
        one event that is a little ahead must not stop its worker for ever.
    """

    def __init__(self, producer: AIOKafkaProducer, now_ms: Callable[[], int] | None = None) -> None:
        self._producer = producer
        self._now_ms = now_ms if now_ms is not None else _wall_clock_ms
        self._partition_counts: dict[str, int] = {}

    async def send(self, records: Iterable[Outgoing]) -> None:
        """Send all records, in order within each partition, and return when every one of them is acknowledged.

        Raises
        ------
        PublishError
            At least one was not.
        """
        batches: dict[tuple[str, int], list[Any]] = {}
        counts, now_ms = self._partition_counts, self._now_ms()
        for topic, partition, key, value, headers, timestamp_ms in records:
            if partition is None:
                count = counts.get(topic) or await self._partition_count(topic)
                partition = partition_of(key, count) if key is not None else 0  # noqa: PLW2901 - as it is sent
            builders = batches.setdefault((topic, partition), [])
            at_ms = None if timestamp_ms is None else min(timestamp_ms, now_ms)
            self._append(builders, topic, key, value, list(headers), at_ms)
        pending: list[Awaitable[Any]] = []
        for (topic, partition), builders in batches.items():
            pending += [await self._submit(builder, topic, partition) for builder in builders]
        await self._settle(pending, {topic for topic, _ in batches})

    async def write(self, topic: str, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> WrittenRange:
        """Send (key, value) records to one partition, in one batch where they fit, and tell where they stand.

        Raises
        ------
        PublishError
            At least one was not acknowledged.
        """
        builders: list[Any] = []
        no_headers: list[Header] = []
        for key, value in records:
            self._append(builders, topic, key, value, no_headers, None)
        # Sizes are read before sending: a sent builder no longer tells.
        counts = [builder.record_count() for builder in builders]
        pending = [await self._submit(builder, topic, partition) for builder in builders]
        results = await self._settle(pending, {topic})
        first, following, is_unbroken = results[0].offset, results[0].offset, True
        for result, count in zip(results, counts, strict=True):
            is_unbroken = is_unbroken and result.offset == following
            following = result.offset + count
        return WrittenRange(first, following, is_unbroken)

    def _append(
        self,
        builders: list[Any],
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[Header],
        timestamp_ms: int | None,
    ) -> None:
        for _ in range(2):
            if builders:
                taken = builders[-1].append(timestamp=timestamp_ms, key=key, value=value, headers=headers)
                if taken is not None:
                    return
            builders.append(self._producer.create_batch())
        raise PublishError(f"A record of {len(value or b''):,} bytes does not fit into a batch for {topic}.")

    async def _submit(self, builder: Any, topic: str, partition: int) -> Awaitable[Any]:
        try:
            future: Awaitable[Any] = await self._producer.send_batch(builder, topic, partition=partition)
        except (KafkaError, AssertionError, ValueError) as error:
            raise PublishError(f"Sending to {topic}/{partition} failed: {error!r}") from error
        return future

    async def _settle(self, pending: Sequence[Awaitable[Any]], topics: set[str]) -> list[Any]:
        results = await asyncio.gather(*pending, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise PublishError(f"Sending to {', '.join(sorted(topics))} failed: {result!r}") from result
        return results

    async def _partition_count(self, topic: str) -> int:
        count = self._partition_counts.get(topic)
        if count is None:
            try:
                count = len(await self._producer.partitions_for(topic))
            except KafkaError as error:
                raise PublishError(f"Nothing is known of topic {topic}: {error!r}") from error
            self._partition_counts[topic] = count
        return count


def _wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000
