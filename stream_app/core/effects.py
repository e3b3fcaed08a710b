"""What leaves the engine: typed outputs that a shell encodes and sends."""

from collections import Counter
from typing import NamedTuple

import msgspec
from pydantic import BaseModel

from stream_app.core.told import ScoreTold, WarningTold
from stream_app.core.topics import Topic


class TrainingExample(msgspec.Struct, frozen=True):
    """A matured observation with its label, handed over at `due_ms` = T + H and never earlier."""

    example_id: str
    customer_id: str
    partition: int
    sequence: int
    """Consecutive per partition: the trainer drops repeats by it."""
    at_ms: int
    due_ms: int
    horizon_days: int
    kind: int
    churned: bool
    weight: float
    features: bytes
    features_hash: str
    """Which feature list `features` was packed with."""
    probability: float
    """The served score at `at_ms`: what prequential evaluation judges."""
    model_version: str
    contacts: int = 0
    arm: int = 0
    stay_propensity: float = 1.0
    groups: dict[str, str] = {}
    """What the customer declares of the attributes of STREAM_APP_FAIRNESS_ATTRIBUTES; never learned from."""


class PopulationDay(msgspec.Struct, frozen=True):
    """Additive sums of one partition over one UTC day; the trainer merges days that the watermark has closed."""

    partition: int
    day: int
    revision: int
    sums: dict[str, float]


class Output(msgspec.Struct, frozen=True):
    """One record to send; `body` None is a tombstone."""

    topic: Topic
    key: str
    body: ScoreTold | WarningTold | BaseModel | TrainingExample | PopulationDay | None
    traceparent: str = ""


class Rejected(NamedTuple):
    """A record that only the engine could see to be bad."""

    entry: int
    """Index of its entry in the batch."""
    offset: int
    """Of the record itself: an entry may be a run of several."""
    code: str
    detail: str


class Effects(msgspec.Struct):
    """Everything that follows from one batch. `counts` is for metrics and logs, never for decisions."""

    outputs: list[Output]
    """All but interventions, in the order in which they arose."""
    interventions: list[Output]
    """Sent last, after the changelog with these very bytes in its outbox is acknowledged."""
    rejected: list[Rejected]
    """Records that only the engine could see to be bad. They changed nothing."""
    counts: Counter[str]
    """applied, duplicates, late, timers, points, observations, examples, far_future, ..."""
