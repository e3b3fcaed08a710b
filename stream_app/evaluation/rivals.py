"""Does the contest of models keep its promises? Streams with a known truth, champion and challengers on them.

Same models: challengers that differ from the champion by chance alone (each learns its own bootstrap of the stream), so
that every promotion is a false one. A better model: one challenger sees what the others do not, and is to be found. A
drift: what counts turns round, and a model that forgets overtakes one that does not.

The streams come as matured examples, as a trainer gets them; customers differ by more than features show, and weeks
have shocks in common.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURE_INDEX, FEATURE_NAMES, FEATURES_HASH, KIND
from stream_app.core.packing import pack
from stream_app.core.times import DAY_MS
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.inputs import OFFSET
from stream_app.learning.learner import Learner
from stream_app.learning.promotion import PromotionRules
from stream_app.learning.zoo.kalman import KalmanModel
from stream_app.learning.zoo.types import Features, Labels, LearnedWeights, ModelState, OnlineModel, Vector

HORIZON_DAYS = 30
LOOK_DAYS = 14
SEEN_BY_ALL = ("z_silence", "c90", "log_mean_amt", "sessions_30")
SEEN_BY_BETTER = "cart_open"
_TRUE_WEIGHTS = (0.8, -0.5, -0.2, -0.4)
_CUSTOMER_DEVIATION = 0.5
_WEEK_DEVIATION = 0.15
_FIRST_DAY = 20_000
ADVANTAGE = 0.4
"""Weight of what the better model alone sees: worth about 0.012 nats."""


class Bootstrapped:
    """A model that learns each example a Poisson(1) number of times (online bagging, Oza and Russell 2001)."""

    def __init__(self, name: str, model: OnlineModel, seed: int) -> None:
        self.name = name
        self.inputs = model.inputs
        self._model = model
        self._random = np.random.default_rng(seed)

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Learn a block, each row with its drawn number of repeats."""
        counts = self._random.poisson(1.0, len(churned))
        drawn = counts > 0
        self._model.learn(features[drawn], churned[drawn], weight[drawn] * counts[drawn])

    def predict(self, features: Features) -> Vector:
        """Return what the model says."""
        return self._model.predict(features)

    def export(self) -> LearnedWeights:
        """Return the model's weights."""
        return self._model.export()

    def dump(self) -> ModelState:
        """Return the model's state."""
        return self._model.dump()

    def load(self, state: ModelState) -> None:
        """Take over a state; draws go on where this one is."""
        self._model.load(state)


class ContestResult(msgspec.Struct, frozen=True):
    """What came of many contests."""

    runs: int
    challengers: int
    weeks: int
    promoted: int
    """Runs in which a challenger was promoted, or would have been."""
    first_weeks: tuple[int, ...] = ()
    """Weeks after the start of the comparison at which it was, run by run."""
    critical_margins: tuple[float, ...] = ()
    """By run, the margin below which some challenger would have been promoted at some time."""


def same_models(
    runs: int,
    challengers: int,
    weeks: int,
    rules: PromotionRules,
    customers: int = 300,
    first_seed: int = 0,
    show: Callable[[int], None] | None = None,
) -> ContestResult:
    """Let a champion and challengers that differ by chance alone compete; every promotion is false.

    Parameters
    ----------
    runs
        Independent shops.
    challengers, weeks
        Of each run.
    rules
        As configured; the error rate is what the share of false promotions may not exceed.
    customers
        Of each shop; everyone is observed every two weeks.
    show
        Told the number of finished runs.
    """
    critical: list[float] = []
    for run in range(runs):
        models: dict[str, OnlineModel] = {
            f"same-{number}": Bootstrapped(f"same-{number}", _model(SEEN_BY_ALL), 1_000 * (first_seed + run) + number)
            for number in range(1, challengers + 1)
        }
        champion = Bootstrapped("same-0", _model(SEEN_BY_ALL), 1_000 * (first_seed + run))
        watching = msgspec.structs.replace(rules, mode="off")
        critical.append(_critical_margin(champion, models, watching, stream(first_seed + run, weeks, customers)))
        if show is not None:
            show(run + 1)
    promoted = sum(margin > rules.margin for margin in critical)
    return ContestResult(runs, challengers, weeks, promoted, critical_margins=tuple(critical))


