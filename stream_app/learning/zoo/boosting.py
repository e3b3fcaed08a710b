"""Online boosting from River."""

from collections.abc import Mapping

from river import ensemble

from stream_app.learning.zoo.hoeffding import hoeffding_tree
from stream_app.learning.zoo.river_rows import RiverRows


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverRows:
    """Return AdaBoost of Hoeffding trees; its votes are weights, not probabilities, hence Platt scaling."""
    boosted = ensemble.AdaBoostClassifier(
        hoeffding_tree(options), n_models=int(options["trees"]), seed=int(options["seed"])
    )
    return RiverRows(name, inputs, boosted, calibrated=True)
