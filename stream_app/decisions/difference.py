"""Where two policies part on the same events: what changed, for how many customers, with an example each."""

from collections import Counter
from typing import NamedTuple

import msgspec

from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.core.times import iso, to_ms

ABSENT = "-"
"""Nothing was decided at that point."""


class PointKey(NamedTuple):
    """A decision point as outputs name it; ordered by customer and time."""

    customer_id: str
    at_ms: int
    trigger: str


class DecisionLog:
    """The decisions of one run. Several records of one point are joined in their order."""

    def __init__(self) -> None:
        self.decided: dict[PointKey, str] = {}
        self.details: dict[PointKey, str] = {}
        self.actions: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.committed_cost = 0.0

    def add(self, decision: Intervention | SuppressedIntervention) -> None:
        """Take in one decision to act, or one no."""
        key = PointKey(decision.customer_id, to_ms(decision.event_time), decision.trigger)
        if isinstance(decision, Intervention):
            label = decision.action
            detail = f"{decision.tier} at {decision.probability:.2f}, drawn with {decision.propensity:.2f}"
            self.actions[decision.action] += 1
            self.committed_cost += decision.cost
        else:
            label = f"no: {decision.reason}" + (f" ({decision.action})" if decision.action else "")
            detail = f"{decision.tier} at {decision.probability:.2f}: {decision.detail}"
            self.reasons[decision.reason] += 1
        known = self.decided.get(key)
        self.decided[key] = label if known is None else f"{known} + {label}"
        self.details[key] = detail


class Change(msgspec.Struct, frozen=True):
    """One kind of first divergence of a customer."""

    before: str
    after: str
    customers: int
    example_customer: str
    example_time: str
    example_before: str
    example_after: str


class PolicyDifference(msgspec.Struct, frozen=True):
    """All differences of two runs over the same events."""

    points: int
    """Points at which either run put out a decision."""
    same_points: int
    customers: int
    changed_customers: int
    changes: tuple[Change, ...]
    """By the first point at which a customer's decisions part, most frequent first: what follows there is its
    consequence."""
    actions: dict[str, tuple[int, int]]
    reasons: dict[str, tuple[int, int]]
    committed_cost: tuple[float, float]


def difference(before: DecisionLog, after: DecisionLog) -> PolicyDifference:
    """Return where two runs over the same events part."""
    keys = sorted(before.decided.keys() | after.decided.keys())
    firsts: dict[str, PointKey] = {}
    same = 0
    for key in keys:
        if before.decided.get(key) == after.decided.get(key):
            same += 1
        else:
            firsts.setdefault(key.customer_id, key)
    kinds: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], PointKey] = {}
    for key in firsts.values():
        kind = (before.decided.get(key, ABSENT), after.decided.get(key, ABSENT))
        kinds[kind] += 1
        examples.setdefault(kind, key)
    changes = []
    for (old, new), customers in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        example = examples[old, new]
        changes.append(
            Change(
                before=old,
                after=new,
                customers=customers,
                example_customer=example.customer_id,
                example_time=iso(example.at_ms),
                example_before=before.details.get(example, ""),
                example_after=after.details.get(example, ""),
            )
        )
    return PolicyDifference(
        points=len(keys),
        same_points=same,
        customers=len({key.customer_id for key in keys}),
        changed_customers=len(firsts),
        changes=tuple(changes),
        actions=_beside(before.actions, after.actions),
        reasons=_beside(before.reasons, after.reasons),
        committed_cost=(round(before.committed_cost, 2), round(after.committed_cost, 2)),
    )


def _beside(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    return {name: (before[name], after[name]) for name in sorted(before.keys() | after.keys())}
