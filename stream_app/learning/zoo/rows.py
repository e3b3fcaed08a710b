"""What the models of the zoo that are not linear have in common: inputs, standardising, Platt scaling, state."""

from abc import ABC, abstractmethod

import numpy as np

from stream_app.core.features import KIND
from stream_app.learning.inputs import ORDER_INPUTS, OTHER_INPUTS, ModelInputs
from stream_app.learning.zoo.platt import PlattScaling
from stream_app.learning.zoo.registry import ENTRIES
from stream_app.learning.zoo.scaling import RunningScaler
from stream_app.learning.zoo.types import (
    Features,
    Labels,
    LearnedWeights,
    ModelNotServedError,
    ModelState,
    Vector,
    numbers_of,
)

PLAIN_INPUTS = (*ORDER_INPUTS, KIND, *OTHER_INPUTS)
"""Inputs without products with the kind: these models find interactions by themselves."""
_EDGE = 1e-4
"""Probabilities are kept this far from 0 and 1: a pure leaf is not certain."""


class RowModel(ABC):
    """A model that learns one row of inputs after the other.

    Parameters
    ----------
    name
        As in the registry.
    inputs
        None: `PLAIN_INPUTS`.
    scaled
        Whether it sees standardised inputs.
    calibrated
        Whether its probabilities pass through Platt scaling.
    """

    def __init__(
        self, name: str, inputs: tuple[str, ...] | None, *, scaled: bool = True, calibrated: bool = False
    ) -> None:
        self.name = name
        self.inputs = ModelInputs(inputs or PLAIN_INPUTS)
        self.scaler = RunningScaler(len(self.inputs.names)) if scaled else None
        self.platt = PlattScaling() if calibrated else None

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Learn a block of feature rows in order."""
        rows = zip(self.inputs.of_block(features), churned.tolist(), weight.tolist(), strict=True)
        for values, label, importance in rows:
            if importance <= 0.0:
                continue  # a weight of 0 is one that River's statistics divide by
            row = values
            if self.scaler is not None:
                self.scaler.learn(values, importance)
                row = self.scaler.transform(values)
            if self.platt is not None:
                self.platt.learn(float(_logit(self._probabilities(row[np.newaxis]))[0]), float(label), importance)
            self._learn_row(row, label, importance)

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row."""
        block = self.inputs.of_block(features)
        probabilities = self._probabilities(block if self.scaler is None else self.scaler.transform(block))
        if self.platt is not None:
            probabilities = self.platt.probabilities(_logit(probabilities))
        return np.clip(probabilities, _EDGE, 1.0 - _EDGE)

    def export(self) -> LearnedWeights:
        """Refuse: there is no array form."""
        raise not_served(self.name)

    def dump(self) -> ModelState:
        """Return everything that was learned."""
        state = self._dump()
        if self.scaler is not None:
            state["scaler"] = self.scaler.dump()
        if self.platt is not None:
            state["platt"] = self.platt.dump()
        return state

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned."""
        if self.scaler is not None:
            self.scaler.load(numbers_of(state, "scaler"))
        if self.platt is not None:
            self.platt.load(numbers_of(state, "platt"))
        self._load(state)

    @abstractmethod
    def _learn_row(self, row: Vector, label: bool, importance: float) -> None: ...

    @abstractmethod
    def _probabilities(self, block: Vector) -> Vector:
        """Return P(churn) of a block of inputs (n, width) before Platt scaling."""

    @abstractmethod
    def _dump(self) -> ModelState: ...

    @abstractmethod
    def _load(self, state: ModelState) -> None: ...


def not_served(name: str) -> ModelNotServedError:
    """Return the error of asking for the array form of a model that has none."""
    served = ", ".join(other for other, entry in ENTRIES.items() if entry.served)
    return ModelNotServedError(
        f"model {name!r} cannot be served by workers: it has no array form. Evaluate it, or let it run as a "
        f"challenger; what can be served: {served}"
    )


def _logit(probability: Vector) -> Vector:
    safe = np.clip(probability, _EDGE, 1.0 - _EDGE)
    result: Vector = np.log(safe / (1.0 - safe))
    return result
