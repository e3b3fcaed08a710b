"""Champion and challengers on a simulated shop: what the trainer would have decided there, and what it was worth.

Shop, engine and learner run together in process, as in `learning_loop`; the model that the court of models chooses is
served from the next day on. Requests of people can be put in at any day.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from stream_app.core.model_events import ModelEvent
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.selected import scorer_of
from stream_app.learning.weekly import WEEK_MS, Week
from stream_app.settings import Settings
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.loop import LoopReport
from stream_app.simulation.school import School
from stream_app.simulation.shop import Shop


@dataclass
class Rehearsal:
    """What happened: events in order, and the losses of all models by week."""

    events: list[ModelEvent] = field(default_factory=list)
    served: dict[int, str] = field(default_factory=dict)
    """By event day, the model that served."""
    weeks: list[Week] = field(default_factory=list)
    examples: int = 0
    report: LoopReport = field(default_factory=LoopReport)

    def mean_loss(self, model: str, first_ms: int, last_ms: int) -> float | None:
        """Return a model's mean weekly log loss, on predictions made at T, over weeks that end between two times."""
        losses = [
            loss
            for week in self.weeks
            if first_ms <= (week.number + 1) * WEEK_MS <= last_ms and (loss := week.loss(model)) is not None
        ]
        return sum(losses) / len(losses) if losses else None


def rehearse_shop(
    config: ShopConfig,
    settings: Settings,
    learner: ChallengedLearner,
    requests: Sequence[tuple[int, ModelEvent]] = (),
    show: Callable[[int], None] | None = None,
) -> Rehearsal:
    """Run a shop with champion and challengers.

    Parameters
    ----------
    config
        The shop, with its drift.
    settings
        Of the product; its clock must be "event".
    learner
        Fresh.
    requests
        What people ask for, each with the day of the run (from 0) at whose beginning the trainer gets it.
    show
        Told the day of the run.

    Raises
    ------
    ValueError
        When the settings ask for the wall clock.
    """
    return _Rehearsing(config, settings, learner, requests, show).run()


class _Rehearsing:
    def __init__(
        self,
        config: ShopConfig,
        settings: Settings,
        learner: ChallengedLearner,
        requests: Sequence[tuple[int, ModelEvent]],
        show: Callable[[int], None] | None,
    ) -> None:
        self._school = School(config, settings, learner.observe_population)
        self._learner = learner
        self._requests = sorted(requests, key=lambda each: each[0])
        self._show = show
        self._rehearsal = Rehearsal()

    def run(self) -> Rehearsal:
        self._rehearsal.report = self._school.run(self._at_daybreak)
        self._learn()
        self._rehearsal.weeks = self._learner.losses.closed
        return self._rehearsal

    def _at_daybreak(self, shop: Shop) -> None:
        asked = False
        while self._requests and self._requests[0][0] <= shop.day:
            self._learner.take_event(self._requests.pop(0)[1])
            asked = True
        if asked or self._school.has_news():
            self._learn()
            self._school.engine.install(scorer_of(self._learner.snapshot()))
        self._rehearsal.served[shop.day] = self._learner.champion
        if self._show is not None:
            self._show(shop.day)

    def _learn(self) -> None:
        fresh = self._school.fresh()
        self._learner.learn(fresh)
        self._rehearsal.examples += len(fresh)
        self._rehearsal.events += self._learner.court.unsent
        self._learner.court.unsent.clear()
