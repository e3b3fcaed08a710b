"""What the compacted topic `model-snapshots` says: which versions there are, which one is served, which one is pinned.

Keys are `<model>/<version>` for a snapshot, `served/<horizon>` for the trainer's pointer to its newest, and
`pinned/<horizon>` for a person's choice, which stands above the trainer's until it is taken back (a tombstone). A
pointer is written after the snapshot that it names: who reads in order never meets one that dangles. `policy/...`,
`policies/...` and `pinned/policy` are about learned policies (`policy_versions`), `report/<name>` is what the trainer
has to report.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

import msgspec

from stream_app.adapters.model_records import (
    DIGEST_HEADER,
    POSITIONS_HEADER,
    PRIOR,
    ModelRecord,
    ModelRefusedError,
    RefusalCode,
    Stored,
    is_damaged,
    stored_of,
)
from stream_app.adapters.policy_versions import PolicyVersions
from stream_app.learning.snapshot import ModelSnapshot, SnapshotRefusedError, decode_snapshot, encode_snapshot

__all__ = [
    "POSITIONS_HEADER",
    "PRIOR",
    "REPORT",
    "Choice",
    "ChosenBy",
    "ModelRecord",
    "ModelRefusedError",
    "ModelRegistry",
    "PointerKind",
    "RefusalCode",
    "Stored",
    "pointer_record",
    "report_record",
    "snapshot_record",
    "tombstone",
]

PointerKind = Literal["served", "pinned"]
ChosenBy = Literal["setting", "pin", "trainer", "nobody"]


class Choice(NamedTuple):
    """Which version is to be served, and who says so. `version` is empty before the first snapshot."""

    version: str
    by: ChosenBy


REPORT: Final = "report"
"""Kind of the records that hold what a pupil of the trainer reports, as JSON, for every worker to show."""


class ModelRegistry:
    """The fold of the topic. Feed it every record in the order of the log."""

    def __init__(self) -> None:
        self.snapshots: dict[str, Stored] = {}
        """By version, oldest first."""
        self.reports: dict[str, bytes] = {}
        """The newest of each kind, by its name."""
        self.policies = PolicyVersions()
        self._pointers: dict[tuple[str, int], str] = {}

    def apply(
        self, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int
    ) -> None:
        """Take in one record. What is none of the kinds is passed over.

        Kafka allows headers of any name, more than once, and null as their value: others than ours are not read, and
        null counts as not noted.
        """
        kind, slash, name = (key or b"").decode("utf-8", "replace").partition("/")
        if not slash:
            return
        if self.policies.apply(kind, name, value, headers, timestamp_ms):
            return
        if kind in {"served", "pinned"}:
            self._apply_pointer(kind, name, value)
        elif kind == REPORT:
            self.reports[name] = value or b""
        else:
            self.snapshots.pop(name, None)
            if value is not None:
                self.snapshots[name] = stored_of(kind, name, value, headers, timestamp_ms)

    def pointer(self, kind: PointerKind, horizon_days: int) -> str:
        """Return the version that a pointer names; empty if there is none."""
        return self._pointers.get((kind, horizon_days), "")

    def choice(self, horizon_days: int, pinned_by_setting: str) -> Choice:
        """Return what is to be served: the setting's choice, else a person's pin, else the trainer's newest."""
        if pinned_by_setting:
            return Choice(pinned_by_setting, "setting")
        if pinned := self.pointer("pinned", horizon_days):
            return Choice(pinned, "pin")
        if served := self.pointer("served", horizon_days):
            return Choice(served, "trainer")
        return Choice("", "nobody")

    def load(self, version: str, key: bytes, horizon_days: int | None) -> ModelSnapshot:
        """Decode and check one snapshot.

        Parameters
        ----------
        version
            Which.
        key
            HMAC key; empty if snapshots are not signed.
        horizon_days
            The horizon that it must have; None to take any.

        Raises
        ------
        ModelRefusedError
            If it is not there, damaged, not ours, or for another horizon.
        """
        stored = self.snapshots.get(version)
        if stored is None:
            known = ", ".join(list(self.snapshots)[-5:]) or "none"
            raise ModelRefusedError("missing", f"no snapshot {version!r} is on the topic (newest: {known})")
        if is_damaged(stored):
            raise ModelRefusedError("damaged", f"snapshot {version}: its bytes do not fit the SHA-256 beside them")
        try:
            snapshot = decode_snapshot(stored.value, key)
        except SnapshotRefusedError as error:
            raise ModelRefusedError("invalid", f"snapshot {version}: {error}") from error
        if horizon_days is not None and snapshot.horizon_days != horizon_days:
            raise ModelRefusedError(
                "horizon",
                f"snapshot {version} predicts {snapshot.horizon_days} days, not {horizon_days}: it is of another "
                "STREAM_APP_HORIZON_DAYS or STREAM_APP_EXTRA_HORIZONS_DAYS",
            )
        return snapshot

    def _apply_pointer(self, kind: str, horizon: str, value: bytes | None) -> None:
        if not horizon.isascii() or not horizon.isdigit():
            return
        if value is None:
            self._pointers.pop((kind, int(horizon)), None)
            return
        try:
            named = msgspec.json.decode(value, type=dict[str, str])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self._pointers[kind, int(horizon)] = named.get("version", "")


def snapshot_record(snapshot: ModelSnapshot, key: bytes) -> ModelRecord:
    """Return the record of a snapshot, signed if there is a key."""
    value = encode_snapshot(snapshot, key)
    digest = hashlib.sha256(value).hexdigest().encode("ascii")
    return ModelRecord(f"{snapshot.model}/{snapshot.version}".encode(), value, [(DIGEST_HEADER, digest)])


def tombstone(model: str, version: str) -> ModelRecord:
    """Return the record that takes a snapshot off the topic."""
    return ModelRecord(f"{model}/{version}".encode(), None, [])


def pointer_record(kind: PointerKind, horizon_days: int, version: str) -> ModelRecord:
    """Return the record that points to a version, or takes the pointer back when `version` is empty."""
    value = json.dumps({"version": version}).encode() if version else None
    return ModelRecord(f"{kind}/{horizon_days}".encode(), value, [])


def report_record(name: str, value: bytes) -> ModelRecord:
    """Return the record of a report."""
    return ModelRecord(f"{REPORT}/{name}".encode(), value, [])
