"""What the trainer teaches: pupils, fed by topic from one log position, saved as one, each publishing what it knows.

A pupil is added to the trainer by one entry in `pupils_of` (`worker/trainer.py`). Whatever it holds must be a function
of the records that it was given, in their order: a trainer that restarts from a checkpoint reads on from there.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from stream_app.adapters.metrics_catalogue import GaugeName
from stream_app.adapters.model_registry import ModelRecord
from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.model_events import ModelEvent
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.decisions.lift_report import Ratio

Lesson = TrainingExample | PopulationDay | DecisionOutcome | ModelEvent
"""One decoded record: of `training-examples`, `population-statistics`, `decision-outcomes`, `model-events` in turn."""


class Measure(NamedTuple):
    """A gauge to set once a publication is out."""

    name: GaugeName
    value: float
    labels: Mapping[str, str] = {}


class Publication(NamedTuple):
    """What goes to `model-snapshots` as one: content first, the pointer to it last."""

    version: str
    records: tuple[ModelRecord, ...]
    measures: tuple[Measure, ...] = ()
    horizon_days: int | None = None
    """Old churn models of this horizon leave the topic afterwards; None: nothing does."""


class Pupil(Protocol):
    """A learner as the trainer sees it. All methods run on the trainer's event loop: none may take long."""

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Learn a block of one topic's records, in order, repeats left out; return how many were new.

        How a topic is cut into blocks is chance: nothing may depend on it.
        """
        ...

    def is_due(self) -> bool:
        """Say whether so much is new since the last publication that it should be published."""
        ...

    def publication(self) -> Publication:
        """Return what is to be published now, and count as new from here on."""
        ...

    def checkpoint(self) -> bytes:
        """Return everything that is needed to go on as if nothing had happened. No pickle."""
        ...


class PupilKind(NamedTuple):
    """How a pupil begins, what it reads, and how it comes back from a checkpoint.

    One that is new to a trainer with a checkpoint begins on topics that the trainer already read where the trainer is,
    and on others at their beginning.
    """

    name: str
    """Its part of the checkpoint: never to be renamed."""
    topics: frozenset[Topic]
    fresh: Callable[[], Pupil]
    restored: Callable[[bytes], Pupil]


def bounds_of(name: GaugeName, ratio: Ratio, labels: dict[str, str]) -> Iterator[Measure]:
    """Yield an estimate and its bounds; what cannot be said is not a number, between infinite bounds."""
    for bound, value, unknown in (
        ("estimate", ratio.estimate, math.nan),
        ("low", ratio.low, -math.inf),
        ("high", ratio.high, math.inf),
    ):
        yield Measure(name, unknown if value is None else value, {**labels, "bound": bound})
