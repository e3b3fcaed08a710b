"""River's linear models on standardised inputs: learned row by row by River, served as one array of weights."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from stream_app.core.features import FEATURE_INDEX
from stream_app.learning.inputs import ModelInputs
from stream_app.learning.scorer import sigmoid
from stream_app.learning.zoo.bends import bend_of
from stream_app.learning.zoo.graph import decode, encode
from stream_app.learning.zoo.platt import PlattScaling
from stream_app.learning.zoo.scaling import CLIP, Repeats, RunningScaler
from stream_app.learning.zoo.types import Features, Labels, LearnedWeights, ModelState, Vector, numbers_of


def linear_probabilities(learned: LearnedWeights, inputs: ModelInputs, features: Features) -> Vector:
    """Return P(churn) of feature rows by weights over standardised inputs, the same bits as `SnapshotScorer`."""
    scaled = (inputs.of_block(features) - np.array(learned.mean)) * np.array(learned.inverse_scale)
    clipped = np.clip(scaled, -learned.clip, learned.clip)
    logit = np.add.reduce(clipped * np.array(learned.weights), axis=1) + learned.intercept
    bend = bend_of(learned.form, learned.arrays, len(inputs.names))
    if bend is not None:
        logit += bend(clipped)
    if learned.offset:
        logit += features[:, FEATURE_INDEX[learned.offset]]
    return sigmoid(logit)


class RiverLinear:
    """A River estimator with weights and an intercept.

    Parameters
    ----------
    name, inputs
        As in the registry.
    estimator
        Fresh; a linear model with `learn_one` and, unless it goes through the origin, `intercept`.
    weights_of
        Reads its weights by input name.
    learns_importance
        Whether its `learn_one` takes a weight; else rows are repeated (see `Repeats`).
    calibrated
        Whether its margin is no logit, so that it has to be turned into a probability by Platt scaling.
    """

    def __init__(
        self,
        name: str,
        inputs: tuple[str, ...],
        estimator: Any,
        weights_of: Callable[[Any], Any],
        *,
        learns_importance: bool = True,
        calibrated: bool = False,
    ) -> None:
        self.name = name
        self.inputs = ModelInputs(inputs)
        self.scaler = RunningScaler(len(inputs))
        self.estimator = estimator
        self.platt = PlattScaling() if calibrated else None
        self._weights_of = weights_of
        self._learns_importance = learns_importance
        self._repeats = Repeats()

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Learn a block of feature rows in order."""
        names = self.inputs.names
        rows = zip(self.inputs.of_block(features), churned.tolist(), weight.tolist(), strict=True)
        for values, label, importance in rows:
            if importance <= 0.0:
                continue
            self.scaler.learn(values, importance)
            scaled = self.scaler.transform(values)
            if self.platt is not None:
                self.platt.learn(self._margin(scaled), float(label), importance)
            row = dict(zip(names, scaled.tolist(), strict=True))
            if self._learns_importance:
                self.estimator.learn_one(row, label, importance)
            else:
                for _ in range(self._repeats.of(importance)):
                    self.estimator.learn_one(row, label)

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row."""
        return linear_probabilities(self.export(), self.inputs, features)

    def export(self) -> LearnedWeights:
        """Return what a scorer needs, with Platt scaling folded into the weights."""
        weights, intercept = self._weights(), self._intercept()
        slope, shift = (1.0, 0.0) if self.platt is None else (self.platt.slope, self.platt.shift)
        return LearnedWeights(
            mean=tuple(self.scaler.mean.tolist()),
            inverse_scale=tuple(self.scaler.inverse_scale().tolist()),
            weights=tuple((weights * slope).tolist()),
            intercept=intercept * slope + shift,
            clip=CLIP,
        )

    def dump(self) -> ModelState:
        """Return everything that was learned."""
        state: ModelState = {
            "scaler": self.scaler.dump(),
            "estimator": encode(self.estimator),
            "carried": [self._repeats.carried],
        }
        if self.platt is not None:
            state["platt"] = self.platt.dump()
        return state

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned."""
        self.scaler.load(numbers_of(state, "scaler"))
        self.estimator = decode(state["estimator"])
        [self._repeats.carried] = numbers_of(state, "carried")
        if self.platt is not None:
            self.platt.load(numbers_of(state, "platt"))

    def _weights(self) -> Vector:
        weights = self._weights_of(self.estimator)
        return np.array([float(weights.get(name, 0.0)) for name in self.inputs.names])

    def _intercept(self) -> float:
        return float(getattr(self.estimator, "intercept", 0.0))

    def _margin(self, scaled: Vector) -> float:
        weights = self._weights_of(self.estimator)
        pairs: Iterable[tuple[str, float]] = zip(self.inputs.names, scaled.tolist(), strict=True)
        return sum(float(weights.get(name, 0.0)) * value for name, value in pairs) + self._intercept()
