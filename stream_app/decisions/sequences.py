"""Inference that may be looked at any time: confidence sequences for a difference of arms, a test of their ratio.

An ordinary confidence interval that is looked at every day is wrong far more often than it says. A confidence sequence
is wrong at any look with at most its error rate.

The asymptotic confidence sequence is Theorem 2.2 of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform
central limit theory and asymptotic confidence sequences" (Annals of Statistics, 2024); the ratio test is a
Dirichlet-multinomial mixture martingale as in Lindon and Malek, "Anytime-valid inference for multinomial count data"
(NeurIPS 2022). The sequence for a share is the beta-binomial mixture that goes back to Robbins, "Statistical methods
related to the law of the iterated logarithm" (Annals of Mathematical Statistics, 1970).
"""

import math
from collections.abc import Callable, Mapping

import msgspec

WARM_UP = 100
"""Customers before the first interval: the theorem is about the limit, and a handful of values is far from it."""
WARM_UP_PER_ARM = 20
PLANNED = 2_000
"""Number of customers at which an interval is tightest, where nothing else is planned."""
_PRIOR_COUNT = 500.0
"""Weight of the ratio test's prior, centred on the planned ratio: small deviations need many assignments either way."""
_HALVINGS = 40


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its bounds; infinite bounds where nothing can be said yet."""

    estimate: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the distance of the bounds."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether the bounds lie on one side of 0."""
        return self.low > 0 or self.high < 0


UNKNOWN = Interval(0.0, -math.inf, math.inf)


def half_width_factor(count: int, alpha: float, planned: int) -> float:
    """Return what a standard deviation is multiplied with to get the half-width after `count` values.

    `planned` is where the boundary is tightest (equation 9 of the paper gives rho for it).
    """
    log_term = -2 * math.log(alpha)
    rho_squared = (log_term + math.log(log_term + 1)) / planned
    scaled = count * rho_squared
    return math.sqrt(2 * (scaled + 1) / (count * scaled) * math.log(math.sqrt(scaled + 1) / alpha))


class Moments(msgspec.Struct):
    """Running mean and variance of outcomes, and their covariance with a covariate (Welford's updates)."""

    count: int = 0
    mean: float = 0.0
    mean_x: float = 0.0
    sum_squares: float = 0.0
    sum_xx: float = 0.0
    sum_xy: float = 0.0

    def add(self, outcome: float, covariate: float) -> None:
        """Take in one more value."""
        self.count += 1
        from_mean = outcome - self.mean
        from_mean_x = covariate - self.mean_x
        self.mean += from_mean / self.count
        self.mean_x += from_mean_x / self.count
        self.sum_squares += from_mean * (outcome - self.mean)
        self.sum_xx += from_mean_x * (covariate - self.mean_x)
        self.sum_xy += from_mean_x * (outcome - self.mean)

    @property
    def variance(self) -> float:
        """Variance of the outcomes; 0 for fewer than two."""
        return self.sum_squares / (self.count - 1) if self.count > 1 else 0.0


class DifferenceState(msgspec.Struct):
    """What a difference sequence has seen: enough to go on from."""

    treated: Moments = msgspec.field(default_factory=Moments)
    held: Moments = msgspec.field(default_factory=Moments)
    effects: Moments = msgspec.field(default_factory=Moments)


class DifferenceSequence:
    """The mean effect of treatment over the customers seen so far, from one outcome a customer, in order of arrival.

    Each customer gives one value whose expectation is its own effect: the outcome less a prediction, weighted by the
    inverse probability of the arm (with the sign of the arm). The prediction uses earlier customers only, so it cannot
    bias; it takes out what the arms' means and a covariate frozen before treatment explain (CUPED: Deng, Xu, Kohavi
    and Walker, 2013).

    Parameters
    ----------
    treated_share
        Probability of the treatment arm, as configured; strictly between 0 and 1.
    planned
        Number of customers at which intervals are tightest.
    state
        To go on from; changed in place.

    Raises
    ------
    ValueError
        A share of 0 or 1: there is nobody to compare with.
    """

    def __init__(self, treated_share: float, planned: int = PLANNED, state: DifferenceState | None = None) -> None:
        if not 0 < treated_share < 1:
            raise ValueError(f"the treated share is {treated_share:g}: customers in one arm only are no comparison")
        self._treated_share = treated_share
        self._planned = planned
        self.state = state if state is not None else DifferenceState()

    @property
    def treated(self) -> Moments:
        """What the treated did."""
        return self.state.treated

    @property
    def held(self) -> Moments:
        """What the others did."""
        return self.state.held

    @property
    def count(self) -> int:
        """Customers seen."""
        return self.state.effects.count

    def add(self, is_treated: bool, outcome: float, covariate: float = 0.0) -> None:
        """Take in the outcome of one more customer; `covariate` must have been known before the treatment."""
        residual = outcome - self._prediction(covariate)
        weight = 1 / self._treated_share if is_treated else -1 / (1 - self._treated_share)
        self.state.effects.add(weight * residual, 0.0)
        (self.treated if is_treated else self.held).add(outcome, covariate)

    def interval(self, alpha: float) -> Interval:
        """Return the mean effect with bounds that hold at all looks together with probability 1 - `alpha`."""
        effects = self.state.effects
        if effects.count < WARM_UP or min(self.treated.count, self.held.count) < WARM_UP_PER_ARM:
            return UNKNOWN
        half = math.sqrt(effects.variance) * half_width_factor(effects.count, alpha, self._planned)
        return Interval(effects.mean, effects.mean - half, effects.mean + half)

    def _prediction(self, covariate: float) -> float:
        """Predict the mix of both arms' outcomes that makes the weighted residual vary least."""
        treated, held = self.treated, self.held
        if min(treated.count, held.count) < WARM_UP_PER_ARM:
            pooled = treated.count + held.count
            return (treated.mean * treated.count + held.mean * held.count) / pooled if pooled else 0.0
        spread = treated.sum_xx + held.sum_xx
        slope = (treated.sum_xy + held.sum_xy) / spread if spread > 0 else 0.0
        share = self._treated_share
        of_treated = treated.mean + slope * (covariate - treated.mean_x)
        of_held = held.mean + slope * (covariate - held.mean_x)
        return (1 - share) * of_treated + share * of_held


