"""Whether groups of customers are treated alike, by an attribute that the shop declares and that is never a feature.

Three things are compared: how often a group is contacted, what it is offered, and how wrong its scores are. Each
customer counts once, with its own mean, however often it is contacted or scored. Groups differ for good reasons too
(how much they buy, how likely they leave), so a finding is a question to a person, not a verdict.
"""

import math
from collections import defaultdict
from statistics import NormalDist, mean, stdev

import msgspec

UNDECLARED = "undeclared"
MIN_CUSTOMERS = 30
"""A group with fewer customers is shown and not judged."""
FOUR_FIFTHS = 0.8
"""The usual bound on a ratio of rates (Uniform Guidelines on Employee Selection Procedures, 1978)."""
MAX_SCORE_BIAS = 0.05
"""The usual bound on the mean difference of score and label, points of probability."""


class GroupTreatment(msgspec.Struct, frozen=True):
    """What one group got."""

    group: str
    customers: int
    contacted_share: float
    """Share of customers that were contacted at least once."""
    offer_value: float | None
    """Mean committed cost of an intervention over contacted customers, shop currency; None without any."""
    labelled: int
    """Customers with at least one score whose label has come."""
    score_bias: float | None
    """Mean of score less label: above 0, the group is taken for more likely to leave than it is."""


class FairnessReport(msgspec.Struct, frozen=True):
    """All groups side by side, and what is beyond the bounds."""

    attribute: str
    groups: tuple[GroupTreatment, ...]
    contact_ratio: float | None
    """Lowest contacted share over the highest; None with fewer than two groups to judge."""
    offer_ratio: float | None
    findings: tuple[str, ...]
    """One sentence each; empty: within bounds, or within chance."""


class FairnessBook:
    """Collects customers, interventions and labels by group.

    Parameters
    ----------
    attribute
        Name of the declared attribute.
    ratio_bound
        Least ratio of the lowest to the highest contacted share, and offer value.
    bias_bound
        Largest mean difference of score and label, points of probability.
    level
        A difference counts only if it is beyond chance at this level.
    """

    def __init__(
        self, attribute: str, ratio_bound: float = FOUR_FIFTHS, bias_bound: float = MAX_SCORE_BIAS, level: float = 0.99
    ) -> None:
        self._attribute = attribute
        self._ratio_bound = ratio_bound
        self._bias_bound = bias_bound
        self._z = NormalDist().inv_cdf(0.5 + level / 2)
        self._groups: dict[str, str] = {}
        self._contacted: set[str] = set()
        self._offers: dict[str, list[float]] = defaultdict(list)
        self._errors: dict[str, list[float]] = defaultdict(list)

    def add_customer(self, customer_id: str, group: str) -> None:
        """Note which group a customer belongs to; "" is undeclared."""
        self._groups[customer_id] = group or UNDECLARED

    def add_intervention(self, customer_id: str, committed_cost: float) -> None:
        """Note an intervention that was sent."""
        self._contacted.add(customer_id)
        self._offers[customer_id].append(committed_cost)

    def add_label(self, customer_id: str, probability: float, churned: bool) -> None:
        """Note a score whose label has come."""
        self._errors[customer_id].append(probability - churned)

    def report(self) -> FairnessReport:
        """Compare the groups."""
        members: dict[str, list[str]] = defaultdict(list)
        for customer_id, group in self._groups.items():
            members[group].append(customer_id)
        groups = tuple(self._treatment(group, members[group]) for group in sorted(members))
        judged = [g for g in groups if g.customers >= MIN_CUSTOMERS and g.group != UNDECLARED]
        findings = [*self._contact_findings(judged), *self._offer_findings(judged, members)]
        findings += [finding for group in judged for finding in self._bias_findings(group, members[group.group])]
        offers = [group.offer_value for group in judged if group.offer_value is not None]
        return FairnessReport(
            attribute=self._attribute,
            groups=groups,
            contact_ratio=_ratio([group.contacted_share for group in judged]),
            offer_ratio=_ratio(offers),
            findings=tuple(findings),
        )

    def _treatment(self, group: str, members: list[str]) -> GroupTreatment:
        offers, errors = _means(self._offers, members), _means(self._errors, members)
        return GroupTreatment(
            group=group,
            customers=len(members),
            contacted_share=sum(member in self._contacted for member in members) / len(members),
            offer_value=mean(offers) if offers else None,
            labelled=len(errors),
            score_bias=mean(errors) if errors else None,
        )

    def _contact_findings(self, judged: list[GroupTreatment]) -> list[str]:
        ratio = _ratio([group.contacted_share for group in judged])
        if ratio is None or ratio >= self._ratio_bound:
            return []
        low = min(judged, key=lambda group: group.contacted_share)
        high = max(judged, key=lambda group: group.contacted_share)
        variance = sum(g.contacted_share * (1 - g.contacted_share) / g.customers for g in (low, high))
        if high.contacted_share - low.contacted_share <= self._z * math.sqrt(variance):
            return []
        finding = (
            f"{low.group} is contacted less ({low.contacted_share:.1%}) than {high.group} ({high.contacted_share:.1%}):"
            f" a ratio of {ratio:.2f}, below {self._ratio_bound:g}"
        )
        return [finding]

    def _offer_findings(self, judged: list[GroupTreatment], members: dict[str, list[str]]) -> list[str]:
        offers = {group.group: _means(self._offers, members[group.group]) for group in judged}
        found = {group: (mean(own), _error(own)) for group, own in offers.items() if len(own) >= MIN_CUSTOMERS}
        ratio = _ratio([value for value, _ in found.values()])
        if ratio is None or ratio >= self._ratio_bound:
            return []
        low, high = (extreme(found, key=lambda group: found[group][0]) for extreme in (min, max))
        if found[high][0] - found[low][0] <= self._z * math.hypot(found[low][1], found[high][1]):
            return []
        finding = (
            f"{low} is offered less ({found[low][0]:.2f}) than {high} ({found[high][0]:.2f}): a ratio of {ratio:.2f},"
            f" below {self._ratio_bound:g}"
        )
        return [finding]

    def _bias_findings(self, group: GroupTreatment, members: list[str]) -> list[str]:
        errors = _means(self._errors, members)
        if len(errors) < MIN_CUSTOMERS:
            return []
        bias = mean(errors)
        if abs(bias) <= max(self._bias_bound, self._z * _error(errors)):
            return []
        direction = "higher" if bias > 0 else "lower"
        finding = (
            f"{group.group}: scores are {abs(bias):.1%} points {direction} than what happens, beyond"
            f" {self._bias_bound:.0%}"
        )
        return [finding]


def _means(values: dict[str, list[float]], members: list[str]) -> list[float]:
    return [mean(values[member]) for member in members if member in values]


def _error(values: list[float]) -> float:
    return stdev(values) / math.sqrt(len(values))


def _ratio(values: list[float]) -> float | None:
    if len(values) <= 1 or max(values) <= 0:
        return None
    return min(values) / max(values)
