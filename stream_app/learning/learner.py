"""The learner: matured examples and population sums in, model snapshots out. No I/O, no clock.

What it holds is a function of the examples and sums that it was given, in their order, so a trainer that restarts from
a checkpoint and reads on ends where an uninterrupted one does. Examples repeat after a crash; a partition's sequence
tells.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.features import FEATURE_INDEX, FEATURE_LISTS, FEATURE_NAMES, FEATURES_HASH, KIND
from stream_app.core.packing import unpack
from stream_app.core.population import BetaGeometric, PopulationTotals
from stream_app.core.times import DAY_MS
from stream_app.learning.clustering import CustomerClusters, Sums, Waiting
from stream_app.learning.drift import CUSTOMERS, QUALITY, WATCHED, DriftSaved, DriftWatch
from stream_app.learning.population_keeper import AskedFit, Defer, KeptPopulation, PopulationKeeper, when_asked
from stream_app.learning.quality import QualityTally
from stream_app.learning.snapshot import BENT_FORMAT, ModelSnapshot, with_version
from stream_app.learning.snapshot import FORMAT as SNAPSHOT_FORMAT
from stream_app.learning.specs import create_spec
from stream_app.learning.weighing import SETTLING_DAYS, Settling, censoring_weight
from stream_app.learning.zoo.registry import KALMAN
from stream_app.learning.zoo.types import ModelState, OnlineModel

FORMAT = 2
HOLDOUT_ARM = 2
_RECENT_HALF_LIFE = 5_000.0
_GROUPS = ("all", "recent", "holdout", "treatment")


class LearnerRefusedError(ValueError):
    """A checkpoint that this learner cannot go on from; the message says why and what to do."""


class Matured(NamedTuple):
    """A block of uncensored examples about to be learned, with what the model learns of them."""

    examples: Sequence[TrainingExample]
    rows: NDArray[np.float32]
    """Features (n, d) under the present list."""
    churned: NDArray[np.bool_]
    importance: NDArray[np.float64]


class _Saved(msgspec.Struct):
    format: int
    horizon_days: int
    model: str
    inputs: tuple[str, ...]
    numbers: ModelState
    sequences: dict[int, int]
    counts: dict[str, int]
    tallies: dict[str, list[float]]
    drift: DriftSaved
    totals: PopulationTotals
    bgnbd: BetaGeometric | None
    next_fit_day: int
    trained_through_ms: int
    importance: tuple[float, float]
    cluster_sums: dict[int, Sums] = {}
    cluster_waiting: dict[int, list[Waiting]] = {}
    cluster_pairs: tuple[float, float] = (0.0, 0.0)
    cluster_mask: int = 0
    settling_days: float = SETTLING_DAYS
    first_ms: int = 0
    asked: AskedFit | None = None


class Learner:
    """Learns one model for one horizon.

    Parameters
    ----------
    horizon_days
        H; examples of another horizon are left out and counted.
    model
        One of `MODEL_NAMES`, with or without options ("kalman:prior_variance=0.01").
    inputs
        What the model sees of the features; None: its own choice.
    defer
        Where BG/NBD is refitted; it makes no difference to the result.
    settling_days
        Age of the stream from which examples count fully (see `weighing`).
    """

    def __init__(
        self,
        horizon_days: int,
        model: str = KALMAN,
        inputs: tuple[str, ...] | None = None,
        defer: Defer = when_asked,
        settling_days: float = SETTLING_DAYS,
    ) -> None:
        self.horizon_days = horizon_days
        self.spec = model
        """What was asked for: the model's name, with its options."""
        self.model = create_spec(model, inputs)
        self.counts: dict[str, int] = {}
        """learned, repeated, censored, unscored, other_horizon, unknown_features, malformed."""
        self.tallies = {name: QualityTally(_RECENT_HALF_LIFE if name == "recent" else 0.0) for name in _GROUPS}
        self.drift = DriftWatch(WATCHED)
        self._watched = np.array([FEATURE_INDEX[name] for name in self.drift.names], dtype=np.intp)
        self._kind = FEATURE_INDEX[KIND]
        self._sequences: dict[int, int] = {}
        self.population = PopulationKeeper(defer)
        self._trained_through_ms = 0
        self._importance = (0.0, 0.0)
        self._clusters = CustomerClusters()
        self._settling = Settling(settling_days)
        self.on_matured: Callable[[Matured], None] | None = None
        """Told each block before the model learns it, e.g. to let challengers learn the same."""

    @property
    def trained_examples(self) -> int:
        """Examples that moved the weights."""
        return self.counts.get("learned", 0)

    @property
    def sequences(self) -> dict[int, int]:
        """The newest example sequence taken in, by partition."""
        return dict(self._sequences)

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        """Learn a block of examples in order; return how many were new (repeats are left out).

        A contacted customer's outcome is not that of the score's question (risk without further contact), so it is
        censored; one who might have been contacted counts for those who were, by the inverse of the probability of
        having stayed uncontacted.
        """
        new = [example for example in examples if self._is_new(example)]
        usable: list[TrainingExample] = []
        rows: list[NDArray[np.float32]] = []
        for example in new:
            row = self._row(example)
            if row is not None:
                usable.append(example)
                rows.append(row)
        if usable:
            self._learn_rows(usable, np.array(rows))
        return len(new)

    def observe_population(self, day: PopulationDay) -> bool:
        """Take in one partition's sums of one day; return False for a repeat."""
        return self.population.observe(day)

    def snapshot(self, model: OnlineModel | None = None) -> ModelSnapshot:
        """Return the present model. Its version tells its content: equal models have equal versions.

        `model` is one that learned the same examples and is served instead of the learner's own.
        """
        model = model or self.model
        weights = model.export()
        total, squared = self._importance
        snapshot = ModelSnapshot(
            format=BENT_FORMAT if weights.form else SNAPSHOT_FORMAT,
            version="",
            model=model.name,
            horizon_days=self.horizon_days,
            features_hash=FEATURES_HASH,
            inputs=model.inputs.names,
            offset=weights.offset,
            offset_mean=weights.offset_mean,
            clip=weights.clip,
            mean=weights.mean,
            inverse_scale=weights.inverse_scale,
            weights=weights.weights,
            intercept=weights.intercept,
            covariance=weights.covariance,
            form=weights.form,
            arrays=weights.arrays,
            widening=self._clusters.design_effect(),
            spread=self._clusters.spread(),
            population=self.population.population(),
            metrics=self.metrics(),
            trained_examples=self.trained_examples,
            trained_through_ms=self._trained_through_ms,
            effective_examples=total * total / squared if squared else 0.0,
        )
        return with_version(snapshot)

    def metrics(self) -> dict[str, float]:
        """Return prequential metrics as "<group>_<metric>" (all, recent, holdout, treatment), and drift alarms."""
        result = {
            f"{group}_{name}": value for group in _GROUPS for name, value in self.tallies[group].metrics().items()
        }
        whole = (*QUALITY, CUSTOMERS)
        for name in whole:
            result["drift_" + name] = float(self.drift.alarms.get(name, 0))
        result["drift_features"] = float(sum(count for name, count in self.drift.alarms.items() if name not in whole))
        return result

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs, as numbers (MessagePack)."""
        kept = self.population.keep()
        return msgspec.msgpack.encode(
            _Saved(
                format=FORMAT,
                horizon_days=self.horizon_days,
                model=self.spec,
                inputs=self.model.inputs.names,
                numbers=self.model.dump(),
                sequences=self._sequences,
                counts=self.counts,
                tallies={name: tally.dump() for name, tally in self.tallies.items()},
                drift=self.drift.save(),
                totals=kept.totals,
                bgnbd=kept.bgnbd,
                next_fit_day=kept.next_fit_day,
                asked=kept.asked,
                trained_through_ms=self._trained_through_ms,
                importance=self._importance,
                cluster_sums=self._clusters.sums,
                cluster_waiting=self._clusters.waiting,
                cluster_pairs=self._clusters.pairs,
                cluster_mask=self._clusters.mask,
                settling_days=self._settling.settling_days,
                first_ms=self._settling.first_ms,
            )
        )

    @classmethod
    def restore(cls, data: bytes, defer: Defer = when_asked) -> "Learner":
        """Return the learner that `checkpoint` saved; raises LearnerRefusedError when it cannot."""
        try:
            saved = msgspec.msgpack.decode(data, type=_Saved)
        except msgspec.DecodeError as error:
            raise LearnerRefusedError(
                f"not a learner's checkpoint: {error}; move the file away to start anew"
            ) from error
        if saved.format != FORMAT:
            raise LearnerRefusedError(f"checkpoint format {saved.format}, this version reads {FORMAT}: upgrade")
        learner = cls(saved.horizon_days, saved.model, saved.inputs)
        learner.model.load(saved.numbers)
        learner.counts, learner._sequences = saved.counts, saved.sequences
        for name, numbers in saved.tallies.items():
            if name in learner.tallies:
                learner.tallies[name].load(numbers)
        learner.drift.load(saved.drift)
        kept = KeptPopulation(saved.totals, saved.bgnbd, saved.next_fit_day, saved.asked)
        learner.population = PopulationKeeper(defer, kept)
        learner._trained_through_ms, learner._importance = saved.trained_through_ms, saved.importance
        clusters = learner._clusters
        clusters.sums, clusters.mask = saved.cluster_sums, saved.cluster_mask
        clusters.waiting, clusters.pairs = saved.cluster_waiting, saved.cluster_pairs
        learner._settling.settling_days, learner._settling.first_ms = saved.settling_days, saved.first_ms
        return learner

    def _is_new(self, example: TrainingExample) -> bool:
        if example.sequence <= self._sequences.get(example.partition, 0):
            self._count("repeated")
            return False
        self._sequences[example.partition] = example.sequence
        return True

    def _row(self, example: TrainingExample) -> NDArray[np.float32] | None:
        """Return the example's features under the present list, or None (counted) when it cannot be used."""
        if example.horizon_days != self.horizon_days:
            self._count("other_horizon")
            return None
        if example.probability < 0 or not example.features:
            self._count("unscored")
            return None
        names = FEATURE_LISTS.get(example.features_hash)
        if names is None:
            self._count("unknown_features")
            return None
        try:
            row = unpack(example.features, len(names))
        except ValueError:
            self._count("malformed")
            return None
        if not np.isfinite(row).all():
            self._count("malformed")
            return None
        row = row if example.features_hash == FEATURES_HASH else renamed(row, names)
        if row[FEATURE_INDEX[KIND]] not in (0, 1):
            self._count("malformed")
            return None
        return row

    def _learn_rows(self, examples: list[TrainingExample], rows: NDArray[np.float32]) -> None:
        churned = np.array([example.churned for example in examples], dtype=np.bool_)
        served = np.array([example.probability for example in examples])
        weight = np.array([example.weight for example in examples])
        stayed = np.array([example.contacts == 0 for example in examples], dtype=np.bool_)
        holdout = np.array([example.arm == HOLDOUT_ARM for example in examples], dtype=np.bool_)
        propensity = np.array([example.stay_propensity for example in examples])
        counts = weight * censoring_weight(propensity, holdout)
        for name, chosen, weighted in (
            ("all", stayed, counts),
            ("recent", stayed, counts),
            ("holdout", holdout & stayed, weight),
            ("treatment", ~holdout, weight),
        ):
            if chosen.any():
                self.tallies[name].add(served[chosen], churned[chosen], weighted[chosen])
        self._count("censored", int((~stayed).sum()))
        settled = self._settling.weight(np.array([example.at_ms for example in examples], dtype=np.int64))
        if not stayed.any():
            return
        rows, churned, served, counts = rows[stayed], churned[stayed], served[stayed], counts[stayed]
        importance = counts * settled[stayed]
        uncensored = [example for example in examples if example.contacts == 0]
        if self.on_matured is not None:
            self.on_matured(Matured(uncensored, rows, churned, importance))
        self.model.learn(rows, churned, importance)
        customers = [example.customer_id for example in uncensored]
        moments = [example.at_ms for example in uncensored]
        self._clusters.add(customers, moments, served, churned, counts, self.horizon_days * DAY_MS)
        looks = rows[:, self._kind] > 0
        self.drift.update(
            rows[looks][:, self._watched].astype(np.float64),
            (churned - served)[looks],
            np.array(moments, dtype=np.int64)[looks],
        )
        self._count("learned", len(rows))
        total, squared = self._importance
        self._importance = (total + float(importance.sum()), squared + float(importance @ importance))
        latest = max(example.due_ms for example in examples)
        self._trained_through_ms = max(self._trained_through_ms, latest)

    def _count(self, name: str, amount: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + amount


def renamed(row: NDArray[np.float32], names: Sequence[str]) -> NDArray[np.float32]:
    """Return a row of another feature list under the present one: by name, 0 (neutral) for what the old list lacks."""
    result = np.zeros(len(FEATURE_NAMES), dtype=np.float32)
    for value, name in zip(row, names, strict=True):
        index = FEATURE_INDEX.get(name)
        if index is not None:
            result[index] = value
    return result
