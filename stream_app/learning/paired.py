"""Comparing two models by paired weekly differences, at every week anew, without deceiving oneself.

A week's value is a mean over hundreds of customers, hence nearly normal, while its variance is unknown and weeks are
few: what is needed is a t-test that may be looked at any time. This is the one with a normal mixture over effect sizes
(Lai, "On confidence sequences", Annals of Statistics 1976; Wang and Ramdas, "Anytime-valid t-tests and confidence
sequences for Gaussian means with unknown variance", 2024; the optional stopping is justified by the right Haar prior on
the scale, Hendriksen, de Heide and Gruenwald, 2021). With n values, mean m, deviation s, t = sqrt(n) m / s, and effect
sizes distributed N(0, g) a priori, the evidence against a mean of 0 is

    E = (1 + n g)^(-1/2) [ (1 + t^2/(n-1)) / (1 + t^2/((n-1) (1 + n g))) ]^(n/2)

a test martingale in the scale-free filtration: P(E ever reaches 1/alpha) <= alpha. The means that are not refuted at
alpha are the confidence sequence. It needs no warm-up: with two or three values it is infinite by itself.
"""

import math
from collections.abc import Sequence

import msgspec

EFFECT_VARIANCE = 0.5
"""g: the effect sizes (mean over deviation of a week) that are tested best are around 0.7."""
_NO_SPREAD = 1e-12


class Bounds(msgspec.Struct, frozen=True):
    """A mean with bounds that hold at all looks together; infinite where nothing can be said yet."""

    mean: float
    low: float
    high: float


def evidence_against_zero(values: Sequence[float]) -> float:
    """Return E of the module's text: how much the values speak against a mean of 0; 1 says nothing."""
    count = len(values)
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return 1.0
    mean, deviation = _mean_and_deviation(values)
    ratio = count * mean * mean / max(deviation * deviation, _NO_SPREAD * _NO_SPREAD) / (count - 1)
    shrink = 1.0 + count * EFFECT_VARIANCE
    log = -0.5 * math.log(shrink) + count / 2 * (math.log1p(ratio) - math.log1p(ratio / shrink))
    return math.exp(min(log, 700.0))


def sequence(values: Sequence[float], alpha: float) -> Bounds:
    """Return the mean of the values with its confidence sequence at error rate `alpha`.

    Raises
    ------
    ValueError
        When `alpha` is not between 0 and 1.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"an error rate lies between 0 and 1, not {alpha:g}")
    count = len(values)
    if count < 2:  # noqa: PLR2004 - one value has no spread
        return Bounds(values[0] if values else 0.0, -math.inf, math.inf)
    mean, deviation = _mean_and_deviation(values)
    half = max(deviation, _NO_SPREAD) / math.sqrt(count) * _critical(count, alpha)
    return Bounds(mean, mean - half, mean + half)


def season_share(season: int) -> float:
    """Return the share of the error rate that goes to the comparison begun in a season (0, 1, ...); all add up to 1."""
    return 1.0 / ((season + 1) * (season + 2))


def _critical(count: int, alpha: float) -> float:
    """Return the t at which the evidence reaches 1 / alpha; infinite when it cannot with so few values."""
    shrink = 1.0 + count * EFFECT_VARIANCE
    log_root = 2.0 / count * (0.5 * math.log(shrink) - math.log(alpha))
    if log_root >= math.log(shrink):
        return math.inf
    root = math.exp(log_root)
    return math.sqrt((count - 1) * (root - 1.0) / (1.0 - root / shrink))


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    count = len(values)
    mean = math.fsum(values) / count
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
