"""A shop, the engine and what a learner is told of them, day by day: what learning in the closed loop begins with."""

from collections.abc import Callable

from stream_app.adapters.assembly import engine_of
from stream_app.core.effects import Effects, PopulationDay, TrainingExample
from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.loop import ClosedLoop, LoopReport
from stream_app.simulation.shop import Shop


class School:
    """Runs a shop with the engine as settings say, and collects the labels.

    Parameters
    ----------
    config
        The shop.
    settings
        Of the product; its clock must be "event". Actions that are not live contact nobody.
    observe
        Told the population's sums as they come.

    Raises
    ------
    ValueError
        When the settings ask for the wall clock.
    """

    def __init__(self, config: ShopConfig, settings: Settings, observe: Callable[[PopulationDay], object]) -> None:
        if settings.clock != "event":
            raise ValueError('clock is "wall": a simulated shop runs on the event clock')
        self.shop = Shop(config)
        self.engine = engine_of(settings, partitions=1)
        self.examples: list[TrainingExample] = []
        """All labels, in the order in which they came."""
        self._observe = observe
        self._handed_out = 0
        self._population_moved = False

    def run(self, at_daybreak: Callable[[Shop], None]) -> LoopReport:
        """Run all days; `at_daybreak` may learn, and install what was learned, before each."""
        shard = self.engine.open_shard(0, DictStore(), PartitionState(population={}))
        report = ClosedLoop(self.shop, self.engine, shard, on_effects=self._take).run(self.shop.events(at_daybreak))
        config = self.shop.config
        self._take(self.engine.advance(shard, (config.first_day + config.days) * DAY_MS))
        return report

    def has_news(self) -> bool:
        """Say whether labels or sums have come since `fresh` was asked last."""
        return self._population_moved or self._handed_out < len(self.examples)

    def fresh(self) -> list[TrainingExample]:
        """Return the labels that have come since the last time."""
        found = self.examples[self._handed_out :]
        self._handed_out, self._population_moved = len(self.examples), False
        return found

    def _take(self, effects: Effects) -> None:
        for output in effects.outputs:
            if isinstance(output.body, TrainingExample):
                self.examples.append(output.body)
            elif isinstance(output.body, PopulationDay):
                self._observe(output.body)
                self._population_moved = True
