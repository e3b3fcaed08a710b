"""Customer states as bytes: a version byte, then a msgpack array.

Fields of state structs may only be appended, each with a default, so that every older state decodes under the newest
structs. A change that appending cannot express takes a new version, and its decoder stays for good.

Version 1 wrote every struct as it is. Version 2 packed what most events leave alone (`core.packed`), which since then
comes and goes as bytes. Version 3 packs numbers into blocks and counts clicks in whole steps (`wire.state_rows`): of
older states (`wire.older_states`), these counts are rounded once, by half a thousandth at most, and scores to seven
digits.
"""

from collections.abc import Callable, Mapping

import msgspec

from stream_app.core.state import CustomerState
from stream_app.wire.older_states import decode_1, decode_2
from stream_app.wire.state_rows import CustomerRow, row_of, state_of

VERSION = 3

_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(CustomerRow).decode


class StateCodecError(ValueError):
    """Bytes that are no customer state of a version that this release knows."""


def encode_state(state: CustomerState) -> bytes:
    """Return the bytes of a state; the inverse of `decode_state`.

    What the orders count and what was scored is kept in single precision, to which `core.folds.orders` and
    `engine.concluding` round.
    """
    return _PREFIX + _encode(row_of(state))


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


def _decode_3(body: bytes | memoryview) -> CustomerState:
    return state_of(_decode_row(body))


_DECODERS: Mapping[int, Callable[[bytes | memoryview], CustomerState]] = {1: decode_1, 2: decode_2, 3: _decode_3}
_PREFIX = bytes([VERSION])
