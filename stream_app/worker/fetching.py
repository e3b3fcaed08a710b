"""Polls that hand over records as aiokafka decoded them, whole batches at a time, and so many of each partition.

aiokafka wraps every record into a ConsumerRecord, a dataclass of a dozen fields: making and freeing them costs 2 us an
event and more. What lies beneath (DefaultRecord, LegacyRecord) knows all that is needed: offset, timestamp, key, value
and headers. This overrides internals of aiokafka 0.14 (pinned); tests/worker/test_fetching.py compares it with
what it overrides.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer.fetcher import READ_COMMITTED, Fetcher, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException

PAUSE_SECONDS_PER_PARTITION = 0.0005
"""How long to let polls empty what was fetched before more is fetched, for each assigned partition: whatever a fetch
brings, it costs some 10 us for each of them. Waiting 0.1 s, as aiokafka does, starves one partition of a backlog, and
with five hundred takes a tenth of a processor."""

_NO_BATCH: Iterator[Any] = iter(())

Polled = dict[TopicPartition, list[Any]]


class RawRecords(PartitionRecords):  # type: ignore[misc]
    """What a fetch brought of one partition, as `take` is asked for it.

    Parameters
    ----------
    fetched
        The same as aiokafka has it; it must not be iterated any more.
    """

    next_fetch_offset: int

    def __init__(self, fetched: PartitionRecords) -> None:
        super().__init__(
            fetched._tp,  # noqa: SLF001 - takes its place
            fetched._records,  # noqa: SLF001
            fetched._aborted_transactions,  # noqa: SLF001
            fetched.next_fetch_offset,
            None,
            None,
            fetched._check_crcs,  # noqa: SLF001
            fetched._isolation_level,  # noqa: SLF001
        )
        self._batch: Iterator[Any] = iter(())
        self._batch_end = 0
        self.is_exhausted = False

    def take(self, most: int) -> list[Any]:
        """Return up to `most` records, oldest first, and let `next_fetch_offset` on behind them.

        Raises
        ------
        CorruptRecordException
            A batch is damaged. The position stays, so that all of this is fetched again.
        """
        taken: list[Any] = []
        while len(taken) < most and not self.is_exhausted:
            part = list(islice(self._batch, most - len(taken)))
            if not part:
                self._batch = next(self, _NO_BATCH)
                self.is_exhausted = self._batch is _NO_BATCH
                continue
            if part[0].offset < self.next_fetch_offset:
                # The fetch began in the middle of a batch.
                part = [record for record in part if record.offset >= self.next_fetch_offset]
            if part:
                self.next_fetch_offset = part[-1].offset + 1
                taken += part
        if taken and self.next_fetch_offset == self._batch_end and not self._records.has_next():
            # Told at once: else the partition would not be fetched before another poll had found nothing here.
            self.is_exhausted = True
        return taken

    def _unpack_records(self) -> Iterator[Iterator[Any]]:
        """As aiokafka's, but a batch at a time."""
        records = self._records
        while records.has_next():
            batch = records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if not self._is_to_be_skipped(batch):
                self._batch_end = batch.next_offset
                yield islice(batch, None)  # a batch of aiokafka lets itself be asked for an iterator once
            # Also behind records that compaction removed from its end, and behind what is skipped.
            self.next_fetch_offset = batch.next_offset

    def _is_to_be_skipped(self, batch: Any) -> bool:
        """Tell whether a batch is a transaction's marker or, if only what is committed is read, was aborted."""
        if self._isolation_level == READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)


