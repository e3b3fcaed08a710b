"""What the interventions achieved: customers of both arms compared from their first draw that was to act.

That draw is made the same way in both arms, so the comparison of an action's customers is of those for whom it was
drawn with those of the holdout for whom it would have been. Each customer counts once, with one window; later draws
only feed the rates.
"""

import math
from collections import Counter

import msgspec

from stream_app.core.outputs import DecisionOutcome
from stream_app.decisions.sequences import PLANNED, DifferenceSequence, Interval, RatioTest

OVERALL = "all"
MEASURES = ("conversion", "revenue", "margin", "cost")
"""Of one customer in the window: ordered at all; order value; margin on it; what the contact and its incentive cost."""


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of two differences; None where the denominator may be 0, so that nothing can be said."""

    estimate: float | None
    low: float | None
    high: float | None


class SliceLift(msgspec.Struct, frozen=True):
    """What interventions achieved for one group of customers. Differences are per customer, treated less held out."""

    name: str
    treated: int
    held: int
    conversion: Interval
    revenue: Interval
    margin: Interval
    cost: Interval
    cost_per_saved: Ratio
    """Cost of one customer more that ordered."""
    return_on_cost: Ratio
    """Incremental margin per unit of cost."""
    alpha: float
    """Error rate of each of the four differences; all slices together keep the report's."""


class ActionRates(msgspec.Struct, frozen=True):
    """What became of the messages of one action that were sent."""

    sent: int
    converted: float
    redeemed: float
    unsubscribed: float
    complained: float
    reward: float
    """Mean, shop currency."""


class LiftReport(msgspec.Struct, frozen=True):
    """The whole comparison; valid at any time, however often it is looked at."""

    customers: int
    alpha: float
    ratio_p_value: float
    """Small: the arms are not filled as configured, and the comparison cannot be trusted."""
    ratio_alarm: bool
    slices: tuple[SliceLift, ...]
    rates: dict[str, ActionRates]


class LiftBook:
    """Takes in matured decisions in any order of customers, and reports at any time.

    Parameters
    ----------
    holdout_share
        As configured; with 0 there is nothing to compare, and only rates are reported.
    alpha
        Error rate of the whole report: half for the whole shop, half shared by all slices.
    planned
        Number of customers at which intervals are tightest.
    """

    def __init__(self, holdout_share: float, alpha: float = 0.05, planned: int = PLANNED) -> None:
        self._treated_share = 1 - holdout_share
        self._alpha = alpha
        self._planned = planned
        self._ratio = RatioTest(self._treated_share)
        self._slices: dict[str, dict[str, DifferenceSequence]] = {}
        self._sent: dict[str, Counter[str]] = {}
        self._rewards: dict[str, float] = {}

    def add(self, outcome: DecisionOutcome) -> None:
        """Take in one matured decision; the caller drops repeats (`outcome_id`)."""
        if outcome.sent:
            self._count(outcome)
        if outcome.act_number != 0:
            return
        is_treated = outcome.arm == "treatment"
        self._ratio.add(is_treated)
        if not 0 < self._treated_share < 1:
            return
        values = {
            "conversion": float(outcome.orders > 0),
            "revenue": outcome.revenue,
            "margin": outcome.reward + outcome.cost,
            "cost": outcome.cost,
        }
        for name in (OVERALL, f"tier:{outcome.tier}", f"action:{outcome.action}"):
            sequences = self._slices.get(name)
            if sequences is None:
                sequences = {m: DifferenceSequence(self._treated_share, self._planned) for m in MEASURES}
                self._slices[name] = sequences
            for measure, value in values.items():
                sequences[measure].add(is_treated, value, outcome.value_at_stake)

    def report(self) -> LiftReport:
        """Return the comparison so far."""
        shared = [name for name in self._slices if name != OVERALL]
        slices = [self._slice(OVERALL, self._alpha / 2)] if OVERALL in self._slices else []
        for position, name in enumerate(shared, start=1):
            # Sums to alpha / 2 over any number of slices, so that new actions do not spoil what was said before.
            slices.append(self._slice(name, self._alpha / 2 * 6 / (math.pi * position) ** 2))
        p_value = self._ratio.p_value
        return LiftReport(
            customers=self._ratio.treated + self._ratio.held,
            alpha=self._alpha,
            ratio_p_value=p_value,
            ratio_alarm=p_value < self._alpha / 10,
            slices=tuple(slices),
            rates={action: self._rates(action) for action in sorted(self._sent)},
        )

    def _slice(self, name: str, alpha: float) -> SliceLift:
        sequences = self._slices[name]
        each = alpha / len(MEASURES)
        conversion, revenue, margin, cost = (sequences[measure].interval(each) for measure in MEASURES)
        return SliceLift(
            name=name,
            treated=sequences["conversion"].treated.count,
            held=sequences["conversion"].held.count,
            conversion=conversion,
            revenue=revenue,
            margin=margin,
            cost=cost,
            cost_per_saved=ratio_of(cost, conversion),
            return_on_cost=ratio_of(margin, cost),
            alpha=each,
        )

    def _count(self, outcome: DecisionOutcome) -> None:
        counts = self._sent.setdefault(outcome.action, Counter())
        counts["sent"] += 1
        counts["converted"] += outcome.orders > 0
        counts["redeemed"] += outcome.redeemed
        counts["unsubscribed"] += outcome.unsubscribed
        counts["complained"] += outcome.complained
        self._rewards[outcome.action] = self._rewards.get(outcome.action, 0.0) + outcome.reward

    def _rates(self, action: str) -> ActionRates:
        counts = self._sent[action]
        sent = counts["sent"]
        return ActionRates(
            sent=sent,
            converted=counts["converted"] / sent,
            redeemed=counts["redeemed"] / sent,
            unsubscribed=counts["unsubscribed"] / sent,
            complained=counts["complained"] / sent,
            reward=self._rewards[action] / sent,
        )


def ratio_of(numerator: Interval, denominator: Interval) -> Ratio:
    """Return a ratio whose bounds hold whenever those of both intervals do.

    It is unbounded where the denominator may be 0.
    """
    if not denominator.excludes_zero or math.isinf(numerator.low) or math.isinf(numerator.high):
        return Ratio(None, None, None)
    corners = [n / d for n in (numerator.low, numerator.high) for d in (denominator.low, denominator.high)]
    return Ratio(numerator.estimate / denominator.estimate, min(corners), max(corners))
