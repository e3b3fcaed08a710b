"""What a partition may still do today: budget in money and count, and the breaker against a jump in interventions."""

import math

import msgspec

from stream_app.core.partition import PartitionState
from stream_app.core.times import MINUTE_MS, day_of
from stream_app.decisions.catalogue import Breaker, Budget

_MEMORY = 0.9
"""Share of the breaker's baseline that stays when a window ends; the rest is the window's own count."""


class BudgetShare(msgspec.Struct, frozen=True):
    """One partition's equal share of the shop's budget of a UTC day; infinite where there is no limit."""

    money: float
    count: float


def share_of(budget: Budget, partitions: int) -> BudgetShare:
    """Divide a budget among partitions; counts are rounded down, so that the whole is never exceeded.

    Raises
    ------
    ValueError
        A count so small that partitions would get less than one each, though it is not 0.
    """
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    if budget.count_per_day is not None and 0 < budget.count_per_day < partitions:
        raise ValueError(
            f"guardrails.budget.count_per_day is {budget.count_per_day}, less than one for each of"
            f" {partitions} partitions: raise it to at least {partitions}, set it to 0, or remove it"
        )
    return BudgetShare(
        money=math.inf if budget.money_per_day is None else budget.money_per_day / partitions,
        count=math.inf if budget.count_per_day is None else budget.count_per_day // partitions,
    )


def reserve_budget(memory: PartitionState, share: BudgetShare, cost: float, now_ms: int) -> str | None:
    """Take a contact and its cost from the day's share; return why not, if it would not fit (then nothing is taken)."""
    day = day_of(now_ms)
    if day > memory.budget_day:
        memory.budget_day = day
        memory.budget_spent = 0.0
        memory.budget_count = 0
    if memory.budget_count + 1 > share.count:
        return f"The partition's share of the day's contacts ({share.count:g}) is used up."
    if memory.budget_spent + cost > share.money:
        return f"The partition's share of the day's money ({share.money:g}) does not cover {cost:g} more."
    memory.budget_spent += cost
    memory.budget_count += 1
    return None


def count_for_breaker(memory: PartitionState, breaker: Breaker, now_ms: int) -> str | None:
    """Count one intervention that is about to be sent; return why not, if there are suddenly too many.

    Stopped ones are counted too, but a window adds no more to the baseline than was let through: a flood must not
    become the usual by lasting.
    """
    span_ms = breaker.window_minutes * MINUTE_MS
    window_ms = now_ms - now_ms % span_ms
    if window_ms > memory.breaker_window_ms:
        ended = min(memory.breaker_count, _limit(memory, breaker))
        empty = (window_ms - memory.breaker_window_ms) // span_ms - 1 if memory.breaker_window_ms else 0
        memory.breaker_baseline = (_MEMORY * memory.breaker_baseline + (1 - _MEMORY) * ended) * _MEMORY**empty
        memory.breaker_window_ms = window_ms
        memory.breaker_count = 0
    memory.breaker_count += 1
    limit = _limit(memory, breaker)
    if memory.breaker_count > limit:
        return (
            f"{memory.breaker_count} interventions in {breaker.window_minutes} minutes are more than {limit:g},"
            " the most that is usual here: sending stopped."
        )
    return None


def _limit(memory: PartitionState, breaker: Breaker) -> float:
    return max(float(breaker.minimum), breaker.factor * memory.breaker_baseline)
