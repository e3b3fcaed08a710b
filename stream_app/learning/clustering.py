"""How a customer's observations hang together: what that takes from certainty, and how much customers differ.

A customer is observed every two weeks and after each order. The residuals of one customer move together, because
customers differ in ways that no feature shows, and because labels of overlapping windows share their days. Two numbers
follow, with r a standardised residual, h = p (1 - p), and sums over a customer's observations:

* design effect = sum (sum r)^2 / sum r^2 over customers (Kish): the posterior counts observations as independent and is
too
  sure of itself by this factor;
* customer variance = sum [(sum r)^2 - sum r^2] / sum [(sum sqrt h)^2 - sum h], the moment estimate of the variance of a
  customer's own deviation on the logit, since cov(r_i, r_j) = sqrt(h_i h_j) variance. Overlapping windows make it too
  large, never too small: the interval errs on the wide side.

Both are estimated on a hash sample of customers, so that memory is bounded.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

MOST_CUSTOMERS = 4_096
_LEAST_CUSTOMERS = 50
_EDGE = 0.02
"""Probabilities are kept this far from 0 and 1: a single surprise must not decide."""

Sums = tuple[float, float, float, float]
"""Of residuals, their squares, sqrt(h) and h."""


class CustomerClusters:
    """Running sums by customer. When there are too many customers, half of them are dropped by hash."""

    def __init__(self) -> None:
        self.sums: dict[int, Sums] = {}
        """By hash of the customer."""
        self.mask = 0
        """A customer is in the sample when these bits of its hash are 0."""

    def add(self, customers: Sequence[str], probability: NDArray[np.float64], churned: NDArray[np.bool_]) -> None:
        """Count a block of served probabilities and labels."""
        safe = np.clip(probability, _EDGE, 1.0 - _EDGE)
        roots = np.sqrt(safe * (1.0 - safe))
        residuals = (churned - safe) / roots
        for customer, residual, root in zip(customers, residuals.tolist(), roots.tolist(), strict=True):
            key = crc32(customer.encode())
            if key & self.mask:
                continue
            total, squares, root_sum, root_squares = self.sums.get(key, (0.0, 0.0, 0.0, 0.0))
            self.sums[key] = (
                total + residual,
                squares + residual * residual,
                root_sum + root,
                root_squares + root * root,
            )
            if len(self.sums) > MOST_CUSTOMERS:
                self._halve()

    def design_effect(self) -> float:
        """Return the factor on the posterior variance: at least 1, and 1 while fewer than 50 customers are known."""
        squares = sum(each[1] for each in self.sums.values())
        if len(self.sums) < _LEAST_CUSTOMERS or squares <= 0:
            return 1.0
        return max(sum(each[0] ** 2 for each in self.sums.values()) / squares, 1.0)

    def customer_variance(self) -> float:
        """Return the variance of customers' own deviations on the logit; 0 while fewer than 50 customers are known."""
        pairs = sum(each[2] ** 2 - each[3] for each in self.sums.values())
        if len(self.sums) < _LEAST_CUSTOMERS or pairs <= 0:
            return 0.0
        return max(sum(each[0] ** 2 - each[1] for each in self.sums.values()) / pairs, 0.0)

    def _halve(self) -> None:
        self.mask = self.mask << 1 | 1
        self.sums = {key: value for key, value in self.sums.items() if not key & self.mask}
