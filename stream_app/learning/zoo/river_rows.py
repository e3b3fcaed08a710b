"""River's classifiers that see a row as a dict: trees and ensembles."""

from typing import Any

import numpy as np

from stream_app.learning.zoo.graph import decode, encode
from stream_app.learning.zoo.rows import RowModel
from stream_app.learning.zoo.scaling import Repeats
from stream_app.learning.zoo.types import ModelState, Vector, numbers_of


class RiverRows(RowModel):
    """A River classifier with `learn_one` and `predict_proba_one`.

    Parameters
    ----------
    name, inputs, scaled, calibrated
        See `RowModel`.
    estimator
        Fresh.
    learns_importance
        Whether its `learn_one` takes a weight; else rows are repeated (see `Repeats`).
    """

    def __init__(
        self,
        name: str,
        inputs: tuple[str, ...] | None,
        estimator: Any,
        *,
        scaled: bool = False,
        calibrated: bool = False,
        learns_importance: bool = False,
    ) -> None:
        super().__init__(name, inputs, scaled=scaled, calibrated=calibrated)
        self.estimator = estimator
        self._learns_importance = learns_importance
        self._repeats = Repeats()

    def _learn_row(self, row: Vector, label: bool, importance: float) -> None:
        if importance <= 0:
            return  # River's running means divide by the sum of the weights
        named = dict(zip(self.inputs.names, row.tolist(), strict=True))
        if self._learns_importance:
            self.estimator.learn_one(named, label, w=importance)
            return
        for _ in range(self._repeats.of(importance)):
            self.estimator.learn_one(named, label)

    def _probabilities(self, block: Vector) -> Vector:
        names = self.inputs.names
        return np.array([self._probability(dict(zip(names, row, strict=True))) for row in block.tolist()])

    def _probability(self, named: dict[str, float]) -> float:
        found = self.estimator.predict_proba_one(named)
        churned, stayed = float(found.get(True, 0.0)), float(found.get(False, 0.0))
        return churned / (churned + stayed) if churned + stayed > 0.0 else 0.5

    def _dump(self) -> ModelState:
        return {"estimator": encode(self.estimator), "carried": [self._repeats.carried]}

    def _load(self, state: ModelState) -> None:
        self.estimator = decode(state["estimator"])
        [self._repeats.carried] = numbers_of(state, "carried")
