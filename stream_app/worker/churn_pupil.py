"""The first pupil: learns churn from matured observations and population sums, and publishes the model snapshot."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from stream_app.adapters.model_registry import pointer_record, snapshot_record
from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.topics import Topic
from stream_app.learning.learner import Learner
from stream_app.learning.population_keeper import Defer
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.worker.pupils import Lesson, Measure, Publication, PupilKind

NAME: Final = "churn"
TOPICS: Final = frozenset({Topic.TRAINING, Topic.POPULATION})


class Learns(Protocol):
    """The learner, as this pupil needs it."""

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        """Learn a block in order, repeats left out; return how many were new."""
        ...

    def observe_population(self, day: PopulationDay) -> object:
        """Take in one partition's sums of one day, repeats left out."""
        ...

    def snapshot(self) -> ModelSnapshot:
        """Return the present model under a version of its own."""
        ...

    def checkpoint(self) -> bytes:
        """Return everything that is needed to go on as if nothing had happened."""
        ...


class ChurnPupil:
    """Feeds a churn learner and says when its model is worth publishing.

    Parameters
    ----------
    learner
        Fresh or restored.
    settings
        How many new examples are worth a snapshot; the HMAC key.
    """

    def __init__(self, learner: Learns, settings: Settings) -> None:
        self.learner = learner
        self._wanted_examples = settings.snapshot_examples
        self._key = settings.model_key.get_secret_value().encode()
        self._new_examples = 0
        self._population_moved = False

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Learn examples or merge population days; return how many were new."""
        if topic is Topic.TRAINING:
            # Repeats count as news as well: who waits for the trainer to pass them is not to wait for ever.
            self._new_examples += len(lessons)
            return self.learner.learn([lesson for lesson in lessons if isinstance(lesson, TrainingExample)])
        for lesson in lessons:
            if isinstance(lesson, PopulationDay):
                self.learner.observe_population(lesson)
        self._population_moved = True
        return len(lessons)

    def is_due(self) -> bool:
        """Say whether enough was learned; before the first labels, newer population sums alone better the prior."""
        return self._population_moved or self._new_examples >= self._wanted_examples

    def publication(self) -> Publication:
        """Return the snapshot, then the pointer to it."""
        self._new_examples, self._population_moved = 0, False
        return publication_of(self.learner.snapshot(), self._key)

    def checkpoint(self) -> bytes:
        """Return the learner's checkpoint."""
        return self.learner.checkpoint()


class FurtherPupil(ChurnPupil):
    """Learns churn over a longer horizon, beside the one that is served; its measures bear the horizon's name."""

    @classmethod
    def kind_of(cls, settings: Settings, horizon_days: int) -> PupilKind:
        """Return the kind of pupil for the trainer's list: the configured model, for one further horizon."""
        defer = in_a_thread()
        return PupilKind(
            f"{NAME}-h{horizon_days}",
            TOPICS,
            lambda: cls(Learner(horizon_days, settings.model, defer=defer), settings),
            lambda body: cls(Learner.restore(body, defer), settings),
        )

    def publication(self) -> Publication:
        """Return the snapshot, then the pointer to it."""
        found = super().publication()
        named = f"h{found.horizon_days}_"
        measures = [
            measure._replace(labels={"measure": named + measure.labels["measure"]})
            for measure in found.measures
            if "measure" in measure.labels
        ]
        return found._replace(measures=tuple(measures))


def in_a_thread() -> Defer:
    """Return what computes one fit after the other beside the consumer's loop."""
    executor = ThreadPoolExecutor(1, thread_name_prefix="bgnbd")
    return lambda fit: executor.submit(fit).result


def publication_of(snapshot: ModelSnapshot, key: bytes) -> Publication:
    """Return a snapshot, signed if there is a key, and the pointer to it as they go to the topic."""
    return Publication(
        snapshot.version,
        (snapshot_record(snapshot, key), pointer_record("served", snapshot.horizon_days, snapshot.version)),
        _measures(snapshot),
        snapshot.horizon_days,
    )


def _measures(snapshot: ModelSnapshot) -> tuple[Measure, ...]:
    return (
        Measure("model_trained_examples", snapshot.trained_examples),
        Measure("model_trained_through_timestamp_seconds", snapshot.trained_through_ms / 1_000),
        *(Measure("model_quality", value, {"measure": name}) for name, value in snapshot.metrics.items()),
    )