def mean_interval(values: Moments, alpha: float, planned: int = PLANNED, least_variance: float = 0.0) -> Interval:
    """Return the mean of values with bounds that hold at all looks together with probability 1 - `alpha`.

    Theorem 2.2 for a plain mean: asymptotic, hence unknown for the first `WARM_UP` values. A hundred values that happen
    to be alike do not mean that all are: `least_variance` is what is known of the variance from elsewhere.
    """
    if values.count < WARM_UP:
        return UNKNOWN
    half = math.sqrt(max(values.variance, least_variance)) * half_width_factor(values.count, alpha, planned)
    return Interval(values.mean, values.mean - half, values.mean + half)


def share_interval(hits: int, count: int, alpha: float) -> Interval:
    """Return a share with bounds that hold at all looks together with probability 1 - `alpha`, however rare hits are.

    The bounds are the shares p against which a bet on all others, spread evenly, has not won 1 / `alpha` by now: the
    likelihood of p is compared with its mean over all shares. Exact at any count, so there is no warm-up.
    """
    if not count:
        return UNKNOWN
    misses = count - hits
    mixture = math.lgamma(hits + 1) + math.lgamma(misses + 1) - math.lgamma(count + 2)

    def is_possible(share: float) -> bool:
        likelihood = _times_log(hits, share) + _times_log(misses, 1 - share)
        return mixture - likelihood < -math.log(alpha)

    estimate = hits / count
    return Interval(estimate, _edge(is_possible, estimate, 0.0), _edge(is_possible, estimate, 1.0))


def _times_log(times: int, share: float) -> float:
    if not times:
        return 0.0
    return times * math.log(share) if share > 0 else -math.inf


def _edge(is_possible: Callable[[float], bool], inside: float, outside: float) -> float:
    """Return where the possible shares end between one that is possible and the end of the range."""
    if is_possible(outside):
        return outside
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if is_possible(middle):
            inside = middle
        else:
            outside = middle
    return outside


class ArmsTest:
    """Watches whether customers fall into arms as configured; on a mismatch no comparison can be trusted.

    Parameters
    ----------
    shares
        Of each arm, as configured; they sum to 1.
    counts
        Customers of each arm so far, to go on from; changed in place. Arms that are not configured count as a mismatch.
    """

    def __init__(self, shares: Mapping[str, float], counts: dict[str, int] | None = None) -> None:
        self._shares = dict(shares)
        self.counts = counts if counts is not None else {}

    def add(self, arm: str, count: int = 1) -> None:
        """Count assignments."""
        self.counts[arm] = self.counts.get(arm, 0) + count

    @property
    def p_value(self) -> float:
        """Anytime-valid p-value of the configured shares: 1 over the evidence against them, at most 1."""
        possible = {arm: share for arm, share in self._shares.items() if share > 0}
        if any(count and arm not in possible for arm, count in self.counts.items()):
            return 0.0
        total = sum(self.counts.values())
        # Dirichlet-multinomial mixture: one arm's term is that of its count under a prior centred on its share.
        evidence = math.lgamma(_PRIOR_COUNT) - math.lgamma(_PRIOR_COUNT + total)
        for arm, share in possible.items():
            count, prior = self.counts.get(arm, 0), _PRIOR_COUNT * share
            evidence += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
        return math.exp(-max(0.0, evidence))
