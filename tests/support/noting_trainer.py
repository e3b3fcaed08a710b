"""A trainer process whose learner only notes what it was given, in order, and does not drop repeats itself."""

import asyncio
import logging
import sys
from collections.abc import Sequence

import msgspec

from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.features import FEATURES_HASH
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.worker.trainer import LearnerFactory, run_trainer


class Notes(msgspec.Struct):
    sequences: list[int] = []
    days: list[int] = []
    snapshots: int = 0


class NotingLearner:
    def __init__(self, notes: Notes | None = None) -> None:
        self.notes = notes or Notes()

    @classmethod
    def restored(cls, body: bytes) -> "NotingLearner":
        return cls(msgspec.msgpack.decode(body, type=Notes))

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        self.notes.sequences += [example.sequence for example in examples]
        return len(examples)

    def observe_population(self, day: PopulationDay) -> None:
        self.notes.days.append(day.day)

    def snapshot(self) -> ModelSnapshot:
        self.notes.snapshots += 1
        return ModelSnapshot(
            version=f"noting-{self.notes.snapshots:05d}",
            model="noting",
            horizon_days=30,
            features_hash=FEATURES_HASH,
            inputs=(),
            intercept=float(len(self.notes.sequences)),
            trained_examples=len(self.notes.sequences),
        )

    def checkpoint(self) -> bytes:
        return msgspec.msgpack.encode(self.notes)


NOTING = LearnerFactory(NotingLearner, NotingLearner.restored)

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(run_trainer(Settings(), NOTING))
