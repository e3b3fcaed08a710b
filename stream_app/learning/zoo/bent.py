"""What the models with a linear path and a bend beside it have in common: they are served as arrays (see `bends`)."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from stream_app.learning.zoo.descent import AdaGrad
from stream_app.learning.zoo.linear import linear_probabilities
from stream_app.learning.zoo.rows import RowModel
from stream_app.learning.zoo.scaling import CLIP
from stream_app.learning.zoo.types import Features, LearnedWeights, Vector


class BentModel(RowModel):
    """A linear path (intercept last), learned by AdaGrad; what bends it is the subclass's.

    Parameters
    ----------
    name, inputs
        As of any `RowModel`.
    options
        With `rate` and `l2`.
    """

    form: ClassVar[str]
    """As a snapshot names the bend."""

    def __init__(self, name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> None:
        super().__init__(name, inputs)
        self.linear = AdaGrad(np.zeros(len(self.inputs.names) + 1), options["rate"], options["l2"])

    def predict(self, features: Features) -> Vector:
        """Return P(churn) of every row, as a worker does."""
        return linear_probabilities(self.export(), self.inputs, features)

    def export(self) -> LearnedWeights:
        """Return what a scorer needs."""
        assert self.scaler is not None
        return LearnedWeights(
            mean=tuple(self.scaler.mean.tolist()),
            inverse_scale=tuple(self.scaler.inverse_scale().tolist()),
            weights=tuple(self.linear.weights[:-1].tolist()),
            intercept=float(self.linear.weights[-1]),
            clip=CLIP,
            form=self.form,
            arrays=self._arrays(),
        )

    @abstractmethod
    def _arrays(self) -> tuple[float, ...]:
        """Return the numbers of the bend."""