def better_model(
    runs: int,
    challengers: int,
    weeks: int,
    rules: PromotionRules,
    customers: int = 300,
    first_seed: int = 0,
    advantage: float = ADVANTAGE,
) -> ContestResult:
    """Let one challenger among several see an input more that counts by `advantage`; promotions of it are right."""
    first: list[int] = []
    for run in range(runs):
        models: dict[str, OnlineModel] = {
            f"same-{number}": Bootstrapped(f"same-{number}", _model(SEEN_BY_ALL), 1_000 * (first_seed + run) + number)
            for number in range(1, challengers)
        }
        models["better"] = _model((*SEEN_BY_ALL, SEEN_BY_BETTER), "better")
        champion = _model(SEEN_BY_ALL, "champion")
        days = stream(first_seed + run, weeks, customers, advantage=advantage)
        found = _first_promotion(champion, models, rules, days, "better")
        if found is not None:
            first.append(found)
    return ContestResult(runs, challengers, weeks, len(first), tuple(first))


def stream(
    seed: int, weeks: int, customers: int, turns: Sequence[int] = (), advantage: float = ADVANTAGE
) -> Iterator[list[TrainingExample]]:
    """Return matured examples day by day.

    Parameters
    ----------
    seed
        Everything follows from it.
    weeks
        How long labels come.
    customers
        How many there are, all from the first day.
    turns
        Weeks of observation at which all weights change their sign.
    advantage
        Weight of the input that only the better model sees.
    """
    random = np.random.default_rng(seed)
    columns = [FEATURE_INDEX[name] for name in (*SEEN_BY_ALL, SEEN_BY_BETTER)]
    own = random.normal(0.0, _CUSTOMER_DEVIATION, customers)
    habit = random.normal(0.0, 0.7, (customers, len(columns)))
    phase = random.integers(0, LOOK_DAYS, customers)
    weights = np.array((*_TRUE_WEIGHTS, advantage))
    sequence = 0
    shock = 0.0
    for day in range(7 * weeks):
        if day % 7 == 0:
            shock = float(random.normal(0.0, _WEEK_DEVIATION))
        looked = np.flatnonzero(phase == day % LOOK_DAYS)
        values = habit[looked] + random.normal(0.0, 0.7, (len(looked), len(columns)))
        sign = (-1.0) ** sum(day >= 7 * turn for turn in turns)
        logits = sign * (values @ weights) + own[looked] + shock
        churned = random.random(len(looked)) < 1.0 / (1.0 + np.exp(-logits))
        rows = np.zeros((len(looked), len(FEATURE_NAMES)), dtype=np.float32)
        rows[:, columns] = values
        rows[:, FEATURE_INDEX[KIND]] = 1.0
        rows[:, FEATURE_INDEX[OFFSET]] = 0.3 * values[:, 0]
        examples = []
        at_ms = (_FIRST_DAY + day) * DAY_MS
        for customer, row, label in zip(looked.tolist(), rows, churned.tolist(), strict=True):
            sequence += 1
            examples.append(
                TrainingExample(
                    example_id=str(sequence),
                    customer_id=f"c{customer}",
                    partition=0,
                    sequence=sequence,
                    at_ms=at_ms,
                    due_ms=at_ms + HORIZON_DAYS * DAY_MS,
                    horizon_days=HORIZON_DAYS,
                    kind=1,
                    churned=label,
                    weight=1.0,
                    features=pack(row),
                    features_hash=FEATURES_HASH,
                    probability=0.5,
                    model_version="none",
                )
            )
        yield examples


def contest(champion: OnlineModel, challengers: Mapping[str, OnlineModel], rules: PromotionRules) -> ChallengedLearner:
    """Return a learner whose models are given as objects."""
    learner = Learner(HORIZON_DAYS)
    learner.model, learner.spec = champion, champion.name
    return ChallengedLearner(learner, challengers, rules)


def _critical_margin(
    champion: OnlineModel,
    challengers: Mapping[str, OnlineModel],
    rules: PromotionRules,
    days: Iterator[list[TrainingExample]],
) -> float:
    """Return the largest margin that some challenger exceeded at some review, by its lower bound and of late."""
    learner = contest(champion, challengers, rules)
    critical = -math.inf
    for examples in days:
        learner.learn(examples)
        for event in learner.court.unsent:
            for standing in event.standings:
                if standing.low is not None and standing.recent is not None:
                    critical = max(critical, min(standing.low, standing.recent))
        learner.court.unsent.clear()
    return critical


def _first_promotion(
    champion: OnlineModel,
    challengers: Mapping[str, OnlineModel],
    rules: PromotionRules,
    days: Iterator[list[TrainingExample]],
    wanted: str = "",
) -> int | None:
    """Return after how many weeks of comparison the first promotion came (of `wanted`, if named); None for none."""
    learner = contest(champion, challengers, rules)
    for examples in days:
        learner.learn(examples)
        for event in learner.court.unsent:
            if event.kind == "promoted":
                return event.standings[0].weeks if wanted in {"", event.challenger} else None
        learner.court.unsent.clear()
    return None


def _model(inputs: tuple[str, ...], name: str = "") -> KalmanModel:
    return KalmanModel(inputs, name=name)
