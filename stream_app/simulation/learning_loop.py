"""The closed loop with a learner in it, watched by one who knows the truth.

Shop, engine and learner run together in process: scores lead to interventions, interventions change what customers do,
their outcomes are learned. Each observation is set beside the true probability of what it asks, P(no order in (T, T+H])
under no further contact, so that scores can be judged free of the chance in labels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import TrainingExample
from stream_app.core.times import DAY_MS
from stream_app.evaluation.running import Observed, observed_of
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import SnapshotScorer
from stream_app.settings import Settings
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.loop import LoopReport
from stream_app.simulation.school import School
from stream_app.simulation.shop import Shop
from stream_app.simulation.truth import silence_probability


@dataclass(frozen=True)
class LearningRun:
    """What a watched loop left behind; arrays run along `examples`."""

    examples: list[TrainingExample]
    """In the order of their labels."""
    learned_before: dict[str, int]
    """By model version, how many of them it had learned."""
    observed: Observed
    truth: NDArray[np.float64]
    """True P(no order in (T, T+H]) without further contact."""
    first_ms: int
    learner: Learner
    report: LoopReport

    def uncontacted(self) -> NDArray[np.bool_]:
        """Return which customers nobody contacted in (T, T+H]."""
        return np.array([example.contacts == 0 for example in self.examples], dtype=np.bool_)

    def arms(self) -> NDArray[np.int64]:
        """Return the arm of each: 1 treatment, 2 holdout."""
        return np.array([example.arm for example in self.examples], dtype=np.int64)


def run_with_learner(
    config: ShopConfig,
    settings: Settings,
    learner: Learner | None = None,
    show: Callable[[int, int], None] | None = None,
) -> LearningRun:
    """Run a shop, the engine as `settings` say, and a learner whose model is served from the next day on.

    Parameters
    ----------
    config
        The shop.
    settings
        Of the product; its clock must be "event". Actions that are not live contact nobody.
    learner
        Fresh; absent: the default model.
    show
        Told labels learned and event time, once a day.

    Raises
    ------
    ValueError
        When the settings ask for the wall clock, or the shop's truth does not reach as far as the horizon.
    """
    learner = learner if learner is not None else Learner(settings.horizon_days)
    if max(config.horizons_days) < learner.horizon_days:
        raise ValueError(
            f"horizons_days {config.horizons_days} end before the {learner.horizon_days} days to be judged"
        )
    return _Watcher(config, settings, learner, show).run()


class _Watcher:
    def __init__(
        self, config: ShopConfig, settings: Settings, learner: Learner, show: Callable[[int, int], None] | None
    ) -> None:
        self._school = School(config, settings, learner.observe_population)
        self._learner = learner
        self._show = show
        self._learned = 0
        self._learned_before: dict[str, int] = {}
        self._daybreaks: list[NDArray[np.float32]] = []
        """By day: truth about every customer present as the day begins."""

    def run(self) -> LearningRun:
        school = self._school
        report = school.run(self._at_daybreak)
        self._note_truth()
        first_ms = school.shop.config.first_day * DAY_MS
        numbers = {name: number for number, name in enumerate(school.shop.names)}
        observed = observed_of(school.examples, numbers)
        return LearningRun(
            examples=school.examples,
            learned_before=self._learned_before,
            observed=observed,
            truth=self._truth_of(observed, first_ms),
            first_ms=first_ms,
            learner=self._learner,
            report=report,
        )

    def _at_daybreak(self, shop: Shop) -> None:
        self._note_truth()
        if self._school.has_news():
            self._learner.learn(self._school.fresh())
            self._learned = len(self._school.examples)
            snapshot = self._learner.snapshot()
            self._school.engine.install(SnapshotScorer(snapshot))
            self._learned_before.setdefault(snapshot.version, self._learned)
        if self._show is not None:
            self._show(self._learned, shop.now_ms)

    def _note_truth(self) -> None:
        shop = self._school.shop
        who = np.arange(shop.present(max(shop.day - 1, 0)))
        self._daybreaks.append(silence_probability(shop, who, self._learner.horizon_days).astype(np.float32))

    def _truth_of(self, observed: Observed, first_ms: int) -> NDArray[np.float64]:
        """Look the truth up at the daybreak that knows what the observation knows.

        That is the beginning of its day for a customer who had not ordered on that day, and the next one for who had.
        """
        day = (observed.at_ms - first_ms) // DAY_MS
        into_day = (observed.at_ms - first_ms) % DAY_MS / DAY_MS
        ordered_today = np.expm1(observed.column("log_rec")) <= into_day
        day = day + ordered_today
        pairs = zip(day.tolist(), observed.customer.tolist(), strict=True)
        return np.array([float(self._daybreaks[each][customer]) for each, customer in pairs])
