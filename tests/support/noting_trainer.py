"""A trainer process whose pupil only notes what it was given, in order, and does not drop repeats itself."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import msgspec

from stream_app.adapters.model_registry import pointer_record, snapshot_record
from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.features import FEATURES_HASH
from stream_app.core.topics import Topic
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.worker.pupils import Lesson, Publication, PupilKind
from stream_app.worker.trainer import run_trainer


class Notes(msgspec.Struct):
    sequences: list[int] = []
    days: list[int] = []
    published: int = 0


class NotingPupil:
    def __init__(self, notes: Notes | None = None) -> None:
        self.notes = notes or Notes()
        self._news = 0

    @classmethod
    def restored(cls, body: bytes) -> "NotingPupil":
        return cls(msgspec.msgpack.decode(body, type=Notes))

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        for lesson in lessons:
            if isinstance(lesson, TrainingExample):
                assert topic is Topic.TRAINING
                self.notes.sequences.append(lesson.sequence)
            elif isinstance(lesson, PopulationDay):
                assert topic is Topic.POPULATION
                self.notes.days.append(lesson.day)
        self._news += len(lessons)
        return len(lessons)

    def is_due(self) -> bool:
        return self._news >= 10

    def publication(self) -> Publication:
        self._news = 0
        self.notes.published += 1
        snapshot = ModelSnapshot(
            version=f"noting-{self.notes.published:05d}",
            model="noting",
            horizon_days=30,
            features_hash=FEATURES_HASH,
            inputs=(),
            intercept=float(len(self.notes.sequences)),
            trained_examples=len(self.notes.sequences),
        )
        return Publication(
            snapshot.version,
            (snapshot_record(snapshot, b""), pointer_record("served", 30, snapshot.version)),
            horizon_days=30,
        )

    def checkpoint(self) -> bytes:
        return msgspec.msgpack.encode(self.notes)


NOTING = [PupilKind("noting", frozenset({Topic.TRAINING, Topic.POPULATION}), NotingPupil, NotingPupil.restored)]

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(run_trainer(Settings(), NOTING))
