"""Sub-states in forms that are shorter than msgpack has them, and no slower to read."""

from struct import Struct, error
from typing import Any, Final

import msgspec

from stream_app.core.state import ClicksState, OrdersState

_BLOCK: Final = Struct("<qqHHH5fq8f")
"""The orders' fields up to `sum_ln_lines`. Floats are of single precision, as the fold leaves them."""
_IN_BLOCK: Final = OrdersState.__struct_fields__.index("cancelled")
_RECENT: Final = ClicksState.__struct_fields__.index("recent_products")

_pack, _unpack, _block_bytes = _BLOCK.pack, _BLOCK.unpack, _BLOCK.size
_astuple = msgspec.structs.astuple
_encode = msgspec.msgpack.Encoder().encode
_decode_orders = msgspec.msgpack.Decoder(OrdersState).decode


class OrdersRow(msgspec.Struct, array_like=True, gc=False):
    """Orders as they are stored: fields after the block as in `OrdersState`, and appended as there."""

    block: bytes
    cancelled: int = 0
    returned: int = 0
    discounted: int = 0
    last_cancelled_ms: int = 0
    total_amount: float = 0.0
    recent_products: tuple[str, ...] = ()


def row_of_orders(orders: OrdersState) -> tuple[Any, ...]:
    """Return what `orders_of` takes, as a tuple."""
    values = _astuple(orders)
    try:
        block = _pack(*values[:_IN_BLOCK])
    except (error, OverflowError):
        # Beyond what the block holds: it is spelled out there.
        block = _encode(orders)
    return (block, *values[_IN_BLOCK:])


def orders_of(row: OrdersRow) -> OrdersState:
    """Return the orders of an `OrdersRow`; raises msgspec.MsgspecError where its block is neither."""
    others = _astuple(row)
    block = others[0]
    if len(block) != _block_bytes:
        return _decode_orders(block)
    return OrdersState(*_unpack(block), *others[1:])


def row_of_clicks(clicks: ClicksState) -> list[Any]:
    """Return clicks as a list in which zeros are integers, which take a byte where a float takes nine."""
    values = _astuple(clicks)
    row = [value or 0 for value in values]
    row[_RECENT] = values[_RECENT]
    return row
