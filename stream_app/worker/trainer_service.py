"""The trainer between Faust and its memory: what is acknowledged, when it is saved, when a pupil publishes."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from stream_app.adapters.checkpoints import CheckpointStore
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.worker.http_ports import Progress, Readiness
from stream_app.worker.pupils import Publication
from stream_app.worker.trainer_group import LogRange, TrainerPositionError
from stream_app.worker.trainer_publish import ModelPublisher
from stream_app.worker.trainer_run import TrainingRun

UNACKED_RECORDS = 100_000
"""More than these are not held back for the next checkpoint time: it is written at once."""

logger = logging.getLogger(__name__)


class _Taken(NamedTuple):
    """A chunk that was learned and waits for a checkpoint that covers it."""

    last_offset: int
    records: int
    finish: Callable[[], object]


class TrainerService:
    """Takes in chunks, saves, publishes. Everything runs on one event loop; only writing to the disk leaves it.

    A chunk is finished, so that its offsets may be committed, when a checkpoint covers it, never earlier. A checkpoint
    is written before anything is published, so that a version number never means two different models.

    Parameters
    ----------
    settings
        Topic names; how often to save and publish.
    run
        The trainer's memory, fresh or restored.
    ranges
        What the partitions held at the start.
    """

    def __init__(
        self,
        settings: Settings,
        run: TrainingRun,
        store: CheckpointStore,
        publisher: ModelPublisher,
        metrics: Recorder,
        ranges: Mapping[tuple[str, int], LogRange],
    ) -> None:
        self._settings = settings
        self._run = run
        self._store = store
        self._publisher = publisher
        self._metrics = metrics
        self._roles = {settings.topic(topic): topic for topic in run.topics}
        self._starts = {source: held.start for source, held in ranges.items()}
        self._ends = {source: held.end for source, held in ranges.items()}
        self._reached = {source: held.reached for source, held in ranges.items()}
        self._taken: dict[tuple[Topic, int], deque[_Taken]] = {}
        self._unacked_records = 0
        self._saving = asyncio.Lock()
        self._saved_positions = dict(run.positions)
        self._saved_at = time.monotonic()
        self._published_at = dict.fromkeys(run.pupils, self._saved_at)
        self._counted = (0, 0, 0, 0)
        self.readiness_now = Readiness(ready=False, reason="joining the consumer group")

    def accept(self, topic: str, partition: int, records: Sequence[Any], finish: Callable[[], object]) -> None:
        """Take in consecutive records of one partition (Kafka client's own, with `offset` and `value`).

        Parameters
        ----------
        topic, partition
            Where they come from.
        records
            Not empty, oldest first.
        finish
            Called when a checkpoint covers them all.

        Raises
        ------
        TrainerPositionError
            If records between the last one and these were never seen: another trainer has moved the group on.
        """
        role = self._roles[topic]
        first = records[0].offset
        expected = max(self._run.position(role, partition), self._starts.get((topic, partition), 0))
        if role is not Topic.POPULATION and first > expected:  # compaction leaves gaps
            raise TrainerPositionError(
                f"{topic}/{partition}: offset {first} came, {expected} was expected. Another trainer has learned in "
                "between; start again, and this one reads on from its own checkpoint"
            )
        for record in records:
            self._run.accept(role, partition, record.offset, record.value)
        taken = _Taken(records[-1].offset, len(records), finish)
        self._taken.setdefault((role, partition), deque()).append(taken)
        self._unacked_records += taken.records
        self.readiness_now = Readiness(ready=True)

    def forget_unacknowledged(self) -> None:
        """Drop chunks of partitions that were revoked: they come again, and are skipped then."""
        self._taken.clear()
        self._unacked_records = 0

    async def housekeep(self, *, ends: Mapping[tuple[str, int], int]) -> None:
        """Learn what is at hand, and save and publish when it is time; call it several times a second.

        Parameters
        ----------
        ends
            Ends of the partitions as far as the consumer knows them.
        """
        self._ends.update(ends)
        due = self._run.due()
        self._show_counts()
        now = time.monotonic()
        published = False
        for name in due:
            if now - self._published_at[name] >= self._settings.snapshot_seconds and not self._catching_up(name):
                await self.publish(name)
                published = True
        overdue = now - self._saved_at >= self._settings.checkpoint_seconds
        if not published and (overdue or self._unacked_records >= UNACKED_RECORDS):
            await self.save()

    async def save(self) -> None:
        """Write a checkpoint if anything is new, and acknowledge what it covers."""
        async with self._saving:
            await self._save(force=False)

    async def publish(self, name: str) -> Publication:
        """Take a pupil's publication, save, then send it."""
        async with self._saving:
            publication, positions = self._run.publication(name), self._run.positions_by_topic()
            await self._save(force=True)
            size = await self._publisher.publish(publication, positions)
            self._published_at[name] = time.monotonic()
        if publication.horizon_days is not None:  # a churn model, not a report
            self._metrics.count("snapshots_published")
            self._metrics.gauge("model_published_timestamp_seconds", time.time())
        for measure in publication.measures:
            self._metrics.gauge(measure.name, measure.value, **measure.labels)
        logger.info("%s published by pupil %s", publication.version, name, extra=fields(bytes=size))
        return publication

    def readiness(self) -> Readiness:
        """Tell whether the trainer takes in records."""
        return self.readiness_now

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """Return what was learned so far of each partition: committed offsets follow with the next checkpoint."""
        found = {}
        for (topic, partition), end in self._ends.items():
            position = max(self._run.position(self._roles[topic], partition), self._starts.get((topic, partition), 0))
            found[topic, partition] = Progress(position, end)
        return found

    def _catching_up(self, name: str) -> bool:
        """Tell whether what is served knows more: after a lost checkpoint, a half-taught pupil must not replace it."""
        return any(
            self._run.position(self._roles[topic], partition) < reached
            for (topic, partition), reached in self._reached.items()
            if self._roles[topic] in self._run.topics_of[name] and self._roles[topic] is not Topic.POPULATION
        )

    async def _save(self, *, force: bool) -> None:
        self._saved_at = time.monotonic()
        if not force and self._run.positions == self._saved_positions:
            self._acknowledge(self._saved_positions)
            return
        body = self._run.checkpoint()
        covered = dict(self._run.positions)
        self._show_counts()
        await asyncio.to_thread(self._store.write, body)
        self._saved_positions = covered
        acknowledged = self._acknowledge(covered)
        seconds = time.monotonic() - self._saved_at
        self._metrics.count("checkpoints")
        self._metrics.observe("checkpoint_seconds", seconds)
        self._metrics.gauge("last_checkpoint_timestamp_seconds", time.time())
        logger.info(
            "checkpoint",
            extra=fields(
                records=acknowledged, learned=self._run.learned[Topic.TRAINING], bytes=len(body), seconds=seconds
            ),
        )

    def _acknowledge(self, covered: Mapping[tuple[Topic, int], int]) -> int:
        done = 0
        for source, chunks in self._taken.items():
            position = covered.get(source, 0)
            while chunks and chunks[0].last_offset < position:
                taken = chunks.popleft()
                taken.finish()
                done += taken.records
        self._unacked_records -= done
        return done

    def _show_counts(self) -> None:
        run, (learned, repeated, malformed, days) = self._run, self._counted
        self._counted = (run.learned[Topic.TRAINING], run.repeated, run.malformed, run.learned[Topic.POPULATION])
        self._metrics.count("examples_learned", self._counted[0] - learned)
        self._metrics.count("examples_skipped", self._counted[1] - repeated, reason="repeated")
        self._metrics.count("examples_skipped", self._counted[2] - malformed, reason="malformed")
        self._metrics.count("population_days", self._counted[3] - days)
