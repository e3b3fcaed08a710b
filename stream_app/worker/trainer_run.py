"""What the trainer does with records, checkpoints and publications: no Kafka, no clock: crashes can be tested."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from pydantic import ValidationError

from stream_app.core.model_events import ModelEvent
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.wire.encode import decode_example, decode_population_day
from stream_app.worker.pupils import Lesson, Publication, Pupil, PupilKind

FORMAT = 2
BLOCK_RECORDS = 256
_FIRST_PUPIL = "churn"
"""Whose checkpoint a format 1 file is."""

_DECODERS: Final[Mapping[Topic, Callable[[bytes], Lesson]]] = {
    Topic.TRAINING: decode_example,
    Topic.POPULATION: decode_population_day,
    Topic.OUTCOMES: DecisionOutcome.model_validate_json,
    Topic.MODEL_EVENTS: ModelEvent.model_validate_json,
}

logger = logging.getLogger(__name__)


class CheckpointFormatError(RuntimeError):
    """The checkpoint was written by a newer version."""


class _Saved(msgspec.Struct, array_like=True):
    """Fields may only be appended, each with a default."""

    format: int
    positions: dict[str, dict[int, int]]
    learner: bytes
    """Format 1: there was one learner."""
    pupils: dict[str, bytes] = {}


class TrainingRun:
    """One trainer's memory: its pupils and how far it has read, saved and restored as one.

    Parameters
    ----------
    kinds
        Whom it teaches.
    pupils
        Those that come from the same checkpoint as `positions`, by name; the others begin fresh.
    positions
        Per topic and partition, the offset of the next record to take in. Absent: from the beginning.
    """

    def __init__(
        self,
        kinds: Sequence[PupilKind],
        pupils: Mapping[str, Pupil] | None = None,
        positions: Mapping[tuple[Topic, int], int] | None = None,
    ) -> None:
        known = pupils or {}
        self.pupils: dict[str, Pupil] = {kind.name: known.get(kind.name) or kind.fresh() for kind in kinds}
        self.topics = tuple(topic for topic in Topic if any(topic in kind.topics for kind in kinds))
        self.topics_of = {kind.name: kind.topics for kind in kinds}
        self.positions = dict(positions or {})
        self.learned: Counter[Topic] = Counter()
        """New records, by topic."""
        self.repeated = 0
        self.malformed = 0
        self._readers = {
            topic: [self.pupils[kind.name] for kind in kinds if topic in kind.topics] for topic in self.topics
        }
        self._blocks: dict[Topic, list[Lesson]] = {topic: [] for topic in self.topics}

    @classmethod
    def restored(cls, body: bytes, kinds: Sequence[PupilKind]) -> "TrainingRun":
        """Return the run that `checkpoint` saved. A pupil that is no longer taught is forgotten.

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
        bodies = saved.pupils if saved.format > 1 else {_FIRST_PUPIL: saved.learner}
        pupils = {kind.name: kind.restored(bodies[kind.name]) for kind in kinds if kind.name in bodies}
        positions = {
            (Topic(topic), partition): offset
            for topic, by_partition in saved.positions.items()
            for partition, offset in by_partition.items()
        }
        return cls(kinds, pupils, positions)

    def position(self, topic: Topic, partition: int) -> int:
        """Return the offset of the next record to take in."""
        return self.positions.get((topic, partition), 0)

    def positions_by_topic(self) -> dict[str, dict[int, int]]:
        """Return how far was read, by topic and partition."""
        found: dict[str, dict[int, int]] = {}
        for (topic, partition), offset in sorted(self.positions.items()):
            found.setdefault(topic.value, {})[partition] = offset
        return found

    def accept(self, topic: Topic, partition: int, offset: int, value: bytes | None) -> bool:
        """Take in one record; return False for one that the position already covers.

        Records are learned in blocks: call `flush` when no more are at hand. A record that cannot be read is counted
        and logged, not learned, and costs nothing else.
        """
        if offset < self.position(topic, partition):
            self.repeated += 1
            return False
        block = self._blocks[topic]
        try:
            if value is not None:  # compaction's tombstone
                block.append(_DECODERS[topic](value))
        except ValueError as error:
            self.malformed += 1
            logger.error("record not learned: %s/%d offset %d: %s", topic.value, partition, offset, _reason(error))  # noqa: TRY400 - the message says it all
        self.positions[topic, partition] = offset + 1
        if len(block) >= BLOCK_RECORDS:
            self._teach(topic)
        return True

    def flush(self) -> None:
        """Learn what was taken in."""
        for topic in self.topics:
            self._teach(topic)

    def checkpoint(self) -> bytes:
        """Learn what was taken in and return pupils and positions as one."""
        self.flush()
        bodies = {name: pupil.checkpoint() for name, pupil in self.pupils.items()}
        return msgspec.msgpack.encode(
            _Saved(format=FORMAT, positions=self.positions_by_topic(), learner=b"", pupils=bodies)
        )

    def due(self) -> list[str]:
        """Return the names of the pupils that have enough new to publish."""
        self.flush()
        return [name for name, pupil in self.pupils.items() if pupil.is_due()]

    def publication(self, name: str) -> Publication:
        """Return what a pupil has to publish."""
        self.flush()
        return self.pupils[name].publication()

    def _teach(self, topic: Topic) -> None:
        block, self._blocks[topic] = self._blocks[topic], []
        if not block:
            return
        new = [pupil.learn(topic, block) for pupil in self._readers[topic]]
        # The first has read longest: what a later one calls a repeat may be new to nobody else.
        self.learned[topic] += new[0]
        self.repeated += len(block) - new[0]


def _reason(error: ValueError) -> str:
    """Say what is wrong, without the values: they may tell of a person."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
    return str(error)
