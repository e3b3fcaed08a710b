"""Whether the watch over groups keeps its promise: small shops whose treatment of groups is known, looked at all along.

In each shop riskier customers are contacted more, a contact keeps some who would have left, and offers are
heavy-tailed: what is compared is as tangled as in life, and alike, or apart by a known amount, between groups all the
same.
"""

from typing import Final

import msgspec
import numpy as np

from stream_app.core.effects import TrainingExample
from stream_app.core.observations import ON_CALENDAR
from stream_app.core.times import DAY_MS
from stream_app.decisions.fairness import FOUR_FIFTHS, MAX_SCORE_BIAS
from stream_app.decisions.fairness_report import MEASURES
from stream_app.decisions.fairness_watch import FairnessWatch

LOOK_EVERY: Final = 100
GROUPS: Final = ("a", "b", "c")
LESS: Final = "b"
"""The group that gets less, where one does."""
_ATTRIBUTE: Final = "group"
_HORIZON_DAYS, _OBSERVATION_DAYS = 30, 14
_RATE: Final = 0.3
_KEPT: Final = 0.4
"""Share of those who would leave that a contact keeps."""
_BEGIN_MS: Final = 20_000 * DAY_MS


class Treatment(msgspec.Struct, frozen=True):
    """What one group gets, in comparison with the others."""

    contacts: float = 1.0
    offers: float = 1.0
    error: float = 0.0
    """Points of probability that its scores are too high by."""


ALIKE: Final = Treatment()
AT_BOUND: Final = Treatment(FOUR_FIFTHS, FOUR_FIFTHS, MAX_SCORE_BIAS)
APART: Final = {
    "contact_rate": Treatment(contacts=0.5),
    "offer_value": Treatment(offers=0.5),
    "score_error": Treatment(error=0.15),
}


class Found(msgspec.Struct, frozen=True):
    """How shops ended in which one measure is apart."""

    difference: float
    """The true ratio, or distance in points."""
    share: float
    """Of shops that alarmed about it."""
    median_customers: int | None
    """Customers of the shop, all groups, at the first alarm; None where fewer than half alarmed."""
    others: int
    """Shops that alarmed about a measure that is alike."""


class FairnessFigures(msgspec.Struct, frozen=True):
    """How often the watch of many shops was wrong, and how soon it was right."""

    shops: int
    customers: int
    """Of each shop."""
    looks: int
    alpha: float
    false_alike: int
    """Shops that ever alarmed though groups are alike."""
    false_at_bound: int
    """The same where all three measures lie just at their bounds."""
    found: dict[str, Found]


def prove_fairness(shops: int, seed: int, customers: int = 9_000, alpha: float = 0.05) -> FairnessFigures:
    """Run the shops, one after the other: each with groups alike, at the bounds, and apart in one measure.

    Parameters
    ----------
    shops
        How many of each kind.
    seed
        Of the first; the others follow.
    customers
        Of each shop, in three groups.
    alpha
        Error rate that the watch promises over all looks.
    """
    seeds = range(seed, seed + shops)
    return FairnessFigures(
        shops=shops,
        customers=customers,
        looks=customers // LOOK_EVERY,
        alpha=alpha,
        false_alike=sum(bool(_alarms(each, customers, ALIKE, alpha)) for each in seeds),
        false_at_bound=sum(bool(_alarms(each, customers, AT_BOUND, alpha)) for each in seeds),
        found={
            measure: _found(measure, [_alarms(each, customers, APART[measure], alpha) for each in seeds])
            for measure in MEASURES
        },
    )


def _found(measure: str, alarms: list[dict[str, int]]) -> Found:
    treatment = APART[measure]
    times = sorted(told[measure] for told in alarms if measure in told)
    half = (len(alarms) + 1) // 2
    return Found(
        difference=treatment.error or min(treatment.contacts, treatment.offers),
        share=len(times) / len(alarms),
        median_customers=times[half - 1] if len(times) >= half else None,
        others=sum(bool(told.keys() - {measure}) for told in alarms),
    )


def _alarms(seed: int, customers: int, less: Treatment, alpha: float) -> dict[str, int]:
    """Return at how many customers each measure of a shop first alarmed."""
    rng = np.random.default_rng(seed)
    watch = FairnessWatch([_ATTRIBUTE], _OBSERVATION_DAYS, alpha=alpha)
    first: dict[str, int] = {}
    risks, offers = rng.beta(2, 3, customers), rng.lognormal(1.0, 0.8, customers)
    groups = rng.integers(len(GROUPS), size=customers)
    chances = rng.random((customers, 2))
    for number in range(customers):
        group = GROUPS[groups[number]]
        treated = less if group == LESS else ALIKE
        contact = _RATE * treated.contacts * (0.5 + float(risks[number]))
        contacted = bool(chances[number, 0] < contact)
        leaves = float(risks[number]) * (1 - _KEPT * contacted)
        _observe(
            watch,
            f"c{number}",
            group,
            contacted=contacted,
            stay=1 - contact,
            probability=float(risks[number]) + treated.error,
            churned=bool(chances[number, 1] < leaves),
        )
        if contacted:
            watch.add_offer({_ATTRIBUTE: group}, treated.offers * float(offers[number]))
        if (number + 1) % LOOK_EVERY == 0:
            for comparison in watch.report().attributes[0].comparisons:
                if comparison.alarm:
                    first.setdefault(comparison.measure, number + 1)
    return first


def _observe(
    watch: FairnessWatch,
    customer: str,
    group: str,
    *,
    contacted: bool,
    stay: float,
    probability: float,
    churned: bool,
) -> None:
    """Let the calendar come round until the customer's turn."""
    example = TrainingExample(
        example_id="",
        customer_id=customer,
        partition=0,
        sequence=0,
        at_ms=_BEGIN_MS,
        due_ms=_BEGIN_MS,
        horizon_days=_HORIZON_DAYS,
        kind=ON_CALENDAR,
        churned=churned,
        weight=1.0,
        features=b"",
        features_hash="",
        probability=probability,
        model_version="",
        contacts=int(contacted),
        arm=1,
        stay_propensity=stay,
        groups={_ATTRIBUTE: group},
    )
    look = 0
    while not watch.add_example(
        msgspec.structs.replace(
            example, example_id=f"{customer}/{look}", at_ms=_BEGIN_MS + look * _OBSERVATION_DAYS * DAY_MS
        )
    ):
        look += 1
