"""Keeps standby copies near the end of their changelogs: in the background, a bounded piece at a time.

The hot path shares this process' one thread. So a turn folds a bounded number of records, and after it the reader
rests for a multiple of what the turn cost. It has a consumer of its own, without a group.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.adapters.metrics import Recorder
from stream_app.settings import Settings
from stream_app.worker.restoring import Restorer
from stream_app.worker.standbys import Standbys

logger = logging.getLogger(__name__)

TURN_RECORDS = 500
"""Folded without a pause: some 5 ms."""

LOOP_SHARE = 0.2
"""Of this thread's time, while there is something to catch up with."""

QUIET_SECONDS = 0.05
"""The least pause after a turn that was not full: polls cost time, too, and nobody is in a hurry."""

NEAR_RECORDS = 5_000
"""A copy this near to the end is kept there; of those further behind one at a time is brought there, since what no
partition record closes stays in memory, and in a compacted changelog that can be a whole partition."""

FETCH_BYTES = 1 << 20
FETCH_WAIT_MS = 100
"""How long a fetch may wait at the broker for news of copies at the end: meanwhile nothing is fetched of the others."""

POLL_MS = 500
RETRY_SECONDS = 10.0


class StandbyReader:
    """Reads what the copies of one worker lack.

    Parameters
    ----------
    settings
        Brokers and the changelog's name.
    standbys
        The copies.
    metrics
        Where their number and their lag are shown.
    """

    def __init__(self, settings: Settings, standbys: Standbys, metrics: Recorder) -> None:
        self._settings = settings
        self._topic = settings.changelog_topic
        self._standbys = standbys
        self._metrics = metrics
        self._ends: dict[int, int] = {}
        self._changed = asyncio.Event()

    def follow(self, partitions: set[int]) -> None:
        """Keep copies of these partitions and of no others, from the next turn on."""
        self._standbys.follow(partitions)
        self._changed.set()
        self._tell()

    async def run(self) -> None:
        """Follow for ever. What fails is told and tried again later: a standby never ends its worker."""
        while True:
            await self._changed.wait()
            try:
                await self._read()
            except (KafkaError, OSError) as error:
                self._metrics.count("standby_failures")
                logger.warning("standbys cannot read %s and try again later: %r", self._topic, error)
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    @property
    def copies(self) -> dict[int, Restorer]:
        """Return the open copies by partition; the dict is the caller's."""
        return self._standbys.copies

    def lag_records(self) -> int:
        """Return how many changelog records, by their offsets, the open copies have still to read."""
        copies = self._standbys.copies
        return sum(max(0, self._ends.get(number, 0) - copy.next_offset) for number, copy in copies.items())

    def close(self) -> None:
        """Let go of all copies, as the process ends; what is on disk stays."""
        self._standbys.close()

    async def _read(self) -> None:
        """Read while there is something to follow."""
        consumer = self._consumer()
        try:
            await consumer.start()
            reading: dict[int, Restorer] = {}
            while True:
                self._changed.clear()
                await self._open_missing(consumer)
                copies = self._standbys.copies
                if not copies:
                    return
                if copies != reading:
                    reading = copies
                    consumer.assign([TopicPartition(self._topic, number) for number in reading])
                    for number, copy in reading.items():
                        consumer.seek(TopicPartition(self._topic, number), copy.next_offset)
                await self._turn(consumer, reading)
        finally:
            await stop_consumer(consumer)

    async def _turn(self, consumer: Any, reading: dict[int, Restorer]) -> None:
        lags = {number: self._ends[number] - copy.next_offset for number, copy in reading.items()}
        places = [TopicPartition(self._topic, number) for number in due(lags)]
        polled = await consumer.getmany(*places, timeout_ms=POLL_MS, max_records=TURN_RECORDS)
        begun = time.perf_counter()
        for place, records in polled.items():
            highwater = consumer.highwater(place)
            if highwater is not None:
                self._ends[place.partition] = highwater
            self._fold(place.partition, reading[place.partition], records)
        self._tell()
        rest = (time.perf_counter() - begun) * (1 / LOOP_SHARE - 1)
        is_full = sum(len(records) for records in polled.values()) >= TURN_RECORDS
        await asyncio.sleep(rest if is_full else max(rest, QUIET_SECONDS))

    def _fold(self, number: int, copy: Restorer, records: list[Any]) -> None:
        try:
            if self._standbys.take(number, copy, records):
                self._metrics.count("standby_records", len(records))
        except Exception as error:  # noqa: BLE001 - a disk, a newer release's record: whatever it is, only the copy is lost
            self._give_up(number, error)

    async def _open_missing(self, consumer: Any) -> None:
        missing = self._standbys.missing()
        if not missing:
            return
        ends = await consumer.end_offsets([TopicPartition(self._topic, number) for number in missing])
        self._ends |= {place.partition: end for place, end in ends.items()}
        for number in sorted(missing):
            # Meanwhile a rebalance may have made this worker the owner of it.
            if number in self._standbys.missing():
                try:
                    self._standbys.open(number, self._ends[number])
                except Exception as error:  # noqa: BLE001 - of RocksDB, which has no class of its own for them
                    self._give_up(number, error)
            await asyncio.sleep(0)

    def _give_up(self, number: int, error: Exception) -> None:
        self._metrics.count("standby_failures")
        logger.warning(
            "partition %d: its standby copy is given up until the next rebalance: %r. Does each worker have a "
            "STREAM_APP_DATA_DIR of its own, with room on its disk?",
            number,
            error,
        )
        self._standbys.drop(number)

    def _tell(self) -> None:
        self._metrics.gauge("standby_partitions", len(self._standbys.copies))
        self._metrics.gauge("standby_lag_records", self.lag_records())

    def _consumer(self) -> Any:
        return AIOKafkaConsumer(
            **client_arguments(self._settings),
            client_id=f"{self._settings.app_id}-standby",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )


def due(lags: Mapping[int, int]) -> list[int]:
    """Return which copies to read next: all that are near the end, and the first of the others.

    Parameters
    ----------
    lags
        Records that each copy has still to read, by partition.
    """
    far = [number for number, lag in lags.items() if lag > NEAR_RECORDS]
    return [number for number in lags if number not in far[1:]]
