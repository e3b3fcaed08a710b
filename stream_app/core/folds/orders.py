"""Fold of orders: gaps between order days, decayed counts and amounts."""

from math import exp2, log, log1p

from stream_app.core.events import OrderEvent
from stream_app.core.folds.singles import Singles
from stream_app.core.state import OrdersState
from stream_app.core.times import DAY_MS, day_of

SINGLES = Singles(
    (
        *("sum_ln_gap", "sum_ln_gap_squared", "ewma_ln_gap", "last_gap_days", "max_gap_days"),
        *("count_14d", "count_30d", "count_90d", "repeat_60d", "amount_60d"),
        *("sum_ln_amount", "last_ln_amount", "sum_ln_lines"),
    )
)
"""What orders leave behind in single precision; `total_amount`, of which revenue is a difference, keeps double."""
EWMA_WEIGHT = 0.3
LEAST_GAP_DAYS = 0.5
_RECENT_PRODUCTS = 5


def fold_order(orders: OrdersState, event: OrderEvent, at_ms: int, amount: float) -> bool:
    """Apply one order; return whether it is a completed one (a sign of life).

    Parameters
    ----------
    orders
        Changed in place.
    event
        The order or the news about one.
    at_ms
        Its event time.
    amount
        Its value in the shop's currency.
    """
    if event.status != "completed":
        if event.status == "cancelled":
            orders.cancelled += 1
            orders.last_cancelled_ms = max(orders.last_cancelled_ms, at_ms)
        else:
            orders.returned += 1
        return False
    is_first = orders.completed == 0
    new_day = is_first or day_of(at_ms) != day_of(orders.last_ms)
    if new_day and not is_first and at_ms > orders.last_ms:
        _note_gap(orders, max((at_ms - orders.last_ms) / DAY_MS, LEAST_GAP_DAYS))
    _add_decayed(orders, at_ms, amount, new_day=new_day, repeat=new_day and not is_first)
    orders.completed += 1
    orders.days += new_day
    orders.first_ms = at_ms if is_first else min(orders.first_ms, at_ms)
    orders.last_ms = max(orders.last_ms, at_ms)
    orders.last_ln_amount = log1p(amount)
    orders.sum_ln_amount += orders.last_ln_amount
    orders.sum_ln_lines += log1p(len(event.items))
    orders.total_amount += amount
    orders.discounted += event.discount > 0 or bool(event.coupon)
    if event.items:
        bought = tuple(dict.fromkeys(item.product_id for item in event.items))
        orders.recent_products = tuple(dict.fromkeys(bought + orders.recent_products))[:_RECENT_PRODUCTS]
    SINGLES.round(orders)
    return True


def _note_gap(orders: OrdersState, gap_days: float) -> None:
    ln_gap = log(gap_days)
    orders.gaps += 1
    orders.sum_ln_gap += ln_gap
    orders.sum_ln_gap_squared += ln_gap * ln_gap
    orders.ewma_ln_gap = EWMA_WEIGHT * ln_gap + (1 - EWMA_WEIGHT) * orders.ewma_ln_gap
    orders.last_gap_days = gap_days
    orders.max_gap_days = max(orders.max_gap_days, gap_days)


def _add_decayed(orders: OrdersState, at_ms: int, amount: float, *, new_day: bool, repeat: bool) -> None:
    days = (at_ms - orders.decayed_at_ms) / DAY_MS
    if orders.completed == 0 or days > 0:
        fade_14, fade_30, fade_60, fade_90 = (exp2(-days / half_life) for half_life in (14, 30, 60, 90))
        orders.count_14d = orders.count_14d * fade_14 + new_day
        orders.count_30d = orders.count_30d * fade_30 + new_day
        orders.count_90d = orders.count_90d * fade_90 + new_day
        orders.repeat_60d = orders.repeat_60d * fade_60 + repeat
        orders.amount_60d = orders.amount_60d * fade_60 + amount
        orders.decayed_at_ms = at_ms
        return
    orders.count_14d += new_day * exp2(days / 14)
    orders.count_30d += new_day * exp2(days / 30)
    orders.count_90d += new_day * exp2(days / 90)
    orders.repeat_60d += repeat * exp2(days / 60)
    orders.amount_60d += amount * exp2(days / 60)
