"""A policy as it is published: its numbers as JSON, signed where there is a key. Nothing in it can be executed."""

import hmac
from hashlib import sha256

import msgspec

from stream_app.decisions.policy import PolicyError, PolicySnapshot, check_policy

FORMAT = 1
_PURPOSE = b"policy "
"""Signed with the content, so that what was signed as something else by the same key is no policy."""


class _Envelope(msgspec.Struct):
    policy: msgspec.Raw
    format: int
    signature: str = ""


def encode_policy(snapshot: PolicySnapshot, key: bytes = b"") -> bytes:
    """Return the policy as JSON, with an HMAC-SHA256 over its bytes when a key is given."""
    body = msgspec.json.encode(snapshot, order="deterministic")
    signature = _signature(body, key) if key else ""
    return msgspec.json.encode(_Envelope(policy=msgspec.Raw(body), format=FORMAT, signature=signature))


def decode_policy(data: bytes, key: bytes = b"") -> PolicySnapshot:
    """Return the policy in `data`, checked: signature, format, context, shapes, finite numbers.

    Raises
    ------
    PolicyError
        It is none that this build can decide by; with a key, an unsigned one is refused as well.
    """
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PolicyError(f"no published policy: {error}") from error
    body = bytes(envelope.policy)
    if key and not hmac.compare_digest(_signature(body, key).encode(), envelope.signature.encode()):
        raise PolicyError("the signature does not fit: give trainer and workers the same STREAM_APP_MODEL_KEY")
    if envelope.format != FORMAT:
        raise PolicyError(f"policy format {envelope.format}, this version reads {FORMAT}: upgrade the workers")
    try:
        snapshot = msgspec.json.decode(body, type=PolicySnapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PolicyError(f"no published policy: {error}") from error
    check_policy(snapshot)
    return snapshot


def _signature(body: bytes, key: bytes) -> str:
    return hmac.new(key, _PURPOSE + body, sha256).hexdigest()
