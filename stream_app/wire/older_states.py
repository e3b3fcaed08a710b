"""Customer states of versions 1 and 2, which are read for good and no longer written.

Both kept decayed counts of clicks as floats, and scores in double precision: these are rounded once, to the steps and
to the seven digits in which they are kept now.
"""

from struct import Struct
from typing import Final

import msgspec

from stream_app.core.folds.orders import SINGLES
from stream_app.core.folds.singles import Singles
from stream_app.core.ledger import Ledger
from stream_app.core.packed import PackedLedger, PackedObservations
from stream_app.core.sources import ring_of_first_version
from stream_app.core.state import (
    CLICK_STEPS,
    ClicksState,
    ContactState,
    CustomerState,
    FurtherObservation,
    Observation,
    OrdersState,
    ProfileState,
    ReviewsState,
    ScoreState,
    SourceState,
)

_BLOCK: Final = Struct("<qqHHH5fq8f")
"""The orders' fields up to `sum_ln_lines`. Floats are of single precision, as the fold leaves them."""

_unpack, _block_bytes = _BLOCK.unpack, _BLOCK.size
_astuple = msgspec.structs.astuple


class OrdersRow(msgspec.Struct, array_like=True, gc=False):
    """Orders as they are stored: fields after the block as in `OrdersState`, and appended as there."""

    block: bytes
    cancelled: int = 0
    returned: int = 0
    discounted: int = 0
    last_cancelled_ms: int = 0
    total_amount: float = 0.0
    recent_products: tuple[str, ...] = ()


class FloatClicks(msgspec.Struct, array_like=True, gc=False):
    """Clicks with their decayed counts as floats, 1 for one; the other fields as in `ClicksState`."""

    first_ms: int = 0
    last_ms: int = 0
    decayed_at_ms: int = 0
    clicks_7d: float = 0.0
    clicks_30d: float = 0.0
    sessions_7d: float = 0.0
    sessions_30d: float = 0.0
    product_views_30d: float = 0.0
    cart_adds_30d: float = 0.0
    cart_removes_30d: float = 0.0
    searches_30d: float = 0.0
    wishlist_30d: float = 0.0
    shares_30d: float = 0.0
    promotions_30d: float = 0.0
    checkouts_30d: float = 0.0
    app_30d: float = 0.0
    full_carts_30d: float = 0.0
    sessions: int = 0
    session_hash: int = 0
    session_started_ms: int = 0
    session_clicks: int = 0
    session_cart: int = 0
    scored_ms: int = 0
    recent_products: tuple[str, ...] = ()
    last_cart_ms: int = 0


class FirstState(msgspec.Struct, array_like=True, gc=False):
    """A state as version 1 wrote it; fields as in `CustomerState`."""

    sources: SourceState
    orders: OrdersState | None = None
    clicks: FloatClicks | None = None
    reviews: ReviewsState | None = None
    profile: ProfileState | None = None
    contact: ContactState | None = None
    pending: list[Observation] = msgspec.field(default_factory=list)
    next_look_ms: int = 0
    score: ScoreState | None = None
    ledger: Ledger | None = None
    cart_due_ms: int = 0
    erased_ms: int = 0
    further: list[FurtherObservation] | None = None


class StateRow(msgspec.Struct, array_like=True, gc=False):
    """A state as version 2 wrote it; fields as in `CustomerState`."""

    sources: SourceState
    orders: OrdersRow | None = None
    clicks: FloatClicks | None = None
    reviews: ReviewsState | None = None
    profile: ProfileState | None = None
    contact: ContactState | None = None
    score: ScoreState | None = None
    next_look_ms: int = 0
    cart_due_ms: int = 0
    erased_ms: int = 0
    pending: PackedObservations | None = None
    ledger: PackedLedger | None = None
    further: list[FurtherObservation] | None = None


SCORES: Final = Singles(("probability", "published", "week_ago", "next_week"))
"""What is kept of scores."""

_decode_first = msgspec.msgpack.Decoder(FirstState).decode
_decode_second = msgspec.msgpack.Decoder(StateRow).decode
_decode_orders = msgspec.msgpack.Decoder(OrdersState).decode
_COUNTS: Final = slice(
    FloatClicks.__struct_fields__.index("clicks_7d"), FloatClicks.__struct_fields__.index("sessions")
)


def decode_1(body: bytes | memoryview) -> CustomerState:
    """Return a state of version 1; raises msgspec.MsgspecError for damaged bytes, as `decode_2` does."""
    read = _decode_first(body)
    rings = read.sources.rings
    for rank, ring in rings.items():
        rings[rank] = ring_of_first_version(ring)
    if read.orders is not None:
        SINGLES.round(read.orders)
    state = CustomerState(
        read.sources, read.orders, _clicks_of(read.clicks), read.reviews, read.profile, read.contact, read.pending
    )
    state.next_look_ms, state.cart_due_ms, state.erased_ms = read.next_look_ms, read.cart_due_ms, read.erased_ms
    state.score, state.ledger, state.further = _rounded(read.score), read.ledger, read.further
    return state


def decode_2(body: bytes | memoryview) -> CustomerState:
    """Return a state of version 2."""
    read = _decode_second(body)
    state = CustomerState(
        read.sources, _orders_of(read.orders), _clicks_of(read.clicks), read.reviews, read.profile, read.contact
    )
    state.next_look_ms, state.cart_due_ms, state.erased_ms = read.next_look_ms, read.cart_due_ms, read.erased_ms
    state.score, state.further = _rounded(read.score), read.further
    state.packed_pending, state.packed_ledger = read.pending, read.ledger
    return state


def _orders_of(row: OrdersRow | None) -> OrdersState | None:
    if row is None:
        return None
    block, *others = _astuple(row)
    if len(block) != _block_bytes:
        return _decode_orders(block)
    return OrdersState(*_unpack(block), *others)


def _rounded(score: ScoreState | None) -> ScoreState | None:
    if score is not None:
        SCORES.round(score)
    return score


def _clicks_of(row: FloatClicks | None) -> ClicksState | None:
    if row is None:
        return None
    values = list(_astuple(row))
    try:
        values[_COUNTS] = [round(count * CLICK_STEPS) for count in values[_COUNTS]]
    except (OverflowError, ValueError) as error:
        raise msgspec.ValidationError(f"a count of clicks is no number: {error}") from error
    return ClicksState(*values)
