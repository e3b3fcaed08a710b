"""The report of how groups of customers are treated: values that a page, a metric or a person reads."""

from typing import Any, Final

import msgspec

from stream_app.core.times import iso
from stream_app.decisions.lift_report import finite
from stream_app.decisions.sequences import Interval

MEASURES: Final = ("contact_rate", "offer_value", "score_error")
_WORDS: Final = {
    "contact_rate": "{lower} is contacted less often than {higher}: the ratio is {value}, certainly below {bound:g}",
    "offer_value": "{lower} is offered less than {higher}: the ratio is {value}, certainly below {bound:g}",
    "score_error": "{higher} is taken for more likely to leave than it is, compared with {lower}: their mean errors are"
    " {value} apart, certainly more than {bound:g}",
}


class GroupFigures(msgspec.Struct, frozen=True):
    """How one group was treated. Bounds are infinite where nothing can be said yet."""

    group: str
    windows: int
    """Windows of one horizon in which its customers might be contacted."""
    contact_rate: Interval
    """Share of them with at least one contact."""
    offers: int
    """Messages sent whose outcome has matured."""
    offer_value: Interval
    """Mean cost of the contact and its incentive, shop currency."""
    labelled: int
    score_error: Interval
    """Mean of score less label without contact: above 0, the group is taken for more likely to leave than it is."""


class Comparison(msgspec.Struct, frozen=True):
    """The two groups that are furthest apart; no names and None where fewer than two can be judged."""

    measure: str
    lower: str
    higher: str
    estimate: float | None
    """Of rates and offers the ratio of the lower to the higher; of errors their difference."""
    low: float | None
    high: float | None
    bound: float
    alarm: bool
    """Its whole interval lies beyond the bound."""

    @property
    def sentence(self) -> str:
        """What is found, for a person."""
        value = "unknown" if self.estimate is None else f"{self.estimate:.2f} ({self.low:.2f} to {self.high:.2f})"
        return _WORDS[self.measure].format(lower=self.lower, higher=self.higher, value=value, bound=self.bound)


class AttributeFairness(msgspec.Struct, frozen=True):
    """All groups of one attribute side by side."""

    attribute: str
    groups: tuple[GroupFigures, ...]
    too_small: int
    """Groups that are counted and not shown: so few customers could be recognised by their group."""
    comparisons: tuple[Comparison, ...]


class FairnessWatchReport(msgspec.Struct, frozen=True):
    """All attributes; valid at any time, however often it is looked at."""

    newest_ms: int
    """Event time through which labels and decisions matured."""
    attributes: tuple[AttributeFairness, ...]
    alarm: bool

    @property
    def findings(self) -> tuple[str, ...]:
        """One sentence for each comparison that is certainly beyond its bound."""
        return tuple(
            f"{each.attribute}: {comparison.sentence}"
            for each in self.attributes
            for comparison in each.comparisons
            if comparison.alarm
        )


def to_document(report: FairnessWatchReport) -> dict[str, Any]:
    """Return a report ready for JSON: a bound that is not known is null."""
    through = iso(report.newest_ms) if report.newest_ms else None
    document: dict[str, Any] = finite(
        {"through": through, **msgspec.to_builtins(report), "findings": list(report.findings)}
    )
    return document
