"""One pass over a history: score at T, learn at T + H, publish once per event-day, keep what came of it.

This is the product, not a model of it: the engine folds the events, takes the observations, scores them with the
snapshot in force and hands over the labels; the learner learns them; only Kafka is missing. Nobody is contacted, since
history cannot react.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import thread_time

import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import Effects, PopulationDay, TrainingExample
from stream_app.core.facts import Facts
from stream_app.core.features import FEATURE_NAMES
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.packed import PackedLedger
from stream_app.core.packing import unpack
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.decisions.types import Decision, DecisionPoint, Quiet
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import DictStore, Shard
from stream_app.evaluation.spending import Spending
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import PriorScorer, SnapshotScorer
from stream_app.sentiment.protocol import Sentiment


class WatchingDecider:
    """Never acts: in a history that is over, nobody can be contacted."""

    catalogue_version = ""
    policy_version = ""

    def decide(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Stay quiet."""
        del point, ledger, memory
        return Quiet("evaluation")

    def rests(self, ledger: PackedLedger, facts: Facts, now_ms: int) -> bool:
        """Say so: nothing is ever decided."""
        del ledger, facts, now_ms
        return True

    def quiet_until_ms(self, facts: Facts, at_ms: int) -> int:
        """Return never: nothing is tried again."""
        del facts, at_ms
        return 0

    def outcome_due_ms(self, ledger: Ledger) -> int:
        """Return never: nothing was drawn."""
        del ledger
        return 0

    def mature(self, customer_id: str, ledger: Ledger, facts: Facts, at_ms: int) -> list[DecisionOutcome]:
        """Return no outcomes."""
        del customer_id, ledger, facts, at_ms
        return []

    def arm_of(self, customer_id: str) -> int:
        """Return no arm."""
        del customer_id
        return 0