class RawFetcher(Fetcher):  # type: ignore[misc]
    """aiokafka's fetcher, whose polls bring raw records, and of each partition as many as is said."""

    _is_woken = False
    _begun_with: Any = None
    _unfed: set[TopicPartition] | frozenset[TopicPartition] = frozenset()
    """Partitions of which nothing was fetched yet, though there may be something."""

    def wake(self) -> None:
        """Let the poll that waits, or else the next one that would, return at once; call it in the fetcher's thread."""
        self._is_woken = True
        for waiter in list(self._fetch_waiters):
            self._notify(waiter)

    async def fetched_records(
        self,
        partitions: Mapping[TopicPartition, int],
        timeout: float = 0,  # noqa: ASYNC109 - aiokafka's signature
        max_records: int | None = None,
    ) -> Polled:
        """Return what was fetched; wait for it if there is nothing. Positions are let on behind what is returned.

        Parameters
        ----------
        partitions
            Whose records are wanted, and how many of each at most.
        timeout
            Seconds.
        max_records
            Of all of them together, at most.

        Raises
        ------
        KafkaError
            A partition cannot be read. Those before it are returned first.
        """
        while True:
            if self._subscriptions.reassignment_in_progress:
                await self._subscriptions.wait_for_assignment()
            begun = time.monotonic()
            drained = self._drain(partitions, max_records)
            if drained or not timeout or self._is_woken:
                self._is_woken = False
                return drained
            waiter = self._create_fetch_waiter()
            done, _ = await asyncio.wait([waiter], timeout=timeout)
            if not done or self._closed:
                waiter.cancel()
                return {}
            waiter.result()  # raises what stops the group
            timeout = max(0, timeout - (time.monotonic() - begun))

    def _get_actions_per_node(self, assignment: Any) -> Any:
        if assignment is not self._begun_with:
            self._begun_with, self._unfed = assignment, assignment.tps
        self._unfed = {tp for tp in self._unfed if tp not in self._records and _may_lag(assignment.state_value(tp))}
        # Without a pause at first: the merge already waits for those that did not fit into the first answer.
        self._prefetch_backoff = 0.0 if self._unfed else PAUSE_SECONDS_PER_PARTITION * len(assignment.tps)
        return super()._get_actions_per_node(assignment)

    def _drain(self, partitions: Mapping[TopicPartition, int], max_records: int | None) -> Polled:
        drained: Polled = {}
        for tp in list(self._records):
            most = partitions.get(tp)
            if most is None:
                if not self._subscriptions.is_assigned(tp):
                    del self._records[tp]
                continue
            fetched = self._records[tp]
            if type(fetched) is not FetchResult:
                if drained:
                    return drained
                self._forget(tp)
                fetched.check_raise()
                continue
            records = _take(fetched, tp, most if max_records is None else min(most, max_records))
            if not fetched.has_more():
                self._forget(tp)
            if records:
                drained[tp] = records
                if max_records is not None:
                    max_records -= len(records)
        return drained

    def _forget(self, tp: TopicPartition) -> None:
        """Let the partition be fetched again."""
        del self._records[tp]
        self._notify(self._wait_consume_future)


async def fetch_raw(consumer: AIOKafkaConsumer) -> None:
    """Let a consumer that was started and has no partitions yet poll raw records, by `RawFetcher.fetched_records`.

    Its other ways of reading (`getone`, `getmany`, iteration) are not to be used then.

    Raises
    ------
    ValueError
        It has deserializers: raw records are as they stand in the log.
    """
    if consumer._key_deserializer or consumer._value_deserializer:  # noqa: SLF001 - no public way
        raise ValueError("raw records are not deserialized")
    await consumer._fetcher.close()  # noqa: SLF001
    consumer._fetcher = RawFetcher(  # noqa: SLF001
        consumer._client,  # noqa: SLF001
        consumer._subscription,  # noqa: SLF001
        fetch_min_bytes=consumer._fetch_min_bytes,  # noqa: SLF001
        fetch_max_bytes=consumer._fetch_max_bytes,  # noqa: SLF001
        fetch_max_wait_ms=consumer._fetch_max_wait_ms,  # noqa: SLF001
        max_partition_fetch_bytes=consumer._max_partition_fetch_bytes,  # noqa: SLF001
        check_crcs=consumer._check_crcs,  # noqa: SLF001
        fetcher_timeout=consumer._consumer_timeout,  # noqa: SLF001
        retry_backoff_ms=consumer._retry_backoff_ms,  # noqa: SLF001
        auto_offset_reset=consumer._auto_offset_reset,  # noqa: SLF001
        isolation_level=consumer._isolation_level,  # noqa: SLF001
        client_rack=consumer._client_rack,  # noqa: SLF001
    )


def _may_lag(state: Any) -> bool:
    if state.paused:
        return False
    return not state.has_valid_position or state.highwater is None or state.position < state.highwater


def _take(fetched: FetchResult, tp: TopicPartition, most: int) -> list[Any]:
    """Take records of one partition and let its position on, unless it was paused, sought or lost meanwhile."""
    if not fetched.check_assignment(tp) or not fetched.has_more():
        return []
    records = fetched._partition_records  # noqa: SLF001 - its place is taken
    if not isinstance(records, RawRecords):
        records = fetched._partition_records = RawRecords(records)  # noqa: SLF001
    try:
        taken = records.take(most)
    except Exception:
        fetched._partition_records = None  # noqa: SLF001 - to be fetched again
        raise
    fetched._update_position()  # noqa: SLF001
    if records.is_exhausted:
        fetched._partition_records = None  # noqa: SLF001
    return taken
