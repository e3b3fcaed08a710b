"""What the compacted topic `model-snapshots` says of learned policies: the newest, the last ones by name, the pinned.

Keys are `policy/<method>` for the newest, `policies/<method>/<version>` for the named versions (the same bytes, so that
a worker one release behind follows the newest as before), and `pinned/policy` for a person's choice, which stands above
the trainer's until it is taken back (a tombstone).
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from stream_app.adapters.model_records import (
    DIGEST_HEADER,
    PRIOR,
    ModelRecord,
    ModelRefusedError,
    Stored,
    is_damaged,
    stored_of,
)
from stream_app.decisions.policy import PolicyError, PolicySnapshot
from stream_app.decisions.policy_record import decode_policy, encode_policy

POLICY: Final = "policy"
POLICIES: Final = "policies"
PINNED: Final = "pinned"
KEPT_VERSIONS: Final = 20
"""Named versions of a method that stay on the topic. A policy is published once it learned from 1 % more decisions, so
that so many cover a fifth of all that was learned."""

PolicyMethod = Literal["learned", "q_learning"]
"""How a policy was learned, as STREAM_APP_POLICY names it: as a contextual bandit, or over sequences of contacts."""
PolicyChosenBy = Literal["pin", "trainer", "nobody"]


class PolicyChoice(NamedTuple):
    """Which policy is to be in force, and who says so."""

    version: str
    """Empty for the trainer's newest, whose name is in it; `PRIOR` for the catalogue's own beliefs."""
    by: PolicyChosenBy
    stored: Stored | None
    """None where the catalogue is believed, and where a pinned version is not on the topic."""


class PolicyVersions:
    """The fold of the topic as far as it is about policies. Feed it every such record in the order of the log."""

    def __init__(self) -> None:
        self.newest: dict[str, Stored] = {}
        """By method, not yet decoded."""
        self.named: dict[str, Stored] = {}
        """By version, oldest first; `Stored.model` is the method."""
        self.pinned = ""
        """Version that a person chose; `PRIOR`: the catalogue's own beliefs; empty: none."""

    def apply(
        self,
        kind: str,
        name: str,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]],
        timestamp_ms: int,
    ) -> bool:
        """Take in one record; return whether it was about policies."""
        if kind == PINNED and name == POLICY:
            self.pinned = _version_in(value) if value is not None else ""
        elif kind == POLICY:
            self.newest.pop(name, None)
            if value is not None:
                self.newest[name] = stored_of(name, "", value, headers, timestamp_ms)
        elif kind == POLICIES:
            method, _, version = name.partition("/")
            self.named.pop(version, None)
            if value is not None:
                self.named[version] = stored_of(method, version, value, headers, timestamp_ms)
        else:
            return False
        return True

    def choice(self, method: str) -> PolicyChoice:
        """Return what is to be in force: a person's pin, else the newest that the trainer learned by a method."""
        if self.pinned:
            return PolicyChoice(self.pinned, "pin", self.named.get(self.pinned))
        newest = self.newest.get(method)
        return PolicyChoice("", "trainer" if newest is not None else "nobody", newest)

    def of_method(self, method: str) -> list[str]:
        """Return the named versions of a method, oldest first."""
        return [version for version, stored in self.named.items() if stored.model == method]

    def surplus(self, kept: int = KEPT_VERSIONS) -> list[ModelRecord]:
        """Return the tombstones of versions that are to leave the topic: old, and not pinned."""
        methods = {stored.model for stored in self.named.values()}
        old = [(method, version) for method in sorted(methods) for version in self.of_method(method)[:-kept]]
        return [
            ModelRecord(f"{POLICIES}/{method}/{version}".encode(), None, [])
            for method, version in old
            if version != self.pinned
        ]

    def load_chosen(self, method: str, key: bytes) -> PolicySnapshot | None:
        """Decode and check what is to be in force; None where the catalogue is to be believed.

        Raises
        ------
        ModelRefusedError
            If it is missing, damaged, not ours, or nothing that this build can decide by.
        """
        choice = self.choice(method)
        if choice.version not in {"", PRIOR}:
            return self.load(choice.version, key)
        return None if choice.stored is None else _decoded(choice.stored, "learned policy", key)

    def load(self, version: str, key: bytes) -> PolicySnapshot:
        """Decode and check a named version; raises as `load_chosen` does."""
        stored = self.named.get(version)
        if stored is None:
            known = ", ".join(list(self.named)[-5:]) or "none"
            raise ModelRefusedError("missing", f"no policy {version!r} is on the topic (newest: {known})")
        return _decoded(stored, f"policy {version}", key)


def policy_records(policy: PolicySnapshot, key: bytes, method: PolicyMethod = "learned") -> tuple[ModelRecord, ...]:
    """Return the records of a learned policy, signed if there is a key: the named version, then the newest."""
    value = encode_policy(policy, key)
    headers = [(DIGEST_HEADER, hashlib.sha256(value).hexdigest().encode("ascii"))]
    keys = (f"{POLICIES}/{method}/{policy.version}", f"{POLICY}/{method}")
    return tuple(ModelRecord(each.encode(), value, headers) for each in keys)


def policy_record(policy: PolicySnapshot, key: bytes, method: PolicyMethod = "learned") -> ModelRecord:
    """Return the record of a method's newest policy alone; it replaces the one before."""
    return policy_records(policy, key, method)[-1]


def policy_pin(version: str) -> ModelRecord:
    """Return the record that pins a version, or takes the pin back when `version` is empty."""
    value = json.dumps({"version": version}).encode() if version else None
    return ModelRecord(f"{PINNED}/{POLICY}".encode(), value, [])


def _version_in(value: bytes) -> str:
    try:
        return msgspec.json.decode(value, type=dict[str, str]).get("version", "")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def _decoded(stored: Stored, name: str, key: bytes) -> PolicySnapshot:
    if is_damaged(stored):
        raise ModelRefusedError("damaged", f"{name}: its bytes do not fit the SHA-256 beside them")
    try:
        return decode_policy(stored.value, key)
    except PolicyError as error:
        raise ModelRefusedError("invalid", f"{name}: {error}") from error
