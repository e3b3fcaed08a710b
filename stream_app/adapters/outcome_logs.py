"""Where matured decisions are read from: a file that `replay --out` wrote, or their topic; and labels, from theirs."""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
from aiokafka import ConsumerRecord

from stream_app.adapters.topic_reading import read_topics
from stream_app.core.effects import TrainingExample
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.encode import decode_example


class OutcomeLogError(ValueError):
    """Something in the log is no matured decision, or no label; the message names the place."""


def outcomes_in_file(file: Path) -> Iterator[DecisionOutcome]:
    """Yield the matured decisions of a JSON Lines file (`.gz` too), each once.

    A line is an outcome itself, or `{"topic": ..., "value": ...}`; lines of other topics are passed over.

    Raises
    ------
    OutcomeLogError
        At the first line that is neither.
    OSError
        The file cannot be read.
    """
    told: set[str] = set()
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                document = orjson.loads(line)
                if isinstance(document, dict) and "value" in document and "topic" in document:
                    if document["topic"] != Topic.OUTCOMES.value:
                        continue
                    document = document["value"]
                outcome = DecisionOutcome.model_validate(document)
            except ValueError as failure:
                raise OutcomeLogError(f"{file}:{number}: no matured decision: {failure}") from failure
            if outcome.outcome_id not in told:
                told.add(outcome.outcome_id)
                yield outcome


def outcomes_on_topic(settings: Settings) -> list[DecisionOutcome]:
    """Return the matured decisions that stand on their topic now, each once; raises what `read_topics` does.

    Raises
    ------
    OutcomeLogError
        A record is none.
    """
    found: dict[str, DecisionOutcome] = {}

    def take(_: Topic, record: ConsumerRecord) -> None:
        try:
            outcome = DecisionOutcome.model_validate_json(record.value or b"")
        except ValueError as failure:
            raise OutcomeLogError(f"{_place(record)}: no matured decision: {failure}") from failure
        found.setdefault(outcome.outcome_id, outcome)

    asyncio.run(read_topics(settings, (Topic.OUTCOMES,), take))
    return list(found.values())


def labels_on_topic(settings: Settings, take: Callable[[TrainingExample], object]) -> None:
    """Hand over the labels that stand on their topic now, one by one, repeats and all; raises what `read_topics` does.

    Raises
    ------
    OutcomeLogError
        A record is none.
    """

    def decoded(_: Topic, record: ConsumerRecord) -> None:
        try:
            example = decode_example(record.value or b"")
        except ValueError as failure:
            raise OutcomeLogError(f"{_place(record)}: no training example: {failure}") from failure
        take(example)

    asyncio.run(read_topics(settings, (Topic.TRAINING,), decoded))


def _place(record: ConsumerRecord) -> str:
    return f"{record.topic}, partition {record.partition}, offset {record.offset}"
