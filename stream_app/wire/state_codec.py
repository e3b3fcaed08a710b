"""Customer states as bytes: a version byte, then a msgpack array.

Fields of state structs may only be appended, each with a default, so that every older state decodes under the newest
structs. A change that appending cannot express takes a new version, and its decoder stays for good.

Version 1 wrote every struct as it is. Version 2 packs what most events leave alone (`core.packed`), which then comes
and goes as bytes.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from stream_app.core.state import CustomerState

VERSION = 2

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(CustomerState).decode
_DECODERS: Mapping[int, Callable[[bytes | memoryview], CustomerState]] = {1: _decode, 2: _decode}
_PREFIX = bytes([VERSION])


class StateCodecError(ValueError):
    """Bytes that are no customer state of a version that this release knows."""


def encode_state(state: CustomerState) -> bytes:
    """Return the bytes of a state; the inverse of `decode_state`."""
    row: list[Any] = [
        state.sources,
        state.orders,
        state.clicks,
        state.reviews,
        state.profile,
        state.contact,
        (),
        state.next_look_ms,
        state.score,
        None,
        state.cart_due_ms,
        state.erased_ms,
        state.further,
        *state.packed(),
    ]
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
