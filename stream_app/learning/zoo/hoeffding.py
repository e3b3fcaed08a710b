"""Hoeffding trees from River, as single models and as members of ensembles."""

from collections.abc import Mapping

from river import tree

from stream_app.learning.zoo.river_rows import RiverRows


def hoeffding_tree(options: Mapping[str, float]) -> tree.HoeffdingTreeClassifier:
    """Return a member of an ensemble: leaves tell the share of churners that they have seen."""
    return tree.HoeffdingTreeClassifier(grace_period=int(options["grace"]), leaf_prediction="mc")


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverRows:
    """Return the Hoeffding adaptive tree."""
    adaptive = tree.HoeffdingAdaptiveTreeClassifier(
        grace_period=int(options["grace"]), leaf_prediction="mc", seed=int(options["seed"])
    )
    return RiverRows(name, inputs, adaptive, learns_importance=True)
