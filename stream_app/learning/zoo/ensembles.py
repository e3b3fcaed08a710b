"""Several models as one: averaged on the logit, or weighed by a Kalman filter that learns which to trust."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_app.core.features import FEATURE_NAMES
from stream_app.learning.inputs import ModelInputs
from stream_app.learning.kalman import KalmanCore
from stream_app.learning.scorer import sigmoid
from stream_app.learning.zoo.chunks import Chunk, Waiting
from stream_app.learning.zoo.registry import create as create_model
from stream_app.learning.zoo.rows import not_served
from stream_app.learning.zoo.types import (
    Features,
    Labels,
    LearnedWeights,
    ModelState,
    OnlineModel,
    Vector,
    numbers_of,
)

AVERAGED = ("kalman", "adagrad", "mlp")
STACKED = ("kalman", "adagrad", "mlp", "adaptive-random-forest")
CHUNK_ROWS = 64
"""The stack learns in chunks of this size: members say what they think of a whole chunk before they learn it."""
_PRIOR_VARIANCE = 0.05
_INTERCEPT_VARIANCE = 0.1
_CLIP = 5.0
_EDGE = 1e-4


class MeanOfLogits:
    """The mean of its members' logits."""

    def __init__(self, name: str, members: Sequence[OnlineModel]) -> None:
        self.name = name
        self.members = tuple(members)
        self.inputs = ModelInputs(tuple(dict.fromkeys(one for member in members for one in member.inputs.names)))

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Let every member learn the block."""
        for member in self.members:
            member.learn(features, churned, weight)

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row."""
        return sigmoid(self.logits(features).mean(axis=1))

    def logits(self, features: Features) -> Vector:
        """Return what every member thinks of every row (n, members), on the logit."""
        chances = np.clip(np.stack([member.predict(features) for member in self.members], axis=1), _EDGE, 1.0 - _EDGE)
        result: Vector = np.log(chances / (1.0 - chances))
        return result

    def export(self) -> LearnedWeights:
        """Refuse: there is no array form."""
        raise not_served(self.name)

    def dump(self) -> ModelState:
        """Return the members' states, by number."""
        return {
            f"{number}/{key}": value
            for number, member in enumerate(self.members)
            for key, value in member.dump().items()
        }

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned."""
        for number, member in enumerate(self.members):
            prefix = f"{number}/"
            member.load({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})


class Stacked(MeanOfLogits):
    """Weighs its members by logistic regression around their mean.

    The Kalman filter sees each member's distance from the mean logit, which stands as the offset: it begins as the mean
    and learns whom to trust more. It is taught with what the members said before they learned the rows in question.
    """

    def __init__(self, name: str, members: Sequence[OnlineModel]) -> None:
        super().__init__(name, members)
        self.core = KalmanCore(len(self.members) + 1, _PRIOR_VARIANCE, _INTERCEPT_VARIANCE, _CLIP)
        self._waiting = Waiting(len(FEATURE_NAMES), CHUNK_ROWS)

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Take rows in; they are learned when a chunk is full, so that it does not matter how rows are cut."""
        for row, label, importance in zip(features, churned.tolist(), weight.tolist(), strict=True):
            if importance <= 0.0:
                continue
            chunk = self._waiting.add(row.astype(np.float64), label, importance)
            if chunk is not None:
                self._learn_chunk(chunk)

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row."""
        seen, mean = self._seen(features)
        terms = self.core.standardised(seen) * self.core.weights[1:]
        return sigmoid(np.add.reduce(terms, axis=1) + self.core.weights[0] + mean)

    def dump(self) -> ModelState:
        """Return the members' states, the filter's, and the rows of the chunk that is not full."""
        core = self.core
        arrays = (core.count, core.mean, core.squares, core.weights, core.covariance.ravel())
        return super().dump() | {
            "filter": np.concatenate(arrays).tolist(),
            "waiting": self._waiting.dump(),
        }

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned."""
        super().load(state)
        core, width, numbers = self.core, self.core.width, np.array(numbers_of(state, "filter"))
        core.count, core.mean, core.squares, core.weights, flat = np.split(
            numbers, (width, 2 * width, 3 * width, 4 * width + 1)
        )
        core.covariance = flat.reshape(width + 1, width + 1)
        self._waiting.load(numbers_of(state, "waiting"))

    def _learn_chunk(self, chunk: Chunk) -> None:
        features = chunk.rows.astype(np.float32)
        seen, mean = self._seen(features)
        rows = zip(seen, chunk.churned.tolist(), mean.tolist(), chunk.weight.tolist(), strict=True)
        for values, label, offset, importance in rows:
            self.core.learn(values, float(label), offset, importance, None)
        super().learn(features, chunk.churned, chunk.weight)

    def _seen(self, features: Features) -> tuple[Vector, Vector]:
        """Return the filter's inputs (members' distances from the mean, and the mean), and the mean (n,)."""
        logits = self.logits(features)
        mean = logits.mean(axis=1)
        return np.concatenate((logits - mean[:, np.newaxis], mean[:, np.newaxis]), axis=1), mean


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> MeanOfLogits:
    """Return an ensemble; inputs, when given, are those of every member."""
    del options
    if name == "mean-of-logits":
        return MeanOfLogits(name, [create_model(member, inputs) for member in AVERAGED])
    return Stacked(name, [create_model(member, inputs) for member in STACKED])
