"""Whether groups of customers are treated alike while the product runs, with bounds that may be looked at any time.

Compared are how often a group is contacted, what it is offered, and how wrong its scores are. `decisions.fairness`
does the same for a whole history at once. Here a finding must be certain: the bound is passed by the whole confidence
sequence, so a small group cannot alarm by chance, however often somebody looks.

Contacts and errors are counted over windows of one horizon in which a customer was observed on the calendar, contacted
or not, eligible for an action or not. A customer's windows do not overlap, so that each brings something new; when it
counts is a matter of a hash, of group and treatment never.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from stream_app.core.effects import TrainingExample
from stream_app.core.hashing import unit_draw
from stream_app.core.observations import ON_CALENDAR
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS, to_ms
from stream_app.decisions.arms import ARM_CODES
from stream_app.decisions.fairness import FOUR_FIFTHS, MAX_SCORE_BIAS, MIN_CUSTOMERS, UNDECLARED
from stream_app.decisions.fairness_report import (
    MEASURES,
    AttributeFairness,
    Comparison,
    FairnessWatchReport,
    GroupFigures,
)
from stream_app.decisions.repeats import is_first
from stream_app.decisions.sequences import Interval, Moments, mean_interval, share_interval
from stream_app.learning.weighing import LEAST_PROPENSITY

MOST_GROUPS: Final = 12
"""Groups told apart; whoever declares yet another value counts among the others."""
OTHER: Final = "other"
LONGEST_NAME: Final = 64
_MEANS: Final = ("offers", "errors")
_NOT_JUDGED: Final = frozenset({UNDECLARED, OTHER})


class GroupTally(msgspec.Struct):
    """What was counted of one group; fields may only be appended, each with a default."""

    windows: int = 0
    """Windows of customers that may be contacted."""
    contacted: int = 0
    offers: Moments = msgspec.field(default_factory=Moments)
    errors: Moments = msgspec.field(default_factory=Moments)


class FairnessState(msgspec.Struct):
    """Everything that a report is made of; fields may only be appended, each with a default."""

    tallies: dict[str, dict[str, GroupTally]] = {}
    """By attribute and group, in the order in which they came."""
    told: dict[int, None] = {}
    """Hashes of the last outcomes and examples, oldest first."""
    newest_ms: int = 0


class FairnessWatch:
    """Takes in labels and matured decisions in any order of customers, and reports at any time.

    Parameters
    ----------
    attributes
        What groups are made by; of each, outcomes and labels carry what the customer declares.
    observation_days
        Days between two calendar observations of a customer.
    ratio_bound
        Least ratio of two groups' contact rates, and of their offers.
    error_bound
        Largest distance of two groups' mean errors, points of probability.
    alpha
        Probability of ever a false alarm, over all attributes, groups and measures.
    state
        To go on from; changed in place. What it holds of other attributes is dropped.
    """

    def __init__(
        self,
        attributes: Sequence[str],
        observation_days: int,
        ratio_bound: float = FOUR_FIFTHS,
        error_bound: float = MAX_SCORE_BIAS,
        alpha: float = 0.05,
        state: FairnessState | None = None,
    ) -> None:
        self._observation_days = observation_days
        self._ratio_bound = ratio_bound
        self._error_bound = error_bound
        self._alpha = alpha / max(1, len(attributes) * len(MEASURES) * MOST_GROUPS)
        self.state = state if state is not None else FairnessState()
        self.state.tallies = {name: self.state.tallies.get(name, {}) for name in attributes}

    def add_example(self, example: TrainingExample) -> bool:
        """Take in a label; return False where it does not count: a repeat, or not the customer's turn."""
        if not self.state.tallies or not self._is_its_turn(example):
            return False
        if not is_first(self.state.told, example.example_id):
            return False
        self.state.newest_ms = max(self.state.newest_ms, example.due_ms)
        is_held = example.arm == ARM_CODES["holdout"]
        error = 0.0
        if not example.contacts:
            # A contact changes what happens: the others speak for those contacted, as they do for the learner.
            stood_for = 1.0 if is_held else max(example.stay_propensity, LEAST_PROPENSITY)
            error = (example.probability - example.churned) / stood_for
        for tally in self._tallies_of(example.groups):
            tally.errors.add(error, 0.0)
            if not is_held:
                tally.windows += 1
                tally.contacted += example.contacts > 0
        return True

    def add_outcome(self, outcome: DecisionOutcome) -> bool:
        """Take in one matured decision; return False where it does not count: a repeat, or nothing was sent."""
        if not self.state.tallies or not outcome.sent or not is_first(self.state.told, outcome.outcome_id):
            return False
        self.state.newest_ms = max(self.state.newest_ms, to_ms(outcome.matured_at))
        self.add_offer(outcome.groups, outcome.offer)
        return True

    def add_offer(self, groups: Mapping[str, str], offer: float) -> None:
        """Take in what a message was worth, by what its customer declares."""
        for tally in self._tallies_of(groups):
            tally.offers.add(offer, 0.0)

    def report(self) -> FairnessWatchReport:
        """Compare the groups."""
        attributes = tuple(self._attribute(name, groups) for name, groups in self.state.tallies.items())
        return FairnessWatchReport(
            newest_ms=self.state.newest_ms,
            attributes=attributes,
            alarm=any(comparison.alarm for each in attributes for comparison in each.comparisons),
        )

    def _is_its_turn(self, example: TrainingExample) -> bool:
        if example.kind != ON_CALENDAR:
            return False
        # One more than the horizon needs, so that a look that came a little late still begins after the last window.
        cycle = math.ceil(example.horizon_days / self._observation_days) + 1
        look = example.at_ms // (self._observation_days * DAY_MS)
        return look % cycle == int(unit_draw("fairness", example.customer_id) * cycle)

    def _tallies_of(self, declared: Mapping[str, str]) -> list[GroupTally]:
        found = []
        for attribute, groups in self.state.tallies.items():
            group = declared.get(attribute, "")[:LONGEST_NAME] or UNDECLARED
            if group not in groups and group != UNDECLARED and len(groups.keys() - _NOT_JUDGED) >= MOST_GROUPS:
                group = OTHER
            found.append(groups.setdefault(group, GroupTally()))
        return found

    def _attribute(self, attribute: str, groups: Mapping[str, GroupTally]) -> AttributeFairness:
        offers, errors = (_pooled_variance([getattr(tally, what) for tally in groups.values()]) for what in _MEANS)
        shown = {
            name: self._figures(name, groups[name], offers, errors)
            for name in sorted(groups)
            if max(groups[name].windows, groups[name].errors.count, groups[name].offers.count) >= MIN_CUSTOMERS
        }
        judged = [figures for name, figures in shown.items() if name not in _NOT_JUDGED]
        return AttributeFairness(
            attribute=attribute,
            groups=tuple(shown.values()),
            too_small=len(groups) - len(shown),
            comparisons=(
                _ratio("contact_rate", [(g.group, g.contact_rate) for g in judged], self._ratio_bound),
                _ratio("offer_value", [(g.group, g.offer_value) for g in judged], self._ratio_bound),
                _distance("score_error", [(g.group, g.score_error) for g in judged], self._error_bound),
            ),
        )

    def _figures(self, group: str, tally: GroupTally, offers: float, errors: float) -> GroupFigures:
        return GroupFigures(
            group=group,
            windows=tally.windows,
            contact_rate=share_interval(tally.contacted, tally.windows, self._alpha),
            offers=tally.offers.count,
            offer_value=mean_interval(tally.offers, self._alpha, least_variance=offers),
            labelled=tally.errors.count,
            score_error=mean_interval(tally.errors, self._alpha, least_variance=errors),
        )


