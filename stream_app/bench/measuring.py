"""Counting committed offsets: what a consumer group has promised never to read again."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from types import TracebackType
from typing import Any, NamedTuple, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.bench.processes import Contender, cpu_seconds, family_of, peak_memory_mebibytes
from stream_app.core.topics import Topic
from stream_app.settings import Settings

SAMPLE_SECONDS = 0.25

WORKING_MARK = '"message": "restored"'
"""What each of several workers, or processes of one, logs once it has partitions and their customers."""


class ContenderError(RuntimeError):
    """A contender ended or made no progress; the message quotes the end of its output."""


class Sample(NamedTuple):
    """One look: committed events and CPU seconds so far, at a moment of the steady clock."""

    at_seconds: float
    committed: int
    clicks: int
    """Of the committed events."""
    cpu_seconds: float
    broker_cpu_seconds: float


class Measured(NamedTuple):
    """One run. The window begins and ends with a commit, so that rare commits do not blur it."""

    events: int
    seconds: float
    events_per_second: float
    cpu_microseconds_per_event: float | None
    broker_cpu_microseconds_per_event: float | None
    peak_memory_mebibytes: int | None
    start_seconds: float
    """From the start of the process to its first commit: imports, joining, restoring."""
    drained: bool
    """The backlog ended before the window did."""
    click_share: float
    """Of the measured events: who reads topics unmerged meets another mix than was fed, for a while."""
    processes: int = 1
    """That did the work; CPU time and memory are of all of them, with those that started them."""


def window_of(samples: Sequence[Sample]) -> tuple[Sample, Sample] | None:
    """Return the first and the last sample at which the commit moved; None where fewer than two did."""
    moved = [after for before, after in pairwise(samples) if after.committed != before.committed]
    return (moved[0], moved[-1]) if len(moved) > 1 and moved[0].committed != moved[-1].committed else None


class Commits:
    """Asks the broker what a group has committed on the shared inputs; an async context manager."""

    def __init__(self, settings: Settings, topics: set[str]) -> None:
        self._admin: Any = AIOKafkaAdminClient(**client_arguments(settings))
        self._group = settings.app_id
        self._topics = topics

    async def __aenter__(self) -> Self:
        await self._admin.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._admin.close()

    async def total(self) -> int:
        """Return the number of committed events; 0 while the group is unknown."""
        return sum((await self.by_topic()).values())

    async def by_topic(self) -> Counter[str]:
        """Return the numbers of committed events; empty while the group is unknown."""
        try:
            offsets = await self._admin.list_consumer_group_offsets(self._group)
        except KafkaError:
            return Counter()
        counts: Counter[str] = Counter()
        for tp, found in offsets.items():
            if tp.topic in self._topics:
                counts[tp.topic] += max(0, found.offset)
        return counts


class Watch:
    """Measures running contenders of one group.

    Parameters
    ----------
    commits
        Of the group.
    contenders
        Its processes.
    broker_pid
        The broker's process, where it is ours.
    backlog
        Events that there are.
    """

    def __init__(self, commits: Commits, contenders: Sequence[Contender], broker_pid: int | None, backlog: int) -> None:
        self._commits = commits
        self._contenders = contenders
        self._broker_pid = broker_pid
        self._backlog = backlog
        self._begun = time.monotonic()

    async def measure(self, warm_up_seconds: float, seconds: float, start_seconds: float) -> Measured:
        """Wait for the first commit, warm up, then measure.

        Raises
        ------
        ContenderError
            It ended, or committed nothing within `start_seconds`, or nothing within the window.
        """
        await self._wait_until_they_work(start_seconds)
        started = time.monotonic() - self._begun
        samples = [await self._sample()]
        warm = samples[0].at_seconds + warm_up_seconds
        while samples[-1].at_seconds < warm + seconds and not self._is_drained(samples[-1]):
            await asyncio.sleep(SAMPLE_SECONDS)
            self._check()
            samples.append(await self._sample())
        # Where the backlog ends in the warm-up (reading alone is that fast), the warm-up is all that there is.
        window = window_of([sample for sample in samples if sample.at_seconds >= warm])
        if window is None and self._is_drained(samples[-1]):
            window = window_of(samples)
        if window is None:
            drained = self._is_drained(samples[-1])
            remedy = "the backlog is too small: raise --events" if drained else "raise --seconds: some commit every 5 s"
            raise ContenderError(f"fewer than two commits in {seconds:.0f} s; {remedy}\n{self._tails()}")
        first, last = window
        events = last.committed - first.committed
        peaks = [peak_memory_mebibytes(pid) for pid in self._pids()]
        return Measured(
            events,
            round(last.at_seconds - first.at_seconds, 3),
            round(events / (last.at_seconds - first.at_seconds), 1),
            _per_event(last.cpu_seconds - first.cpu_seconds, events),
            _per_event(last.broker_cpu_seconds - first.broker_cpu_seconds, events),
            sum(peak for peak in peaks if peak is not None) or None,
            round(started, 1),
            self._is_drained(samples[-1]),
            round((last.clicks - first.clicks) / events, 3),
            sum(contender.processes for contender in self._contenders),
        )

    def _is_drained(self, sample: Sample) -> bool:
        return sample.committed >= self._backlog

    async def _sample(self) -> Sample:
        counts = await self._commits.by_topic()
        clicks = sum(count for topic, count in counts.items() if topic.endswith(Topic.CLICKSTREAM.value))
        cpu = sum(cpu_seconds(pid) or 0.0 for pid in self._pids())
        broker = cpu_seconds(self._broker_pid) if self._broker_pid is not None else None
        return Sample(time.monotonic(), counts.total(), clicks, cpu, broker or 0.0)

    async def _wait_until_they_work(self, limit_seconds: float) -> None:
        """Wait for the first commit; of several, for the first after all of them have said that they are at work."""
        deadline = time.monotonic() + limit_seconds
        before, all_work = 0, sum(contender.processes for contender in self._contenders) == 1
        while not all_work or await self._commits.total() <= before:
            self._check()
            if time.monotonic() > deadline:
                raise ContenderError(f"committed nothing in {limit_seconds:.0f} s\n{self._tails()}")
            if not all_work and all(contender.all_said(WORKING_MARK) for contender in self._contenders):
                before, all_work = await self._commits.total(), True
            await asyncio.sleep(SAMPLE_SECONDS)

    def _pids(self) -> list[int]:
        return [pid for contender in self._contenders for pid in family_of(contender.pid)]

    def _check(self) -> None:
        for contender in self._contenders:
            if contender.ended is not None:
                raise ContenderError(f"ended with status {contender.ended}\n{contender.log_tail()}")

    def _tails(self) -> str:
        return "\n".join(contender.log_tail() for contender in self._contenders)


def _per_event(seconds: float, events: int) -> float | None:
    return round(seconds / events * 1e6, 2) if seconds > 0 else None
