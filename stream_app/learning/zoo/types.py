"""What every model of the zoo is to its callers: it learns blocks, predicts, and turns into numbers and back."""

from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.learning.inputs import ModelInputs

Features = NDArray[np.float32]
"""Rows of the feature list, (n, number of features)."""
Labels = NDArray[np.bool_]
Vector = NDArray[np.float64]

ModelState = dict[str, list[float] | bytes]
"""All that a model has learned: lists of numbers, and for River's trees the bytes of `graph.encode`. Nothing in it can
be executed."""


class ModelNotServedError(ValueError):
    """The model has no array form, so workers cannot serve it; the message says what can be done with it."""


class LearnedWeights(msgspec.Struct, frozen=True):
    """What a model knows, in the terms of `ModelSnapshot`."""

    mean: tuple[float, ...]
    inverse_scale: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float
    clip: float
    offset: str = ""
    offset_mean: float = 0.0
    covariance: tuple[float, ...] = ()
    form: str = ""
    """What is added to the linear terms (see `bends`); empty: nothing."""
    arrays: tuple[float, ...] = ()
    """The numbers of that."""


class OnlineModel(Protocol):
    """A model that learns row by row.

    What it holds is a function of the rows that it was given, in their order, however they were cut into blocks.
    """

    name: str
    inputs: ModelInputs

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        """Learn a block of feature rows in order; `weight` is each row's importance, 1 for an ordinary one."""
        ...

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row with what was learned so far; changes nothing."""
        ...

    def export(self) -> LearnedWeights:
        """Return what a worker needs to score; raises ModelNotServedError where there is no array form."""
        ...

    def dump(self) -> ModelState:
        """Return everything that was learned; the inverse is `load`."""
        ...

    def load(self, state: ModelState) -> None:
        """Take over what `dump` returned; the model must be fresh and of the same name, inputs and options."""
        ...


def numbers_of(state: ModelState, key: str) -> list[float]:
    """Return a list of numbers from a model's state; raises ValueError where it is missing or is not one."""
    found = state.get(key)
    if isinstance(found, list):
        return found
    raise ValueError(f"a model's checkpoint lacks the numbers {key!r}: it is of another version or damaged")
