"""Maximum-likelihood fit of the BG/NBD model (Fader, Hardie and Lee, Marketing Science 2005, eq. 6)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln, psi

from stream_app.core.population import BetaGeometric

Vector = NDArray[np.float64]
Row = tuple[float, float, float, float]
"""Repeats, recency (first to last order), age (first order to now), customers; times in days."""

MOST_ROWS = 6_000
LEAST_CUSTOMERS = 100.0
_PENALTY = 1e-3
"""Ridge on the logarithms of the parameters: without it, a shop that nobody leaves drives the dropout parameters to
infinity."""
_BOUND = 9.0
_START = (0.5, 30.0, 0.5, 2.0)


def fit_bgnbd(rows: Sequence[Row], start: BetaGeometric | None = None) -> BetaGeometric | None:
    """Return the fitted parameters, or None when the sample is too small or the fit fails.

    At most 6,000 rows are used, evenly spread over the (sorted) sample. Deterministic; takes about a tenth of a second,
    so a trainer calls it outside of its consumer loop.
    """
    if sum(row[3] for row in rows) < LEAST_CUSTOMERS:
        return None
    table = np.array(thinned(rows))
    initial = np.log(_START if start is None else (start.r, start.alpha, start.a, start.b))
    result = minimize(
        _loss, initial, args=(table[:, 0], table[:, 1], table[:, 2], table[:, 3]), jac=True, method="L-BFGS-B",
        bounds=[(-_BOUND, _BOUND)] * 4,
    )  # fmt: skip
    if not np.all(np.isfinite(result.x)):
        return None
    r, alpha, a, b = np.exp(result.x).tolist()
    return BetaGeometric(r=r, alpha=alpha, a=a, b=b)


def thinned(rows: Sequence[Row]) -> Sequence[Row]:
    """Return at most `MOST_ROWS` of the rows, evenly spread."""
    if len(rows) <= MOST_ROWS:
        return rows
    return [rows[index * len(rows) // MOST_ROWS] for index in range(MOST_ROWS)]


def _loss(log_parameters: Vector, x: Vector, recency: Vector, age: Vector, customers: Vector) -> tuple[float, Vector]:
    """Return the penalised mean negative log likelihood, and its gradient in the logarithms of the parameters."""
    r, alpha, a, b = np.exp(log_parameters)
    repeats = x > 0
    safe_x = np.maximum(x, 1.0)
    alive = -(r + x) * np.log(alpha + age)
    left = np.where(repeats, np.log(a / (b + safe_x - 1.0)) - (r + x) * np.log(alpha + recency), -np.inf)
    both = np.logaddexp(alive, left)
    likelihood = (
        gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x)
        + both
    )  # fmt: skip
    share = np.exp(left - both)
    stays = 1.0 - share
    by_r = psi(r + x) - psi(r) + np.log(alpha) - stays * np.log(alpha + age) - share * np.log(alpha + recency)
    by_alpha = r / alpha - stays * (r + x) / (alpha + age) - share * (r + x) / (alpha + recency)
    by_a = psi(a + b) - psi(a + b + x) + share / a
    by_b = psi(a + b) + psi(b + x) - psi(b) - psi(a + b + x) - share / (b + safe_x - 1.0)
    total = float(customers.sum())
    gradient = np.array([float(customers @ by) for by in (by_r, by_alpha, by_a, by_b)]) / total
    loss = -float(customers @ likelihood) / total + _PENALTY * float(log_parameters @ log_parameters)
    return loss, -gradient * np.array([r, alpha, a, b]) + 2.0 * _PENALTY * log_parameters