def _ratio(measure: str, groups: Sequence[tuple[str, Interval]], bound: float) -> Comparison:
    """Compare the two groups that are surest to be furthest apart, as the ratio of the lower to the higher."""
    pairs = [
        (_over(low.high, high.low), _over(low.estimate, high.estimate), _over(low.low, high.high), one, other)
        for one, low in groups
        for other, high in groups
        if one != other and _is_known(low) and _is_known(high) and high.estimate > 0
    ]
    if not pairs:
        return Comparison(measure, "", "", None, None, None, bound, alarm=False)
    # Upper bounds first: where one is below the bound of the report, that pair is the finding.
    high, estimate, low, one, other = min(pairs)
    if high >= bound:
        high, estimate, low, one, other = min(pairs, key=lambda pair: pair[1])
    return Comparison(measure, one, other, estimate, max(0.0, low), high, bound, alarm=high < bound)


def _distance(measure: str, groups: Sequence[tuple[str, Interval]], bound: float) -> Comparison:
    """Compare the two groups that are surest to be furthest apart, as the difference of the higher and the lower."""
    pairs = [
        (high.low - low.high, high.estimate - low.estimate, high.high - low.low, one, other)
        for one, low in groups
        for other, high in groups
        if one != other and _is_known(low) and _is_known(high)
    ]
    if not pairs:
        return Comparison(measure, "", "", None, None, None, bound, alarm=False)
    least, estimate, most, one, other = max(pairs)
    if least <= bound:
        least, estimate, most, one, other = max(pairs, key=lambda pair: pair[1])
    return Comparison(measure, one, other, estimate, least, most, bound, alarm=least > bound)


def _pooled_variance(groups: Sequence[Moments]) -> float:
    """Return the variance within groups: one that has met nothing unusual yet is not surer for it than all are."""
    free = sum(max(0, group.count - 1) for group in groups)
    return sum(group.sum_squares for group in groups) / free if free else 0.0


def _is_known(interval: Interval) -> bool:
    return math.isfinite(interval.low) and math.isfinite(interval.high)


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.inf
