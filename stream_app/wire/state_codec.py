"""Customer states as bytes: a version byte, then a msgpack array.

Fields of state structs may only be appended, each with a default, so that every older state decodes under the newest
structs. A change that appending cannot express takes a new version, and its decoder stays for good.

Version 1 wrote every struct as it is. Version 2 packs what most events leave alone (`core.packed`), which then comes
and goes as bytes, and shortens orders and clicks (`wire.state_rows`).
"""

from collections.abc import Callable, Mapping

import msgspec

from stream_app.core.folds.orders import SINGLES
from stream_app.core.packed import PackedLedger, PackedObservations
from stream_app.core.sources import ring_of_first_version
from stream_app.core.state import (
    ClicksState,
    ContactState,
    CustomerState,
    FurtherObservation,
    ProfileState,
    ReviewsState,
    ScoreState,
    SourceState,
)
from stream_app.wire.state_rows import OrdersRow, orders_of, row_of_clicks, row_of_orders

VERSION = 2

_encode = msgspec.msgpack.Encoder().encode
_decode_first = msgspec.msgpack.Decoder(CustomerState).decode


class StateRow(msgspec.Struct, array_like=True, gc=False):
    """A state as version 2 writes it; fields as in `CustomerState`, and appended as there."""

    sources: SourceState
    orders: OrdersRow | None = None
    clicks: ClicksState | None = None
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


_decode_row = msgspec.msgpack.Decoder(StateRow).decode


class StateCodecError(ValueError):
    """Bytes that are no customer state of a version that this release knows."""


def encode_state(state: CustomerState) -> bytes:
    """Return the bytes of a state; the inverse of `decode_state`.

    What the orders count is kept in single precision, to which `core.folds.orders` rounds.
    """
    orders, clicks = state.orders, state.clicks
    pending, ledger = state.packed()
    row = (
        state.sources,
        row_of_orders(orders) if orders is not None else None,
        row_of_clicks(clicks) if clicks is not None else None,
        state.reviews,
        state.profile,
        state.contact,
        state.score,
        state.next_look_ms,
        state.cart_due_ms,
        state.erased_ms,
        pending,
        ledger,
        state.further,
    )
    return _PREFIX + _encode(row)


def decode_state(encoded: bytes) -> CustomerState:
    """Return the state that was encoded, by this release or an older one.

    What is packed is unpacked, and found to be damaged, when somebody asks for it.

    Raises
    ------
    StateCodecError
        The version is unknown (written by a newer release), or the bytes are damaged.
    """
    try:
        decoder = _DECODERS.get(encoded[0])
        if decoder is not None:
            return decoder(memoryview(encoded)[1:])
    except (IndexError, msgspec.MsgspecError) as error:
        raise StateCodecError(f"damaged customer state ({len(encoded)} bytes): {error}") from error
    raise StateCodecError(
        f"customer state of version {encoded[0]}, and this release knows up to {VERSION}: "
        "run the release that wrote it, or a newer one"
    )


def _decode_1(body: bytes | memoryview) -> CustomerState:
    state = _decode_first(body)
    rings = state.sources.rings
    for rank, ring in rings.items():
        rings[rank] = ring_of_first_version(ring)
    if state.orders is not None:
        SINGLES.round(state.orders)
    return state


def _decode_2(body: bytes | memoryview) -> CustomerState:
    row = _decode_row(body)
    orders = row.orders
    return CustomerState(
        row.sources,
        orders_of(orders) if orders is not None else None,
        row.clicks,
        row.reviews,
        row.profile,
        row.contact,
        [],
        row.next_look_ms,
        row.score,
        None,
        row.cart_due_ms,
        row.erased_ms,
        row.further,
        row.pending,
        row.ledger,
    )


_DECODERS: Mapping[int, Callable[[bytes | memoryview], CustomerState]] = {1: _decode_1, 2: _decode_2}
_PREFIX = bytes([VERSION])
