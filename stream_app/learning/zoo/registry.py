"""Which models there are. Light to import: a model's own file, and River, are loaded when it is created."""

import math
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from stream_app.core.features import FEATURES
from stream_app.core.features_visits import VISIT_FEATURES, VOICE_FEATURES
from stream_app.learning.inputs import feature_of
from stream_app.learning.zoo.types import OnlineModel

KALMAN = "kalman"
KALMAN_ORDERS = "kalman-orders"
ADAGRAD = "adagrad"
DEFAULT_MODEL = KALMAN

_THEMES = {feature.name: feature.theme for feature in FEATURES}
_VISITS = frozenset(feature.name for feature in VISIT_FEATURES)
_VOICE = frozenset(feature.name for feature in VOICE_FEATURES)


class Knob(NamedTuple):
    """An option of a model: its default, and the range in which `stream-app tune` looks for a better value."""

    default: float
    low: float
    high: float
    logarithmic: bool = False
    whole: bool = False
    most: float = math.inf
    """The largest value that is possible at all."""

    def refusal(self, value: float) -> str:
        """Return why a value is impossible, empty where it is possible (inside the range searched or not)."""
        if not math.isfinite(value):
            return "must be a finite number"
        if self.whole and not value.is_integer():
            return "must be a whole number"
        if self.low == self.high or self.low <= 0.0:  # a seed, or something that may be absent
            least, possible = "0 or more", value >= 0.0
        elif self.whole:
            least, possible = "1 or more", value >= 1.0
        else:
            least, possible = "above 0", value > 0.0
        if not possible:
            return f"must be {least}"
        return "" if value <= self.most else f"must be {self.most:g} or less"


class Entry(NamedTuple):
    """One model. `module` is a file of this package whose `create(name, inputs, options)` makes it."""

    module: str
    summary: str
    knobs: Mapping[str, Knob] = {}
    served: bool = True
    """Whether workers can serve it: it has an array form. Others are for evaluation and as challengers only."""
    extra: str = ""
    """The optional dependency that it needs."""
    chooses_inputs: bool = True
    """Whether families of inputs can be switched off; an ensemble's members choose for themselves."""
    slow: bool = False
    """Whether a row costs about a millisecond: evaluation lets it learn from a share of the customers."""
    unbounded: bool = False
    """Whether its memory grows with every example, without end: for evaluation, not for a trainer."""


_PRIOR = {
    "prior_variance": Knob(0.003, 0.0003, 0.03, logarithmic=True),
    "intercept_variance": Knob(0.01, 0.003, 1.0, logarithmic=True),
    "clip": Knob(5.0, 2.0, 8.0),
}
_RIDGE = Knob(0.0, 0.0, 0.01)
_SEED = Knob(7, 7, 7, whole=True)
_TREES = {"trees": Knob(10, 3, 15, whole=True), "grace": Knob(200, 50, 400, whole=True), "seed": _SEED}


def _rate(default: float) -> Knob:
    return Knob(default, default / 20.0, default * 20.0, logarithmic=True)


