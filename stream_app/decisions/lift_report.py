"""The report of what the interventions achieved: values that a page, a metric or a person reads."""

import math
from typing import Any, Final

import msgspec

from stream_app.decisions.sequences import Interval

MEASURES: Final = ("conversion", "revenue", "margin", "cost")
"""Of one customer in the window: ordered at all (was retained); order value; margin on it; what contacts in
the window and their incentives cost."""


class Ratio(msgspec.Struct, frozen=True):
    """A ratio of two differences; None where the denominator may be 0, so that nothing can be said."""

    estimate: float | None
    low: float | None
    high: float | None


UNBOUNDED: Final = Ratio(None, None, None)


class SliceLift(msgspec.Struct, frozen=True):
    """What interventions achieved for one group of customers. Differences are per customer, treated less held out.

    In an experiment "treated" is an arm and "held" the experiment's first one.
    """

    name: str
    treated: int
    held: int
    conversion_treated: float
    """Share of the treated that ordered in the window."""
    conversion_held: float
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
    """What became of the messages of one action that were sent, as shares of them."""

    sent: int
    converted: float
    opened: float
    clicked: float
    redeemed: float
    responded: float
    """Took part: answered the survey, played the game, called back."""
    unsubscribed: float
    complained: float
    reward: float
    """Mean, shop currency."""
    incremental_per_redeemed: Ratio | None
    """Effectiveness of a coupon: customers more that ordered, for each coupon redeemed; below 1, coupons went to
    customers who would have ordered anyway. None without a comparison."""


class RatioCheck(msgspec.Struct, frozen=True):
    """Whether customers fall into arms as configured."""

    name: str
    customers: dict[str, int]
    p_value: float
    """Small: the arms are not filled as configured, and the comparison cannot be trusted."""
    alarm: bool


class LiftReport(msgspec.Struct, frozen=True):
    """The whole comparison; valid at any time, however often it is looked at."""

    customers: int
    outcomes: int
    """Matured decisions taken in."""
    newest_ms: int
    """Event time through which they matured."""
    alpha: float
    ratio_p_value: float
    """The smallest of all ratios that are watched."""
    ratio_alarm: bool
    ratios: tuple[RatioCheck, ...]
    slices: tuple[SliceLift, ...]
    rates: dict[str, ActionRates]


def ratio_of(numerator: Interval, denominator: Interval) -> Ratio:
    """Return a ratio whose bounds hold whenever those of both intervals do.

    It is unbounded where the denominator may be 0.
    """
    if not denominator.excludes_zero or math.isinf(numerator.low) or math.isinf(numerator.high):
        return UNBOUNDED
    corners = [n / d for n in (numerator.low, numerator.high) for d in (denominator.low, denominator.high)]
    return Ratio(numerator.estimate / denominator.estimate, min(corners), max(corners))


def share_of_interval(numerator: Interval, share: float) -> Ratio:
    """Return an interval over a share that is known; unbounded where the share is 0 or nothing can be said."""
    if share <= 0 or math.isinf(numerator.high):
        return UNBOUNDED
    return Ratio(numerator.estimate / share, numerator.low / share, numerator.high / share)


def to_document(report: LiftReport) -> dict[str, Any]:
    """Return a report ready for JSON: a bound that is not known is null."""
    document: dict[str, Any] = finite(msgspec.to_builtins(report))
    return document


def finite(value: Any) -> Any:
    """Return what JSON can hold: infinite numbers, wherever they stand, become None."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and math.isinf(value) else value
