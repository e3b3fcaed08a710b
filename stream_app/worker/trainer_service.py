"""The trainer between Faust and its memory: what is acknowledged, when it is saved, when a model is published."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from stream_app.adapters.checkpoints import CheckpointStore
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.core.topics import Topic
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.worker.http_ports import Progress, Readiness
from stream_app.worker.trainer_group import LogRange, TrainerPositionError
from stream_app.worker.trainer_publish import ModelPublisher
from stream_app.worker.trainer_run import TrainingRun

UNACKED_EVENTS = 100_000
"""More than these are not held back for the next checkpoint time: it is written at once."""

logger = logging.getLogger(__name__)


class Acknowledged(Protocol):
    """A Faust event, as far as it is needed here."""

    message: Any

    def ack(self) -> bool:
        """Let its offset be committed."""
        ...


class TrainerService:
    """Takes in events, saves, publishes. Everything runs on one event loop; only writing to the disk leaves it.

    An event is acknowledged when a checkpoint covers it, never earlier. A checkpoint is written before a snapshot is
    published, so that a version number never means two different models.

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
        self._roles = {settings.topic(topic): topic for topic in (Topic.TRAINING, Topic.POPULATION)}
        self._starts = {source: held.start for source, held in ranges.items()}
        self._ends = {source: held.end for source, held in ranges.items()}
        self._reached = {source: held.reached for source, held in ranges.items()}
        self._unacked: dict[tuple[Topic, int], deque[Acknowledged]] = {}
        self._unacked_count = 0
        self._saving = asyncio.Lock()
        self._saved_positions = dict(run.positions)
        self._saved_at = self._published_at = time.monotonic()
        self._published_days = 0
        self._counted = (0, 0, 0, 0)
        self.readiness_now = Readiness(ready=False, reason="joining the consumer group")

    def accept(self, event: Acknowledged) -> None:
        """Take in one event of the training or the population topic.

        Raises
        ------
        TrainerPositionError
            If records between the last one and this were never seen: another trainer has moved the group on.
        """
        message = event.message
        role = self._roles[message.topic]
        source = (message.topic, message.partition)
        expected = max(self._run.position(role, message.partition), self._starts.get(source, 0))
        if role is Topic.TRAINING and message.offset > expected:
            raise TrainerPositionError(
                f"{message.topic}/{message.partition}: offset {message.offset} came, {expected} was expected. Another "
                "trainer has learned in between; start again, and this one reads on from its own checkpoint"
            )
        self._run.accept(role, message.partition, message.offset, message.value)
        self._unacked.setdefault((role, message.partition), deque()).append(event)
        self._unacked_count += 1
        self.readiness_now = Readiness(ready=True)

    def forget_unacknowledged(self) -> None:
        """Drop events of partitions that were revoked: they come again, and are skipped then."""
        self._unacked.clear()
        self._unacked_count = 0

    async def housekeep(self, *, ends: Mapping[tuple[str, int], int]) -> None:
        """Learn what is at hand, and save and publish when it is time; call it several times a second.

        Parameters
        ----------
        ends
            Ends of the partitions as far as the consumer knows them.
        """
        self._ends.update(ends)
        self._run.flush()
        self._show_counts()
        now = time.monotonic()
        settings = self._settings
        # Before the first labels are due, newer population statistics alone make a better prior.
        moved = self._run.population_days > self._published_days
        enough = moved or self._run.examples_since_snapshot >= settings.snapshot_examples
        if enough and not self._catching_up() and now - self._published_at >= settings.snapshot_seconds:
            await self.publish()
        elif now - self._saved_at >= settings.checkpoint_seconds or self._unacked_count >= UNACKED_EVENTS:
            await self.save()

    async def save(self) -> None:
        """Write a checkpoint if anything is new, and acknowledge what it covers."""
        async with self._saving:
            await self._save(force=False)

    async def publish(self) -> ModelSnapshot:
        """Make a snapshot of the present model, save, then send it."""
        async with self._saving:
            population_days, snapshot = self._run.population_days, self._run.snapshot()
            await self._save(force=True)
            size = await self._publisher.publish(snapshot)
            self._published_at = time.monotonic()
            self._published_days = population_days
        self._metrics.count("snapshots_published")
        self._show_model(snapshot)
        logger.info(
            "model %s published",
            snapshot.version,
            extra=fields(examples=snapshot.trained_examples, bytes=size, auc=snapshot.metrics.get("all_auc")),
        )
        return snapshot

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

    def _catching_up(self) -> bool:
        """Tell whether the served model knows more: after a lost checkpoint, a half-learned one must not replace it."""
        return any(
            self._run.position(self._roles[topic], partition) < reached
            for (topic, partition), reached in self._reached.items()
            if self._roles[topic] is Topic.TRAINING
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
            extra=fields(records=acknowledged, learned=self._run.learned, bytes=len(body), seconds=seconds),
        )

    def _acknowledge(self, covered: Mapping[tuple[Topic, int], int]) -> int:
        done = 0
        for source, events in self._unacked.items():
            position = covered.get(source, 0)
            while events and events[0].message.offset < position:
                events.popleft().ack()
                done += 1
        self._unacked_count -= done
        return done

    def _show_counts(self) -> None:
        run, (learned, repeated, malformed, days) = self._run, self._counted
        self._metrics.count("examples_learned", run.learned - learned)
        self._metrics.count("examples_skipped", run.repeated - repeated, reason="repeated")
        self._metrics.count("examples_skipped", run.malformed - malformed, reason="malformed")
        self._metrics.count("population_days", run.population_days - days)
        self._counted = (run.learned, run.repeated, run.malformed, run.population_days)

    def _show_model(self, snapshot: ModelSnapshot) -> None:
        metrics = self._metrics
        metrics.gauge("model_published_timestamp_seconds", time.time())
        metrics.gauge("model_trained_examples", snapshot.trained_examples)
        metrics.gauge("model_trained_through_timestamp_seconds", snapshot.trained_through_ms / 1_000)
        for measure, value in snapshot.metrics.items():
            metrics.gauge("model_quality", value, measure=measure)