@dataclass(frozen=True)
class Observed:
    """Every observation whose label came due, in the order of the labels; arrays of equal length."""

    at_ms: NDArray[np.int64]
    due_ms: NDArray[np.int64]
    kind: NDArray[np.int8]
    churned: NDArray[np.bool_]
    probability: NDArray[np.float64]
    """As served at T."""
    customer: NDArray[np.int64]
    """Number of the customer, in order of first order."""
    features: NDArray[np.float16]
    """As scored: 16-bit floats are what packing keeps."""

    def __len__(self) -> int:
        return len(self.at_ms)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one feature of all observations."""
        return self.features[:, FEATURE_NAMES.index(name)].astype(np.float64)

    def chosen(self, mask: NDArray[np.bool_]) -> "Observed":
        """Return the observations where `mask` is true."""
        return Observed(
            self.at_ms[mask], self.due_ms[mask], self.kind[mask], self.churned[mask],
            self.probability[mask], self.customer[mask], self.features[mask],
        )  # fmt: skip


@dataclass
class PassResult:
    """What one pass gave."""

    model: str
    observed: Observed
    first_ms: int
    last_ms: int
    events: int
    customers: int
    points: int
    engine_seconds: float
    learn_seconds: float
    snapshots: int
    learner: Learner
    spending: Spending
    examples: list[TrainingExample] = field(default_factory=list)
    """What `observed` was made of, in the order of the labels."""
    learned_before: dict[str, int] = field(default_factory=dict)
    """By model version, how many of `examples` it had learned: what `rescore` needs."""


@dataclass
class _Kept:
    examples: list[TrainingExample] = field(default_factory=list)
    learned_before: dict[str, int] = field(default_factory=dict)
    points: int = 0


def run_pass(
    records: Iterable[Record],
    learner: Learner,
    policy: EnginePolicy,
    sentiment: Sentiment,
    show: Callable[[int, int], None] | None = None,
) -> PassResult:
    """Run engine and learner over records in event-time order.

    Parameters
    ----------
    records
        Valid records, by event time.
    learner
        Fresh; it is the model that is evaluated.
    policy
        The churn definition. Whatever it says, all observations are taken, looks fall on common dates just before
        midnight, and nothing waits for late events.
    sentiment
        Texts to polarity.
    show
        Told records and event time, once per event-day.

    Raises
    ------
    ValueError
        When there are no records.
    """
    days = _by_day(records)
    first = next(days, None)
    if first is None:
        raise ValueError("there are no events to evaluate on")
    origin_ms = first[0] * DAY_MS + DAY_MS - 1
    evaluation_policy = _evaluation_policy(policy, origin_ms)
    engine = Engine(evaluation_policy, WatchingDecider(), sentiment, PriorScorer(policy.horizon_days))
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))
    kept, events, learn_seconds, snapshots, last_ms = _Kept(), 0, 0.0, 0, 0
    spending = Spending()
    started = thread_time()
    for day, batch in _with(first, days):
        matured = _take(engine.advance(shard, day * DAY_MS), kept, learner)
        clock = thread_time()
        learner.learn(matured)
        snapshot = learner.snapshot()
        engine.install(SnapshotScorer(snapshot))
        learn_seconds += thread_time() - clock
        kept.learned_before.setdefault(snapshot.version, len(kept.examples))
        snapshots += 1
        late = _take(engine.process(shard, batch), kept, learner)
        learner.learn(late)
        for record in batch:
            spending.add(record)
        events += len(batch)
        last_ms = batch[-1].at_ms
        if show is not None:
            show(events, last_ms)
    learner.learn(_take(engine.advance(shard, last_ms), kept, learner))
    elapsed = thread_time() - started
    return PassResult(
        model=learner.model.name,
        observed=observed_of(kept.examples, spending.numbers),
        first_ms=first[1][0].at_ms,
        last_ms=last_ms,
        events=events,
        customers=_customers(shard),
        points=kept.points,
        engine_seconds=elapsed - learn_seconds,
        learn_seconds=learn_seconds,
        snapshots=snapshots,
        learner=learner,
        spending=spending,
        examples=kept.examples,
        learned_before=kept.learned_before,
    )


def _evaluation_policy(policy: EnginePolicy, origin_ms: int) -> EnginePolicy:
    return EnginePolicy(
        allowed_lateness_ms=0,
        max_jump_ms=policy.max_jump_ms,
        horizon_days=policy.horizon_days,
        look_days=policy.observation_days,
        observation_days=policy.observation_days,
        eligible_days=policy.eligible_days,
        calendar_common=True,
        calendar_origin_ms=origin_ms,
        default_currency=policy.default_currency,
        exchange_rates=policy.exchange_rates,
        tier_thresholds=policy.tier_thresholds,
        score_change=policy.score_change,
        thin=False,
    )


def _by_day(records: Iterable[Record]) -> Iterator[tuple[int, list[Record]]]:
    day, batch = -1, list[Record]()
    for record in records:
        record_day = max(record.at_ms // DAY_MS, day)
        if record_day != day and batch:
            yield day, batch
            batch = []
        day = record_day
        batch.append(record)
    if batch:
        yield day, batch


def _with(
    first: tuple[int, list[Record]], rest: Iterator[tuple[int, list[Record]]]
) -> Iterator[tuple[int, list[Record]]]:
    yield first
    yield from rest


def _take(effects: Effects, kept: _Kept, learner: Learner) -> list[TrainingExample]:
    """Keep the examples, hand population sums to the learner, and return what is to be learned."""
    matured: list[TrainingExample] = []
    for output in effects.outputs:
        body = output.body
        if isinstance(body, TrainingExample):
            matured.append(body)
        elif isinstance(body, PopulationDay):
            learner.observe_population(body)
    kept.examples += matured
    kept.points += effects.counts["points"]
    return matured


def observed_of(examples: Sequence[TrainingExample], numbers: dict[str, int]) -> Observed:
    """Return examples as arrays, in their order; `numbers` numbers the customers."""
    width = len(FEATURE_NAMES)
    features = np.zeros((len(examples), width), dtype=np.float16)
    for index, example in enumerate(examples):
        features[index] = unpack(example.features, width)
    return Observed(
        at_ms=np.array([example.at_ms for example in examples], dtype=np.int64),
        due_ms=np.array([example.due_ms for example in examples], dtype=np.int64),
        kind=np.array([example.kind for example in examples], dtype=np.int8),
        churned=np.array([example.churned for example in examples], dtype=np.bool_),
        probability=np.array([example.probability for example in examples], dtype=np.float64),
        customer=np.array([numbers[example.customer_id] for example in examples], dtype=np.int64),
        features=features,
    )


def _customers(shard: Shard) -> int:
    return sum(1 for _ in shard.store.items())
