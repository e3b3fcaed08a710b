"""The changelog of customer states: written batch by batch, read in bulk.

Faust's own recovery hands each changelog record through its stream machinery, 4,000 to 9,000 a second. This reads with
a plain consumer, all partitions at once, and folds whole polls.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.settings import Settings
from stream_app.worker.publisher import Publisher, WrittenRange

logger = logging.getLogger(__name__)

POLL_MS = 500
FETCH_BYTES = 4 << 20
PROGRESS_SECONDS = 5.0
STALL_SECONDS = 120.0
"""Restoring gives up after so long without a single record: the process ends, and is started again."""


class ChangelogError(RuntimeError):
    """The changelog cannot be read; the worker cannot know its customers and must not process."""


Fold = Callable[[int, Sequence[Any]], None]
"""Called with a partition and records of it, in order."""


class Changelog:
    """One app's changelog topic.

    Parameters
    ----------
    settings
        Brokers and the topic's name.
    publisher
        Through which to write.
    metrics
        Where records written and read are counted.
    """

    def __init__(self, settings: Settings, publisher: Publisher, metrics: Recorder) -> None:
        self._settings = settings
        self._publisher = publisher
        self._metrics = metrics
        self.topic = settings.changelog_topic

    async def write(self, partition: int, records: Sequence[tuple[bytes, bytes | None]]) -> WrittenRange:
        """Write a batch of one partition and return where it stands once every record is acknowledged.

        Raises
        ------
        PublishError
            It could not be written.
        """
        written = await self._publisher.write(self.topic, partition, records)
        self._metrics.count("changelog_records", len(records))
        self._metrics.count("changelog_bytes", sum(len(value) for _, value in records if value is not None))
        return written

    async def ends(self, partitions: Sequence[int]) -> dict[int, int]:
        """Return the end offset of each partition.

        Raises
        ------
        ChangelogError
            The broker did not answer, or has no such topic.
        """
        consumer = await self._consumer(partitions)
        try:
            return await self._ends(consumer, partitions)
        finally:
            await stop_consumer(consumer)

    async def read(self, starts: Mapping[int, int], ends: Mapping[int, int] | None, fold: Fold) -> dict[int, int]:
        """Read partitions from their start offsets to their ends and return those ends.

        Parameters
        ----------
        starts
            First offset to read, by partition.
        ends
            Where to stop; None: where the logs end now.
        fold
            Called with each poll's records.

        Raises
        ------
        ChangelogError
            The broker stopped answering.
        """
        partitions = list(starts)
        consumer = await self._consumer(partitions)
        try:
            goals = dict(ends) if ends is not None else await self._ends(consumer, partitions)
            open_partitions = {TopicPartition(self.topic, number): goals[number] for number in partitions}
            for tp in open_partitions:
                consumer.seek(tp, starts[tp.partition])
            await self._read_open(consumer, open_partitions, fold)
        except KafkaError as error:
            raise ChangelogError(f"Reading {self.topic} failed: {error!r}") from error
        finally:
            await stop_consumer(consumer)
        return goals

    async def _read_open(self, consumer: Any, open_partitions: dict[Any, int], fold: Fold) -> None:
        begun = told = moved = time.monotonic()
        records = 0
        while open_partitions:
            for tp in [tp for tp, goal in open_partitions.items() if await consumer.position(tp) >= goal]:
                del open_partitions[tp]
                consumer.pause(tp)
            if not open_partitions:
                break
            polled = await consumer.getmany(*open_partitions, timeout_ms=POLL_MS)
            now = time.monotonic()
            for tp, batch in polled.items():
                goal = open_partitions[tp]
                wanted = batch if batch[-1].offset < goal else [record for record in batch if record.offset < goal]
                fold(tp.partition, wanted)
                records += len(wanted)
            if polled:
                moved = now
                await asyncio.sleep(0)
            elif now - moved > STALL_SECONDS:
                raise ChangelogError(
                    f"No record of {self.topic} came for {STALL_SECONDS:.0f} s, with {len(open_partitions)} partitions "
                    "still to be read: are the brokers well?"
                )
            remaining = sum([goal - await consumer.position(tp) for tp, goal in open_partitions.items()])
            self._metrics.gauge("recovery_remaining_records", max(0, remaining))
            if now - told >= PROGRESS_SECONDS:
                told = now
                logger.info("restoring", extra=fields(records=records, remaining=remaining, seconds=now - begun))
        self._metrics.gauge("recovery_remaining_records", 0)
        self._metrics.count("recovered_records", records)

    async def _ends(self, consumer: Any, partitions: Sequence[int]) -> dict[int, int]:
        try:
            ends = await consumer.end_offsets([TopicPartition(self.topic, number) for number in partitions])
        except KafkaError as error:
            raise ChangelogError(f"The ends of {self.topic} cannot be asked: {error!r}") from error
        return {tp.partition: end for tp, end in ends.items()}

    async def _consumer(self, partitions: Sequence[int]) -> Any:
        consumer = AIOKafkaConsumer(
            **client_arguments(self._settings),
            client_id=f"{self._settings.app_id}-restore",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=100,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await stop_consumer(consumer)
            raise ChangelogError(f"No connection to the brokers for reading {self.topic}: {error!r}") from error
        consumer.assign([TopicPartition(self.topic, number) for number in partitions])
        return consumer
