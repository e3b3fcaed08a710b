"""Bagging from River: streaming random patches, leveraging bagging, and ADWIN bagging of logistic regressions."""

from collections.abc import Mapping

from river import ensemble, linear_model, optim

from stream_app.learning.inputs import DEFAULT_INPUTS
from stream_app.learning.zoo.hoeffding import hoeffding_tree
from stream_app.learning.zoo.river_rows import RiverRows


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverRows:
    """Return a bagging ensemble."""
    seed = int(options["seed"])
    if name == "adwin-bagging":
        member = linear_model.LogisticRegression(optim.AdaGrad(options["rate"]), intercept_lr=0.01)
        bag = ensemble.ADWINBaggingClassifier(member, n_models=int(options["members"]), seed=seed)
        return RiverRows(name, inputs or DEFAULT_INPUTS, bag, scaled=True)
    trees, member = int(options["trees"]), hoeffding_tree(options)
    if name == "random-patches":
        return RiverRows(name, inputs, ensemble.SRPClassifier(model=member, n_models=trees, seed=seed))
    return RiverRows(name, inputs, ensemble.LeveragingBaggingClassifier(member, n_models=trees, seed=seed))
