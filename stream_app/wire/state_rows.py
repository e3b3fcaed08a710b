"""A customer's state as version 3 writes it: orders and scores as blocks of numbers, times of clicks as distances.

What a block does not hold, as huge counts, is written as its struct instead.
"""

from operator import itemgetter
from struct import Struct, error
from typing import Any, Final

import msgspec

from stream_app.core.compact import distance, time_at
from stream_app.core.names import full_name, short_name
from stream_app.core.packed import PackedLedger, PackedObservations
from stream_app.core.state import (
    ClicksState,
    ContactState,
    CustomerState,
    FurtherObservation,
    OrdersState,
    ProfileState,
    ReviewsState,
    ScoreState,
    SourceState,
)

_OFTEN: Final = (
    *("last_ms", "first_ms", "completed", "days", "gaps", "count_14d", "count_30d", "count_90d", "repeat_60d"),
    *("amount_60d", "sum_ln_amount", "last_ln_amount", "sum_ln_lines", "total_amount"),
)
_SELDOM: Final = (
    *("sum_ln_gap", "sum_ln_gap_squared", "ewma_ln_gap", "last_gap_days", "max_gap_days"),
    *("discounted", "cancelled", "returned", "last_cancelled_ms"),
)
_ORDERS: Final = Struct("<2q3H8fd5f3Hq")
"""Of `_OFTEN` and `_SELDOM`. Floats are of single precision, as the fold leaves them."""
_IN_BLOCK: Final = (*_OFTEN, *_SELDOM)
_from_orders: Final = itemgetter(*map(OrdersState.__struct_fields__.index, _IN_BLOCK))
_to_orders: Final = itemgetter(
    *map((*_IN_BLOCK, "recent_products", "decayed_at_ms").index, OrdersState.__struct_fields__)
)
_SCORE: Final = Struct("<IHbfIHfIfIf")
_LOW: Final = 0xFFFF_FFFF
"""Of a time; sixteen bits are above."""
_FIRST, _LAST, _DECAYED, _STARTED, _SCORED, _CART = map(
    ClicksState.__struct_fields__.index,
    ("first_ms", "last_ms", "decayed_at_ms", "session_started_ms", "scored_ms", "last_cart_ms"),
)

_pack_orders, _unpack_orders, _orders_bytes = _ORDERS.pack, _ORDERS.unpack, _ORDERS.size
_pack_score, _unpack_score = _SCORE.pack, _SCORE.unpack
_astuple = msgspec.structs.astuple


class CustomerRow(msgspec.Struct, array_like=True, gc=False):
    """A state as it is stored; fields may only be appended, each with a default."""

    sources: SourceState
    orders: bytes | OrdersState | None = None
    bought: tuple[str, ...] = ()
    """Recent products of orders in a block."""
    clicks: ClicksState | None = None
    """Its times count back from the last click."""
    reviews: ReviewsState | None = None
    profile: ProfileState | None = None
    contact: ContactState | None = None
    score: bytes | ScoreState | None = None
    model_version: str = ""
    """Of a score in a block, as `core.names` shortens it."""
    next_look_ms: int = 0
    pending: PackedObservations | None = None
    ledger: PackedLedger | None = None
    cart_due_ms: int = 0
    erased_ms: int = 0
    further: list[FurtherObservation] | None = None


def row_of(state: CustomerState) -> tuple[Any, ...]:
    """Return the fields of the `CustomerRow` of a state."""
    orders, clicks, score = state.orders, state.clicks, state.score
    pending, ledger = state.packed()
    return (
        state.sources,
        block_of_orders(orders) if orders is not None else None,
        orders.recent_products if orders is not None else (),
        _times_from_last(clicks) if clicks is not None else None,
        state.reviews,
        state.profile,
        state.contact,
        block_of_score(score) if score is not None else None,
        short_name(score.model_version) if score is not None else "",
        state.next_look_ms,
        pending,
        ledger,
        state.cart_due_ms,
        state.erased_ms,
        state.further,
    )


def state_of(row: CustomerRow) -> CustomerState:
    """Return the state of a row, which may be changed by it; raises msgspec.ValidationError for damaged blocks."""
    orders, clicks, score = row.orders, row.clicks, row.score
    try:
        if isinstance(orders, bytes):
            orders = _orders_of(orders, row.bought)
        if isinstance(score, bytes):
            score = _score_of(score, row.model_version)
    except (error, ValueError) as problem:
        raise msgspec.ValidationError(str(problem)) from problem
    if clicks is not None:
        last_ms = clicks.last_ms
        clicks.first_ms = last_ms - clicks.first_ms
        clicks.decayed_at_ms = last_ms - clicks.decayed_at_ms
        clicks.session_started_ms = last_ms - clicks.session_started_ms
        clicks.scored_ms = last_ms - clicks.scored_ms
        if clicks.last_cart_ms:
            clicks.last_cart_ms = time_at(-clicks.last_cart_ms, last_ms)
    return CustomerState(
        row.sources,
        orders,
        clicks,
        row.reviews,
        row.profile,
        row.contact,
        [],
        row.next_look_ms,
        score,
        None,
        row.cart_due_ms,
        row.erased_ms,
        row.further,
        row.pending,
        row.ledger,
    )


def block_of_orders(orders: OrdersState) -> bytes | OrdersState:
    """Return everything but the products, without the zeros at its end; the orders themselves where it does not fit."""
    if orders.decayed_at_ms != orders.last_ms:
        return orders
    try:
        return _pack_orders(*_from_orders(_astuple(orders))).rstrip(b"\0")
    except (error, OverflowError):
        return orders


def _orders_of(block: bytes, products: tuple[str, ...]) -> OrdersState:
    numbers = _unpack_orders(block.ljust(_orders_bytes, b"\0"))
    return OrdersState(*_to_orders((*numbers, products, numbers[0])))


def _times_from_last(clicks: ClicksState) -> list[Any]:
    row = list(_astuple(clicks))
    last_ms = row[_LAST]
    row[_FIRST] = last_ms - row[_FIRST]
    row[_DECAYED] = last_ms - row[_DECAYED]
    row[_STARTED] = last_ms - row[_STARTED]
    row[_SCORED] = last_ms - row[_SCORED]
    cart_ms = row[_CART]
    if cart_ms:
        row[_CART] = -distance(cart_ms, last_ms)
    return row


def block_of_score(score: ScoreState) -> bytes | ScoreState:
    """Return everything but the version of the model; the score itself where it does not fit.

    Probabilities are kept in single precision, to which they are rounded when they are concluded.
    """
    at_ms, probability, tier, published_ms, published, _, week_ms, week, next_ms, following = _astuple(score)
    if week_ms > at_ms or next_ms > at_ms:
        return score
    try:
        return _pack_score(
            at_ms & _LOW,
            at_ms >> 32,
            tier,
            probability,
            published_ms & _LOW,
            published_ms >> 32,
            published,
            at_ms - week_ms + 1 if week_ms else 0,
            week,
            at_ms - next_ms + 1 if next_ms else 0,
            following,
        )
    except (error, OverflowError):
        return score


def _score_of(block: bytes, model_version: str) -> ScoreState:
    low, high, tier, probability, published_low, published_high, published, week_away, week, next_away, following = (
        _unpack_score(block)
    )
    at_ms = low | high << 32
    return ScoreState(
        at_ms,
        probability,
        tier,
        published_low | published_high << 32,
        published,
        full_name(model_version),
        at_ms - week_away + 1 if week_away else 0,
        week,
        at_ms - next_away + 1 if next_away else 0,
        following,
    )
