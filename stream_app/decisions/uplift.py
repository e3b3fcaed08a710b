"""Whom a treatment helps: a one-pass uplift model, and the Qini measure of how well it ranks.

The model is a Bayesian linear regression on features and on features times treatment (as `bandit` has it for each
action), kept as sums: one pass, any order. The Qini coefficient is that of Radcliffe ("Using control groups to target
on predicted lift", 2007): the area between the curve of incremental responses, targeting best-ranked first, and that
of targeting at random, per customer.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class OnlineUplift:
    """Learns the effect of one treatment as a linear function of features.

    Parameters
    ----------
    width
        Number of features, a constant among them.
    shrinkage
        Prior precision of every weight: how many observations it takes to believe the data as much as "no effect".
    """

    def __init__(self, width: int, shrinkage: float = 10.0) -> None:
        self._width = width
        self._gram = np.diag(np.full(2 * width, shrinkage))
        self._moment = np.zeros(2 * width)

    def learn(self, features: Floats, is_treated: bool, response: float) -> None:
        """Take in one observation of a randomised treatment."""
        row = np.concatenate([features, features if is_treated else np.zeros(self._width)])
        self._gram += np.outer(row, row)
        self._moment += row * response

    def effects(self, features: Floats) -> Floats:
        """Return the expected effect of treatment for each row of features."""
        weights = np.linalg.solve(self._gram, self._moment)
        return np.asarray(features @ weights[self._width :], dtype=np.float64)


def qini(effects: Floats, is_treated: NDArray[np.bool_], responses: Floats) -> float:
    """Return the Qini coefficient of a ranking by predicted effects: 0 is random, larger is better.

    Ties count as the average of their orders, so that a constant prediction has exactly 0.
    """
    order = np.argsort(-effects, kind="stable")
    treated = is_treated[order].astype(np.float64)
    response = responses[order]
    treated_count, control_count = np.cumsum(treated), np.cumsum(1 - treated)
    in_treated, in_control = np.cumsum(treated * response), np.cumsum((1 - treated) * response)
    scale = np.divide(treated_count, control_count, out=np.zeros_like(treated_count), where=control_count > 0)
    gain = in_treated - in_control * scale
    ends = np.flatnonzero(np.append(np.diff(effects[order]) != 0, True))
    heights = np.concatenate([[0.0], gain[ends]])
    places = np.concatenate([[0.0], (ends + 1) / len(order)])
    area = float(np.sum(np.diff(places) * (heights[1:] + heights[:-1]) / 2))
    return (area - float(gain[-1]) / 2) / len(order)


def qini_interval(
    effects: Floats, is_treated: NDArray[np.bool_], responses: Floats, rounds: int, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """Return a bootstrap interval of the Qini coefficient over customers; the same seed gives the same interval."""
    generator = np.random.default_rng(seed)
    count = len(effects)
    found = []
    for _ in range(rounds):
        sample = generator.integers(0, count, count)
        found.append(qini(effects[sample], is_treated[sample], responses[sample]))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
