"""The engine and the default learner run once over the small shop, with all that the learner was given."""

from collections.abc import Sequence
from functools import cache

from stream_app.core.effects import TrainingExample
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.running import PassResult, run_pass
from stream_app.learning.learner import Learner
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.learning.zoo.types import OnlineModel
from stream_app.sentiment.protocol import NeutralSentiment
from tests.support.small_shop import HORIZON_DAYS, shop_records

POLICY = EnginePolicy(horizon_days=HORIZON_DAYS)


class RememberingLearner(Learner):
    """A learner that keeps what it was given and what it published."""

    def __init__(self) -> None:
        super().__init__(HORIZON_DAYS)
        self.given: list[TrainingExample] = []
        self.trained_through: dict[str, int] = {"prior": 0}

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        self.given += examples
        return super().learn(examples)

    def snapshot(self, model: OnlineModel | None = None) -> ModelSnapshot:
        snapshot = super().snapshot(model)
        self.trained_through[snapshot.version] = snapshot.trained_through_ms
        return snapshot


@cache
def small_pass() -> tuple[PassResult, RememberingLearner]:
    learner = RememberingLearner()
    return run_pass(shop_records(), learner, POLICY, NeutralSentiment()), learner
