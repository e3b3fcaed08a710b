"""What the trainer does with records, checkpoints and snapshots: no Kafka, no clock, so that crashes can be tested."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.topics import Topic
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.wire.encode import decode_example, decode_population_day

FORMAT = 1
BLOCK_EXAMPLES = 256

logger = logging.getLogger(__name__)


class Learns(Protocol):
    """The learner, as the trainer needs it. What it holds is a function of the examples and sums it was given."""

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        """Learn a block in order, repeats left out; return how many were new."""
        ...

    def observe_population(self, day: PopulationDay) -> None:
        """Merge one partition's sums of one day; a newer revision replaces an older one."""
        ...

    def snapshot(self) -> ModelSnapshot:
        """Return the present model under a version of its own."""
        ...

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs to go on as if nothing had happened."""
        ...


class CheckpointFormatError(RuntimeError):
    """The checkpoint was written by a newer version."""


class Skipped(NamedTuple):
    """Why records were not learned; for metrics."""

    repeated: int
    malformed: int


class _Saved(msgspec.Struct, array_like=True):
    """Fields may only be appended, each with a default."""

    format: int
    positions: dict[str, dict[int, int]]
    learner: bytes


class TrainingRun:
    """One trainer's memory: the learner and how far it has read, saved and restored as one.

    Parameters
    ----------
    learner
        Fresh, or restored from the same checkpoint as `positions`.
    positions
        Per topic and partition, the offset of the next record to take in. Absent: from the beginning.
    """

    def __init__(
        self,
        learner: Learns,
        positions: dict[tuple[Topic, int], int] | None = None,
    ) -> None:
        self.learner = learner
        self.positions = dict(positions or {})
        self.examples_since_snapshot = 0
        self.learned = 0
        self.population_days = 0
        self.repeated = 0
        self.malformed = 0
        self._block: list[TrainingExample] = []

    @classmethod
    def restored(cls, body: bytes, restore: Callable[[bytes], Learns]) -> "TrainingRun":
        """Return the run that `checkpoint` saved.

        Raises
        ------
        CheckpointFormatError
            If it is of a format that this version does not know.
        """
        saved = msgspec.msgpack.decode(body, type=_Saved)
        if saved.format > FORMAT:
            raise CheckpointFormatError(
                f"the trainer's checkpoint has format {saved.format}, this version reads up to {FORMAT}: "
                "run the version that wrote it, or a newer one"
            )
        positions = {
            (Topic(topic), partition): offset
            for topic, by_partition in saved.positions.items()
            for partition, offset in by_partition.items()
        }
        return cls(restore(saved.learner), positions)

    def position(self, topic: Topic, partition: int) -> int:
        """Return the offset of the next record to take in."""
        return self.positions.get((topic, partition), 0)

    def accept(self, topic: Topic, partition: int, offset: int, value: bytes | None) -> bool:
        """Take in one record; return False for one that the position already covers.

        Examples are learned in blocks: call `flush` when no more are at hand. A record that cannot be read is counted
        and logged, not learned, and costs nothing else.
        """
        if offset < self.position(topic, partition):
            self.repeated += 1
            return False
        try:
            if value is None:
                pass  # compaction's tombstone
            elif topic is Topic.TRAINING:
                self._block.append(decode_example(value))
            elif topic is Topic.POPULATION:
                self.learner.observe_population(decode_population_day(value))
                self.population_days += 1
        except ValueError as error:
            self.malformed += 1
            logger.error("record not learned: %s/%d offset %d: %s", topic.value, partition, offset, error)  # noqa: TRY400 - the message says it all
        self.positions[topic, partition] = offset + 1
        if len(self._block) >= BLOCK_EXAMPLES:
            self.flush()
        return True

    def flush(self) -> None:
        """Learn what was taken in."""
        block, self._block = self._block, []
        if not block:
            return
        new = self.learner.learn(block)
        self.learned += new
        self.repeated += len(block) - new
        self.examples_since_snapshot += new

    def checkpoint(self) -> bytes:
        """Learn what was taken in and return learner and positions as one."""
        self.flush()
        positions: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in self.positions.items():
            positions.setdefault(topic.value, {})[partition] = offset
        return msgspec.msgpack.encode(_Saved(format=FORMAT, positions=positions, learner=self.learner.checkpoint()))

    def snapshot(self) -> ModelSnapshot:
        """Return the present model for publication."""
        self.flush()
        self.examples_since_snapshot = 0
        return self.learner.snapshot()
