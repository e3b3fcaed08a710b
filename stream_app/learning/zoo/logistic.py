"""River's logistic regression on standardised inputs, with one of its optimisers."""

from collections.abc import Mapping

from river import linear_model, optim

from stream_app.learning.inputs import DEFAULT_INPUTS
from stream_app.learning.zoo.linear import RiverLinear

_INTERCEPT_RATE = 0.01


def create(name: str, inputs: tuple[str, ...] | None, options: Mapping[str, float]) -> RiverLinear:
    """Return logistic regression; the optimiser is in the name."""
    rate = options["rate"]
    optimizers = {
        "adagrad": lambda: optim.AdaGrad(rate),
        "logistic-sgd": lambda: optim.SGD(rate),
        "logistic-adam": lambda: optim.Adam(rate),
        "logistic-ftrl": lambda: optim.FTRLProximal(alpha=rate, l1=options["l1"], l2=options["l2"]),
    }
    estimator = linear_model.LogisticRegression(
        optimizer=optimizers[name](), intercept_lr=_INTERCEPT_RATE, l2=0.0 if name == "logistic-ftrl" else options["l2"]
    )
    return RiverLinear(name, inputs or DEFAULT_INPUTS, estimator, lambda model: model.weights)
