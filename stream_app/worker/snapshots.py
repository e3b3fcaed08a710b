"""Follows the model snapshots: every worker reads the whole compacted topic by itself, without a consumer group."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.consumers import stop_consumer
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.adapters.model_registry import PRIOR, Choice, ModelRefusedError, ModelRegistry
from stream_app.core.topics import Topic
from stream_app.learning.scorer import PriorScorer, Scorer
from stream_app.learning.selected import scorer_of
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.worker.further_models import FurtherModels

POLL_MS = 1_000
READING: Final[dict[str, Any]] = {"group_id": None, "enable_auto_commit": False, "auto_offset_reset": "earliest"}
"""How the topic is read: by everyone for themselves, from the beginning."""

logger = logging.getLogger(__name__)


class SnapshotFollower:
    """Keeps a worker's model up to date. What does not fit is refused, said and counted; the last good one stays.

    `start` reads what is there and hands over the model to begin with; `run` follows until cancelled, and ends with an
    exception only on what nobody foresaw: let that end the process.

    Parameters
    ----------
    settings
        Brokers, topic name, horizon, HMAC key, pinned model.
    metrics
        Model version, age, quality; refusals.
    on_scorer
        Called on the event loop with each scorer that is to be in force from now on.
    patience_seconds
        How long to wait for brokers and topic at the start.
    on_read
        Called on the event loop whenever something was read, at the start too, for what else stands on the topic.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Recorder,
        on_scorer: Callable[[Scorer], None],
        patience_seconds: float = 30.0,
        on_read: Callable[[ModelRegistry], object] | None = None,
    ) -> None:
        self._settings = settings
        self._on_read = on_read
        self._metrics = metrics
        self._on_scorer = on_scorer
        self._patience_seconds = patience_seconds
        self._registry = ModelRegistry()
        self._key = settings.model_key.get_secret_value().encode()
        self._consumer: AIOKafkaConsumer | None = None
        self._further = FurtherModels(settings.extra_horizons_days, settings.pinned_model, self._key, metrics)
        self._first: Scorer | None = None
        self._served = ""
        self._digest = ""
        self._refused: tuple[str, int] | None = None

    @property
    def served_version(self) -> str:
        """Return the version handed over last; "prior" before the first."""
        return self._served or PRIOR

    @property
    def reports(self) -> Mapping[str, bytes]:
        """Return what the trainer reports, by name, as JSON."""
        return self._registry.reports

    async def start(self) -> None:
        """Connect, read the topic to its present end and hand over the scorer to begin with (the prior if none fits).

        Raises
        ------
        aiokafka.errors.KafkaError
            If the brokers cannot be reached.
        RuntimeError
            If the topic did not show up in `patience_seconds`.
        """
        topic = self._settings.topic(Topic.SNAPSHOTS)
        consumer = AIOKafkaConsumer(
            topic,
            **client_arguments(self._settings),
            **READING,
            client_id=f"{self._settings.app_id}-snapshots",
        )
        self._consumer = consumer
        await read_registry(consumer, self._registry, self._patience_seconds)
        self._further.follow(self._registry)
        if not self._choose():
            self._hand_over(PriorScorer(self._settings.horizon_days), None, Choice("", "nobody"))
        self._tell()

    async def run(self) -> None:
        """Follow the topic until cancelled."""
        while True:
            if await self._poll():
                if self._further.follow(self._registry) and self._first is not None:
                    self._on_scorer(self._further.beside(self._first))
                self._choose()
                self._tell()

    async def stop(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop_consumer(consumer)

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            with contextlib.suppress(Exception):
                await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _poll(self) -> int:
        assert self._consumer is not None, "start first"
        return await _read_some(self._consumer, self._registry)

    def _tell(self) -> None:
        if self._on_read is not None:
            self._on_read(self._registry)

    def _choose(self) -> bool:
        """Put the chosen version into force; return whether a model was ever handed over."""
        choice = self._registry.choice(self._settings.horizon_days, self._settings.pinned_model)
        if not choice.version or (choice.version, self._digest_of(choice.version)) == (self._served, self._digest):
            return bool(self._served)
        if choice.version == PRIOR:
            self._hand_over(PriorScorer(self._settings.horizon_days), None, choice)
            return True
        try:
            snapshot = self._registry.load(choice.version, self._key, self._settings.horizon_days)
        except ModelRefusedError as error:
            self._refuse(choice, error)
            return bool(self._served)
        self._hand_over(scorer_of(snapshot), snapshot, choice)
        return True

    def _refuse(self, choice: Choice, error: ModelRefusedError) -> None:
        stored = self._registry.snapshots.get(choice.version)
        refused = (choice.version, stored.stored_at_ms if stored else 0)
        if refused == self._refused:
            return
        self._refused = refused
        self._metrics.count("snapshots_refused", reason=error.code)
        logger.error(
            "model not served, %s stays in force: %s",
            self.served_version,
            error,
            extra=fields(reason=error.code, chosen_by=choice.by),
        )

    def _hand_over(self, scorer: Scorer, snapshot: ModelSnapshot | None, choice: Choice) -> None:
        if self._served:
            self._forget_version(self._served)
        self._served, self._digest = scorer.version, self._digest_of(scorer.version)
        self._refused = None
        self._first = scorer
        self._on_scorer(self._further.beside(scorer))
        stored = self._registry.snapshots.get(scorer.version)
        self._show(scorer, snapshot, stored.stored_at_ms if stored else 0)
        logger.info("model %s in force", scorer.version, extra=fields(chosen_by=choice.by))

    def _digest_of(self, version: str) -> str:
        stored = self._registry.snapshots.get(version)
        return stored.digest if stored is not None else ""

    def _forget_version(self, version: str) -> None:
        self._metrics.forget("model_info", version=version, horizon_days=str(self._settings.horizon_days))

    def _show(self, scorer: Scorer, snapshot: ModelSnapshot | None, stored_at_ms: int) -> None:
        metrics = self._metrics
        metrics.gauge("model_info", 1, version=scorer.version, horizon_days=str(scorer.horizon_days))
        metrics.gauge("model_published_timestamp_seconds", stored_at_ms / 1_000)
        if snapshot is None:
            return
        metrics.count("snapshots_loaded")
        metrics.gauge("model_trained_examples", snapshot.trained_examples)
        metrics.gauge("model_trained_through_timestamp_seconds", snapshot.trained_through_ms / 1_000)
        for measure, value in snapshot.metrics.items():
            metrics.gauge("model_quality", value, measure=measure)


async def read_registry(consumer: AIOKafkaConsumer, registry: ModelRegistry, patience_seconds: float) -> None:
    """Start a group-less consumer on the topic and read it to its present end.

    Raises
    ------
    RuntimeError
        If the topic did not show up in `patience_seconds`.
    """
    try:
        # Without a group, aiokafka waits for ever for a topic that is not there.
        async with asyncio.timeout(patience_seconds):
            await consumer.start()
    except TimeoutError:
        names = ", ".join(consumer.subscription())
        raise RuntimeError(
            f"topic {names} did not show up in {patience_seconds:.0f} s: run 'stream-app topics check'"
        ) from None
    await read_started(consumer, registry)


async def read_started(consumer: AIOKafkaConsumer, registry: ModelRegistry) -> None:
    """Read the topic to its present end, with a consumer that was started."""
    for partition, end in (await consumer.end_offsets(consumer.assignment())).items():
        while await consumer.position(partition) < end:
            await _read_some(consumer, registry)


async def _read_some(consumer: AIOKafkaConsumer, registry: ModelRegistry) -> int:
    batches = await consumer.getmany(timeout_ms=POLL_MS)
    records = [record for batch in batches.values() for record in batch]
    for record in records:
        registry.apply(record.key, record.value, record.headers, record.timestamp)
    return len(records)
