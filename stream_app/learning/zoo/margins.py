"""Linear models that learn a margin, not a probability: each with Platt scaling on the stream."""

from collections.abc import Mapping

from river import linear_model, optim

from stream_app.learning.inputs import DEFAULT_INPUTS
from stream_app.learning.zoo.linear import RiverLinear


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverLinear:
    """Return a linear support vector machine (hinge loss by SGD), passive-aggressive, ALMA or the perceptron."""
    wanted = inputs or DEFAULT_INPUTS
    if name == "svm":
        machine = linear_model.LogisticRegression(
            optimizer=optim.SGD(options["rate"]),
            loss=optim.losses.Hinge(),
            l2=options["l2"],
            intercept_lr=options["rate"],
        )
        return RiverLinear(name, wanted, machine, lambda model: model.weights, calibrated=True)
    if name == "perceptron":
        return RiverLinear(name, wanted, linear_model.Perceptron(), lambda model: model.weights, calibrated=True)
    if name == "passive-aggressive":
        passive = linear_model.PAClassifier(C=options["aggressiveness"], mode=1)
        return RiverLinear(name, wanted, passive, lambda model: model.weights, learns_importance=False, calibrated=True)
    alma = linear_model.ALMAClassifier(alpha=options["alpha"])
    return RiverLinear(name, wanted, alma, lambda model: model.w, learns_importance=False, calibrated=True)
