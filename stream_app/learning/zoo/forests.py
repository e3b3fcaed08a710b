"""Forests from River: adaptive random forest and aggregated Mondrian forest."""

from collections.abc import Mapping

from river import forest

from stream_app.learning.zoo.river_rows import RiverRows


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverRows:
    """Return a forest. Mondrian trees cut where the data spread, so they see standardised inputs."""
    trees, seed = int(options["trees"]), int(options["seed"])
    if name == "mondrian-forest":
        return RiverRows(name, inputs, forest.AMFClassifier(n_estimators=trees, seed=seed), scaled=True)
    adaptive = forest.ARFClassifier(n_models=trees, grace_period=int(options["grace"]), leaf_prediction="mc", seed=seed)
    return RiverRows(name, inputs, adaptive)
