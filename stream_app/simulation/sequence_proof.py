"""Whether confidence sequences keep their promise: many small shops whose true effects are known, looked at all along.

A customer's potential outcomes are both drawn, so that the true mean effect of the customers analysed so far is known
at every look. Values are heavy-tailed, effects differ between customers, and a covariate from before the treatment
tells part of the outcome, as the value at stake does.
"""

import math
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.decisions.sequences import PLANNED, DifferenceSequence

Floats = NDArray[np.float64]
FIRST_LOOK: Final = 100
LOOK_EVERY: Final = 20
LEAST_EXPECTED: Final = 50
"""Customers expected in the smaller arm: with fewer, chance leaves some shop's arm below the sequence's warm-up."""
_NORMAL_95: Final = 1.959964


class SequenceFigures(msgspec.Struct, frozen=True):
    """How often the sequences of many shops were wrong, and how wide they ended."""

    shops: int
    customers: int
    """Of each shop."""
    looks: int
    """At each shop."""
    treated_share: float
    alpha: float
    missed: int
    """Shops in which the true mean effect lay outside the interval at any look."""
    missed_share: float
    width_to_fixed: float
    """Final half-width over that of a fixed-sample interval of the difference of means, mean over shops."""
    width_to_fixed_adjusted: float
    """The same over a fixed-sample interval that is adjusted by the covariate as well (CUPED)."""
    widest_to_fixed_adjusted: float
    """The same of the worst shop."""


def prove_sequences(
    shops: int, seed: int, customers: int = PLANNED, treated_share: float = 0.9, alpha: float = 0.05
) -> SequenceFigures:
    """Run the shops, one after the other.

    Parameters
    ----------
    shops
        How many.
    seed
        Of the first; the others follow.
    customers
        Analysed in each shop.
    treated_share
        Probability of the treatment arm.
    alpha
        Error rate that the sequence promises over all looks.

    Raises
    ------
    ValueError
        For shops so small that fewer than `LEAST_EXPECTED` customers are expected in an arm.
    """
    smaller = customers * min(treated_share, 1.0 - treated_share)
    if smaller < LEAST_EXPECTED - 1e-6:
        raise ValueError(
            f"of {customers:,} customers, {smaller:.1f} are expected in the smaller arm; intervals need "
            f"{LEAST_EXPECTED}: take more customers, or arms that are less unequal"
        )
    missed = 0
    ratios: list[tuple[float, float]] = []
    for number in range(shops):
        treated, untreated, effect, covariate = _shop(seed + number, customers, treated_share)
        outcome = untreated + effect * treated
        sequence = DifferenceSequence(treated_share, planned=customers)
        truth = (np.cumsum(effect) / np.arange(1, customers + 1)).tolist()
        wrong = False
        arrivals = zip(treated.tolist(), outcome.tolist(), covariate.tolist(), strict=True)
        for seen, (is_treated, value, known) in enumerate(arrivals, start=1):
            sequence.add(is_treated, value, known)
            if seen >= FIRST_LOOK and seen % LOOK_EVERY == 0:
                now = sequence.interval(alpha)
                wrong |= not now.low <= truth[seen - 1] <= now.high
        missed += wrong
        half = sequence.interval(alpha).half_width
        plain, adjusted = _fixed(treated, outcome), _fixed(treated, _residuals(treated, outcome, covariate))
        ratios.append((half / plain, half / adjusted))
    to_plain, to_adjusted = (np.array(column) for column in zip(*ratios, strict=True))
    return SequenceFigures(
        shops=shops,
        customers=customers,
        looks=len(range(FIRST_LOOK, customers + 1, LOOK_EVERY)),
        treated_share=treated_share,
        alpha=alpha,
        missed=missed,
        missed_share=missed / shops,
        width_to_fixed=float(to_plain.mean()),
        width_to_fixed_adjusted=float(to_adjusted.mean()),
        widest_to_fixed_adjusted=float(to_adjusted.max()),
    )


def _shop(seed: int, customers: int, treated_share: float) -> tuple[NDArray[np.bool_], Floats, Floats, Floats]:
    """Return of each customer: treated or not, value without treatment, effect of it, covariate."""
    rng = np.random.default_rng(seed)
    covariate = rng.lognormal(0.0, 0.8, customers)
    untreated = 0.7 * covariate + rng.exponential(1.0, customers) * (rng.random(customers) < 0.6)
    effect = 0.2 * covariate * (rng.random(customers) < 0.5)
    return rng.random(customers) < treated_share, untreated, effect, covariate


def _residuals(treated: NDArray[np.bool_], outcome: Floats, covariate: Floats) -> Floats:
    """Return outcomes less what one slope on the covariate, common to both arms, explains."""
    centred, values = covariate.copy(), outcome.copy()
    for arm in (treated, ~treated):
        centred[arm] -= covariate[arm].mean()
        values[arm] -= outcome[arm].mean()
    slope = float(centred @ values) / float(centred @ centred)
    return outcome - slope * covariate


def _fixed(treated: NDArray[np.bool_], outcome: Floats) -> float:
    """Return the half-width of the ordinary 95 % interval of a difference of means."""
    variances = [float(outcome[arm].var(ddof=1)) / int(arm.sum()) for arm in (treated, ~treated)]
    return _NORMAL_95 * math.sqrt(sum(variances))
