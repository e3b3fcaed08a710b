"""How a customer's observations hang together: what that takes from certainty, and how much customers differ.

A customer is observed every two weeks and after each order, and customers differ in ways that no feature shows. Two
numbers follow, with p the served probability, y the label and sums over observations:

* design effect = sum over customers (sum r)^2 / sum r^2 (Kish), r = (y - p) / sqrt(p (1 - p)): the posterior counts
  observations as independent and is too sure of itself by this factor;
* spread = sum (y1 - p1) (y2 - p1) / sum p1 (1 - p1), over pairs of a customer's observations: one, and the next whose
  label looks at later days only. It estimates the intraclass correlation: the share of p (1 - p) that is the variance
  of the true probability among customers with the same features. For with q the true probability, E[(y1 - p1) y2] is
  the covariance of silence in two windows that share no day, hence of q; the second label is set against the *first*
  score, since the second score knows how the first window ended. What changes between the windows is lost, so the
  estimate is on the small side.

Both are estimated on a hash sample of customers, so that memory is bounded.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

MOST_CUSTOMERS = 4_096
_LEAST_CUSTOMERS = 50
_MOST_WAITING = 16
_EDGE = 0.02
"""Probabilities are kept this far from 0 and 1: a single surprise must not decide."""
_PRIOR_SPREAD, _PRIOR_WEIGHT = 0.2, 10.0
"""What is believed before pairs are known, and how many units of p (1 - p) it is worth: some fifty pairs."""
_LEAST_SPREAD, _MOST_SPREAD = 0.02, 0.8
_FADE = 0.5 ** (1 / 5_000)
"""After 5,000 pairs a pair counts half: early scores, further off, do not widen intervals for ever."""

Sums = tuple[float, float]
"""Of a customer's standardised residuals, and of their squares."""


class Waiting(NamedTuple):
    """An observation that waits for a later one whose label shares no day with its own."""

    at_ms: int
    probability: float
    residual: float
    weight: float


class CustomerClusters:
    """Running sums by customer. When there are too many customers, half of them are dropped by hash."""

    def __init__(self) -> None:
        self.sums: dict[int, Sums] = {}
        """By hash of the customer."""
        self.waiting: dict[int, list[Waiting]] = {}
        self.mask = 0
        """A customer is in the sample when these bits of its hash are 0."""
        self.pairs = (0.0, 0.0)
        """Faded sums of products of residuals, and of p (1 - p)."""

    def add(
        self,
        customers: Sequence[str],
        at_ms: Sequence[int],
        probability: NDArray[np.float64],
        churned: NDArray[np.bool_],
        weight: NDArray[np.float64],
        horizon_ms: int,
    ) -> None:
        """Count a block of served probabilities and labels; a customer's observations come in order of time.

        `weight` is how many customers each stands for.
        """
        safe = np.clip(probability, _EDGE, 1.0 - _EDGE)
        residuals = churned - safe
        standardised = residuals / np.sqrt(safe * (1.0 - safe))
        rows = zip(
            customers,
            at_ms,
            safe.tolist(),
            residuals.tolist(),
            standardised.tolist(),
            weight.tolist(),
            churned.tolist(),
            strict=True,
        )
        for customer, moment, score, residual, standard, counts, label in rows:
            key = crc32(customer.encode())
            if key & self.mask:
                continue
            known = self.sums.get(key)
            if known is None:
                self.sums[key] = (standard, standard * standard)
                waiting = self.waiting[key] = []
            else:
                self.sums[key] = (known[0] + standard, known[1] + standard * standard)
                waiting = self.waiting[key]
            while waiting and moment - waiting[0].at_ms >= horizon_ms:
                self._pair(waiting.pop(0), float(label), counts)
            waiting.append(Waiting(moment, score, residual, counts))
            if len(waiting) > _MOST_WAITING:
                del waiting[0]
            if len(self.sums) > MOST_CUSTOMERS:
                self._halve()

    def design_effect(self) -> float:
        """Return the factor on the posterior variance: at least 1, and 1 while fewer than 50 customers are known."""
        squares = sum(each[1] for each in self.sums.values())
        if len(self.sums) < _LEAST_CUSTOMERS or squares <= 0:
            return 1.0
        return max(sum(each[0] ** 2 for each in self.sums.values()) / squares, 1.0)

    def spread(self) -> float:
        """Return the share of p (1 - p) that customers with the same features differ by; a prior at first."""
        products, possible = self.pairs
        found = (products + _PRIOR_WEIGHT * _PRIOR_SPREAD) / (possible + _PRIOR_WEIGHT)
        return min(max(found, _LEAST_SPREAD), _MOST_SPREAD)

    def _pair(self, first: Waiting, label: float, counts: float) -> None:
        products, possible = self.pairs
        both, score = first.weight * counts, first.probability
        self.pairs = (
            products * _FADE + both * first.residual * (label - score),
            possible * _FADE + both * score * (1.0 - score),
        )

    def _halve(self) -> None:
        self.mask = self.mask << 1 | 1
        self.sums = {key: value for key, value in self.sums.items() if not key & self.mask}
        self.waiting = {key: value for key, value in self.waiting.items() if not key & self.mask}
