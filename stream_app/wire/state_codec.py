"""Customer states as bytes: a version byte, then a msgpack array.

Fields of state structs may only be appended, each with a default, so that every older version 1 decodes under the
newest structs. A change that appending cannot express takes a new version, and its decoder stays for good.
"""

from collections.abc import Callable, Mapping

import msgspec

from stream_app.core.state import CustomerState

VERSION = 1

_encode = msgspec.msgpack.Encoder().encode
_DECODERS: Mapping[int, Callable[[bytes | memoryview], CustomerState]] = {
    1: msgspec.msgpack.Decoder(CustomerState).decode,
}
_PREFIX = bytes([VERSION])
_decode_newest = _DECODERS[VERSION]


class StateCodecError(ValueError):
    """Bytes that are no customer state of a version that this release knows."""


def encode_state(state: CustomerState) -> bytes:
    """Return the bytes of a state; the inverse of `decode_state`."""
    return _PREFIX + _encode(state)


def decode_state(encoded: bytes) -> CustomerState:
    """Return the state that was encoded, by this release or an older one.

    Raises
    ------
    StateCodecError
        The version is unknown (written by a newer release), or the bytes are damaged.
    """
    try:
        if encoded[0] == VERSION:
            return _decode_newest(memoryview(encoded)[1:])
        decoder = _DECODERS.get(encoded[0])
    except (IndexError, msgspec.MsgspecError) as error:
        raise StateCodecError(f"damaged customer state ({len(encoded)} bytes): {error}") from error
    if decoder is None:
        raise StateCodecError(
            f"customer state of version {encoded[0]}, and this release knows up to {VERSION}: "
            "run the release that wrote it, or a newer one"
        )
    return decoder(memoryview(encoded)[1:])
