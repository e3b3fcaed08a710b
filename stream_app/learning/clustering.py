"""How much less a customer's observations tell than as many independent ones: the design effect.

A customer is observed every two weeks and after each order, and labels of overlapping windows share their days, so
residuals of one customer move together. The posterior counts them as independent and is too sure of itself; its
variance is widened by

    sum over customers (sum of standardised residuals)^2 / sum of squared standardised residuals

(the ratio of the cluster-robust to the naive variance for a constant regressor; Kish's design effect). Estimated on a
hash sample of customers, so that memory is bounded.
"""

from collections.abc import Sequence
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

MOST_CUSTOMERS = 4_096
_LEAST_CUSTOMERS = 50
_EDGE = 0.02
"""Probabilities are kept this far from 0 and 1: a single surprise must not decide."""


class DesignEffect:
    """Running sums of residuals by customer. When there are too many customers, half of them are dropped by hash."""

    def __init__(self) -> None:
        self.sums: dict[int, tuple[float, float]] = {}
        """Sum of residuals and of their squares, by hash of the customer."""
        self.mask = 0
        """A customer is in the sample when these bits of its hash are 0."""

    def add(self, customers: Sequence[str], probability: NDArray[np.float64], churned: NDArray[np.bool_]) -> None:
        """Count a block of served probabilities and labels."""
        safe = np.clip(probability, _EDGE, 1.0 - _EDGE)
        residuals = (churned - safe) / np.sqrt(safe * (1.0 - safe))
        for customer, residual in zip(customers, residuals.tolist(), strict=True):
            key = crc32(customer.encode())
            if key & self.mask:
                continue
            total, squares = self.sums.get(key, (0.0, 0.0))
            self.sums[key] = (total + residual, squares + residual * residual)
            if len(self.sums) > MOST_CUSTOMERS:
                self._halve()

    def value(self) -> float:
        """Return the factor on the variance: at least 1, and 1 while fewer than 50 customers are known."""
        squares = sum(each for _, each in self.sums.values())
        if len(self.sums) < _LEAST_CUSTOMERS or squares <= 0:
            return 1.0
        return max(sum(total * total for total, _ in self.sums.values()) / squares, 1.0)

    def _halve(self) -> None:
        self.mask = self.mask << 1 | 1
        self.sums = {key: value for key, value in self.sums.items() if not key & self.mask}