ENTRIES: dict[str, Entry] = {
    KALMAN: Entry("kalman", "Bayesian logistic regression (EKF) around a prior logit: the default", _PRIOR),
    KALMAN_ORDERS: Entry("kalman", "the default without clicks and texts, to measure what they add", _PRIOR),
    ADAGRAD: Entry("logistic", "logistic regression, AdaGrad", {"rate": _rate(0.05), "l2": _RIDGE}),
    "logistic-sgd": Entry("logistic", "logistic regression, plain SGD", {"rate": _rate(0.003), "l2": _RIDGE}),
    "logistic-adam": Entry("logistic", "logistic regression, Adam", {"rate": _rate(0.001), "l2": _RIDGE}),
    "logistic-ftrl": Entry(
        "logistic",
        "logistic regression, FTRL-proximal with L1 and L2",
        {"rate": _rate(0.1), "l1": Knob(0.0, 0.0, 5.0), "l2": Knob(1.0, 0.0, 10.0)},
    ),
    "svm": Entry("margins", "linear SVM by SGD on the hinge loss, Platt scaling", {"rate": _rate(0.003), "l2": _RIDGE}),
    "passive-aggressive": Entry(
        "margins", "PA-I, Platt scaling", {"aggressiveness": Knob(0.001, 0.0001, 1.0, logarithmic=True)}
    ),
    "alma": Entry("margins", "approximate large margin, Platt scaling", {"alpha": Knob(0.9, 0.5, 0.99, most=1.0)}),
    "perceptron": Entry("margins", "Rosenblatt's perceptron, Platt scaling"),
    "factorisation-machine": Entry(
        "factorisation",
        "linear weights and pairs of inputs through a few factors, AdaGrad",
        {"rate": _rate(0.05), "factors": Knob(4, 2, 16, whole=True), "l2": Knob(0.0001, 0.0, 0.01), "seed": _SEED},
    ),
    "mlp": Entry(
        "mlp",
        "one hidden layer beside a linear path, AdaGrad",
        {"rate": _rate(0.03), "hidden": Knob(16, 4, 64, whole=True), "l2": Knob(0.0001, 0.0, 0.01), "seed": _SEED},
    ),
    "naive-bayes": Entry("naive_bayes", "Gaussian naive Bayes, Platt scaling", served=False),
    "knn": Entry(
        "knn",
        "nearest neighbours in a window of the latest examples",
        {"neighbours": Knob(50, 10, 200, whole=True), "window": Knob(2000, 500, 4000, whole=True)},
        served=False,
    ),
    "hoeffding-adaptive-tree": Entry(
        "hoeffding", "one tree that regrows branches on drift", {"grace": _TREES["grace"], "seed": _SEED}, served=False
    ),
    "adaptive-random-forest": Entry(
        "forests", "ARF: random trees, each with drift detection", _TREES, served=False, slow=True
    ),
    "random-patches": Entry("bagging", "SRP: trees on random rows and inputs", _TREES, served=False, slow=True),
    "mondrian-forest": Entry(
        "forests",
        "AMF: Mondrian trees; grows with the stream",
        {"trees": _TREES["trees"], "seed": _SEED},
        served=False,
        slow=True,
        unbounded=True,
    ),
    "leveraging-bagging": Entry(
        "bagging", "Hoeffding trees on heavily resampled rows", _TREES, served=False, slow=True
    ),
    "adwin-bagging": Entry(
        "bagging",
        "ten logistic regressions on resampled rows, the worst replaced on drift",
        {"members": Knob(10, 3, 15, whole=True), "rate": _rate(0.05), "seed": _SEED},
        served=False,
    ),
    "boosting": Entry("boosting", "AdaBoost of Hoeffding trees, Platt scaling", _TREES, served=False, slow=True),
    "lstm": Entry(
        "lstm",
        "LSTM over windows of activity, through deep-river",
        {"rate": _rate(0.005), "units": Knob(16, 4, 64, whole=True), "l2": _RIDGE, "seed": _SEED},
        served=False,
        extra="deep",
    ),
    "mean-of-logits": Entry(
        "ensembles", "kalman, adagrad and mlp, averaged on the logit", served=False, chooses_inputs=False
    ),
    "stacked": Entry(
        "ensembles",
        "kalman, adagrad, mlp and a forest, weighed by a Kalman filter",
        chooses_inputs=False,
        served=False,
        slow=True,
    ),
}
MODEL_NAMES = tuple(ENTRIES)

FAMILIES: dict[str, Callable[[str], bool]] = {
    "crossed": lambda name: feature_of(name) != name,
    "value": lambda name: _THEMES[feature_of(name)] == "value",
    "visits": lambda name: feature_of(name) in _VISITS,
    "voice": lambda name: feature_of(name) in _VOICE,
}
"""Families of inputs that an option of 0 leaves out: products with the kind, amounts, clicks, texts."""
_SWITCH = Knob(1, 0, 1, whole=True, most=1.0)


def create(name: str, inputs: tuple[str, ...] | None = None, options: Mapping[str, float] | None = None) -> OnlineModel:
    """Return a fresh model.

    Parameters
    ----------
    name
        One of `MODEL_NAMES`.
    inputs
        What it sees of the features; None: its own choice.
    options
        Values for its knobs; what is left out has its default.

    Raises
    ------
    ValueError
        For a name, an input or an option that there is not; the message lists what there is.
    ModuleNotFoundError
        When the model's optional dependency is not installed; the message names the extra.
    """
    module: Any = import_module(f"stream_app.learning.zoo.{entry_of(name).module}")
    chosen = options_of(name, options)
    off = [belongs for family, belongs in FAMILIES.items() if chosen.pop(family, 1.0) < 0.5]  # noqa: PLR2004 - a switch
    model: OnlineModel = module.create(name, inputs, chosen)
    if not off:
        return model
    kept = tuple(one for one in model.inputs.names if not any(belongs(one) for belongs in off))
    reduced: OnlineModel = module.create(name, kept, chosen)
    return reduced


def entry_of(name: str) -> Entry:
    """Return the entry of a model; raises ValueError for a name that there is not."""
    if name not in ENTRIES:
        raise ValueError(f"unknown model {name!r}: choose one of {', '.join(MODEL_NAMES)}")
    return ENTRIES[name]


def knobs_of(name: str) -> dict[str, Knob]:
    """Return a model's own knobs and, where it chooses its inputs itself, a switch for each family of them."""
    entry = entry_of(name)
    return dict(entry.knobs) | (dict.fromkeys(FAMILIES, _SWITCH) if entry.chooses_inputs else {})


def options_of(name: str, given: Mapping[str, float] | None = None) -> dict[str, float]:
    """Return all options of a model, the given ones over the defaults.

    Raises ValueError for an option that the model lacks, or a value that is impossible.
    """
    knobs = knobs_of(name)
    unknown = [option for option in given or {} if option not in knobs]
    if unknown:
        known = ", ".join(knobs) or "none"
        raise ValueError(f"model {name!r} has no option {unknown[0]!r}: it has {known}")
    for option, value in (given or {}).items():
        refusal = knobs[option].refusal(float(value))
        if refusal:
            raise ValueError(f"model {name!r}: {option} is {value:g}, but {refusal}")
    return {option: knob.default for option, knob in knobs.items()} | dict(given or {})
