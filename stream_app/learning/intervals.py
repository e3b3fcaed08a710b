"""Between which bounds a true probability lies, given the one that is served and what is not known of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

Interval = tuple[float, float]

_TAIL = 0.05
"""Left out of an interval on either side: it is one of 90 %."""
_MOST_CORRELATION = 0.95
_EDGE = 1e-4


def beta_intervals(
    probability: NDArray[np.float64], spread: float, logit_variance: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the 90 % intervals of true probabilities whose means are served; they hold the served ones.

    Parameters
    ----------
    probability
        As served.
    spread
        Share of p (1 - p) by which customers with the same features differ.
    logit_variance
        Of the served logit itself; it moves p by p (1 - p) times as much.
    """
    mean = np.minimum(np.maximum(probability, _EDGE), 1.0 - _EDGE)
    correlation = spread + (1.0 - spread) * mean * (1.0 - mean) * logit_variance
    in_doubt = correlation > 0.0
    precision = 1.0 / np.minimum(np.where(in_doubt, correlation, _MOST_CORRELATION), _MOST_CORRELATION) - 1.0
    alpha, beta = mean * precision, (1.0 - mean) * precision
    low = np.where(in_doubt, np.minimum(betaincinv(alpha, beta, _TAIL), probability), probability)
    high = np.where(in_doubt, np.maximum(betaincinv(alpha, beta, 1.0 - _TAIL), probability), probability)
    return low, high
