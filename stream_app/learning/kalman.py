"""Online Bayesian logistic regression by an extended Kalman filter, with a fixed prior offset.

One step for inputs x (standardised, clipped, with a leading 1), label y and importance v, under the posterior N(w, C):

    p = sigmoid(offset + w x),  h = max(p (1 - p), 0.01),  u = C x,  k = v / (1 + v h x u)
    w += k (y - p) u,  C -= k h u u'

(the usual linearisation of the Bernoulli likelihood; see Spiegelhalter and Lauritzen 1990, and West, Harrison and Migon
1985 for dynamic generalised linear models). There is no forgetting: with a decayed covariance it winds up on a stream
whose labels come late. Standardising is part of the estimator because the offset must stay as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from river import base

from stream_app.core.features import KIND
from stream_app.learning.inputs import AFTER_ORDER, ON_CALENDAR, feature_of
from stream_app.learning.scorer import bounded_sigmoid

Vector = NDArray[np.float64]

_LEAST_CURVATURE = 0.01
_LEAST_RELATIVE_VARIANCE = 1e-9
"""An input whose variance is below this share of its square has not varied: it gets no weight."""
_GROWTH = 16


class KalmanCore:
    """The filter over a fixed number of input slots. `KalmanLogisticRegression` gives them names."""

    def __init__(self, width: int, prior_variance: float, intercept_variance: float, clip: float) -> None:
        self.prior_variance = prior_variance
        self.clip = clip
        self.count: Vector = np.zeros(width)
        self.mean: Vector = np.zeros(width)
        self.squares: Vector = np.zeros(width)
        """Weighted sums of squared deviations."""
        self.weights: Vector = np.zeros(width + 1)
        """The intercept first."""
        self.covariance: NDArray[np.float64] = np.diag([intercept_variance] + [prior_variance] * width)

    @property
    def width(self) -> int:
        """Number of input slots."""
        return len(self.count)

    def grow(self, width: int) -> None:
        """Add slots up to `width`, with the prior."""
        old = self.width
        extra = np.zeros(width - old)
        self.count = np.concatenate((self.count, extra))
        self.mean = np.concatenate((self.mean, extra))
        self.squares = np.concatenate((self.squares, extra))
        self.weights = np.concatenate((self.weights, extra))
        covariance = np.diag(np.full(width + 1, self.prior_variance))
        covariance[: old + 1, : old + 1] = self.covariance
        self.covariance = covariance

    def inverse_scale(self) -> Vector:
        """Return 1 / standard deviation per slot, 0 where nothing has varied."""
        variance = self.squares / np.maximum(self.count, 1e-300)
        varied = variance > _LEAST_RELATIVE_VARIANCE * (1.0 + self.mean * self.mean)
        # An input that has not varied divides by infinity: cheaper than choosing twice.
        variance[~varied] = np.inf
        scale: Vector = 1.0 / np.sqrt(variance)
        return scale

    def standardised(self, values: Vector) -> Vector:
        """Return values as deviations in units of the running standard deviation, clipped."""
        scaled: Vector = (values - self.mean) * self.inverse_scale()
        # np.clip costs twice as much on a hundred numbers.
        return np.minimum(np.maximum(scaled, -self.clip), self.clip)

    def probability(self, values: Vector, offset: float) -> float:
        """Return P(y = 1)."""
        terms = self.standardised(values) * self.weights[1:]
        return bounded_sigmoid(float(np.add.reduce(terms)) + float(self.weights[0]) + offset)

    def learn(self, values: Vector, label: float, offset: float, importance: float, present: Vector | None) -> None:
        """Take one example in.

        `present` is 1 for inputs that the example has and 0 for others, whose value must be the mean; None: all.
        """
        weight = importance if present is None else importance * present
        self.count += weight
        deviation = values - self.mean
        self.mean += deviation * (weight / np.maximum(self.count, 1e-300))
        self.squares += weight * deviation * (values - self.mean)

        inputs = np.empty(self.width + 1)
        inputs[0] = 1.0
        inputs[1:] = self.standardised(values)
        if present is not None:
            inputs[1:] *= present
        probability = bounded_sigmoid(
            float(np.add.reduce(inputs[1:] * self.weights[1:])) + float(self.weights[0]) + offset
        )
        curvature = max(probability * (1.0 - probability), _LEAST_CURVATURE)
        reach = self.covariance @ inputs
        gain = importance / (1.0 + importance * curvature * float(reach @ inputs))
        self.weights += (gain * (label - probability)) * reach
        self.covariance -= np.multiply.outer((gain * curvature) * reach, reach)


class KalmanLogisticRegression(base.Classifier):  # type: ignore[misc]  # River publishes no types
    """A River classifier that keeps a full posterior over its weights, and starts from a prior logit.

    Parameters
    ----------
    prior_variance
        Variance of each weight before anything was learned, on standardised inputs. Small is slow and steady.
    intercept_variance
        The same for the intercept.
    clip
        Standardised inputs are cut at plus and minus this.
    offset
        Name of the feature that is the prior logit: added as it is, so that with all weights at 0 the model predicts
        it. Empty: none.

    Examples
    --------
    >>> model = KalmanLogisticRegression(prior_variance=1.0)
    >>> for day in range(40):
    ...     model.learn_one({"silence": day % 10}, day % 10 > 5)
    >>> model.predict_proba_one({"silence": 9})[True] > 0.8
    True
    """

    def __init__(
        self,
        prior_variance: float = 0.01,
        intercept_variance: float = 1.0,
        clip: float = 5.0,
        offset: str = "",
    ) -> None:
        self.prior_variance = prior_variance
        self.intercept_variance = intercept_variance
        self.clip = clip
        self.offset = offset
        self.core = KalmanCore(0, prior_variance, intercept_variance, clip)
        self.slots: dict[str, int] = {}

    @property
    def _multiclass(self) -> bool:
        return False

    def learn_one(self, x: dict[str, float], y: bool, w: float = 1.0) -> None:
        """Learn from one example.

        A feature never seen before joins with the prior; one that is missing counts as average.
        """
        for name in x:
            if name not in self.slots:
                self.slots[name] = len(self.slots)
        if len(self.slots) > self.core.width:
            self.core.grow(len(self.slots) + _GROWTH)
        values, present = self._values(x)
        self.core.learn(values, float(y), self._offset_of(x), w, present)

    def predict_proba_one(self, x: dict[str, float]) -> dict[bool, float]:
        """Return the probabilities of both labels."""
        values, _ = self._values(x)
        churn = self.core.probability(values, self._offset_of(x))
        return {False: 1.0 - churn, True: churn}

    def _offset_of(self, x: dict[str, float]) -> float:
        return float(x.get(self.offset, 0.0)) if self.offset else 0.0

    def _values(self, x: dict[str, float]) -> tuple[Vector, Vector]:
        values = self.core.mean.copy()
        present = np.zeros(self.core.width)
        for name, value in x.items():
            slot = self.slots.get(name)
            if slot is not None:
                values[slot] = value
                present[slot] = 1.0
        return values, present


class InputSelector(base.Transformer):  # type: ignore[misc]  # River publishes no types
    """The River face of `ModelInputs`: picks a model's inputs from the features and crosses them with the kind.

    Parameters
    ----------
    names
        Inputs, e.g. "c30" or "c30*calendar".
    kept
        Features that are passed on as they are, whether inputs or not, such as the offset.
    """

    def __init__(self, names: tuple[str, ...], kept: tuple[str, ...] = ()) -> None:
        self.names = names
        self.kept = kept

    def transform_one(self, x: dict[str, float]) -> dict[str, float]:
        """Return the inputs by name."""
        kind = x.get(KIND, 0.0)
        inputs = {name: x[name] for name in self.kept if name in x}
        for name in self.names:
            feature = feature_of(name)
            if feature not in x:
                continue
            inputs[name] = x[feature]
            if name.endswith(ON_CALENDAR):
                inputs[name] *= kind
            elif name.endswith(AFTER_ORDER):
                inputs[name] *= 1.0 - kind
        return inputs
