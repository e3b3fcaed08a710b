"""Parts of a customer's state that most events leave alone, packed: what timers ask of them stands beside the bytes.

A click, which most events are, needs neither the observations that wait for labels nor what was decided. They are
carried along as bytes, and unpacked when somebody asks (`core.state.CustomerState`).
"""

from typing import Any, Final

import msgspec

from stream_app.core.columns import columns_of, observations_of
from stream_app.core.compact import FLOATS, Rows, distance, short, time_at
from stream_app.core.ledger import HISTORY, Ledger, PackedHistory
from stream_app.core.names import NameReader, NameWriter
from stream_app.core.squeezing import spread, squeeze
from stream_app.core.waiting import Observation

_encode = msgspec.msgpack.Encoder().encode
_decode_observations = msgspec.msgpack.Decoder(list[Observation]).decode
_decode_ledger = msgspec.msgpack.Decoder(Ledger).decode

_LONG_BYTES: Final = 480
"""Observations of more bytes are squeezed: few customers have so many, and theirs are the largest states."""
_OBSERVATIONS: Final = Rows(Observation, ("model_version",), ("weight", "stay_propensity"))
_FIELDS: Final = Ledger.__struct_fields__
_LEDGER_NUMBERS: Final = tuple(
    place for place, field in enumerate(msgspec.structs.fields(Ledger)) if field.type in FLOATS
)
_LEDGER_TIMES: Final = tuple(_FIELDS.index(name) for name in ("drawn_at_ms", "retry_at_ms", "care_at_ms"))
_DRAWN, _REASONS, _STANDING, _ALTERNATIVES = (
    _FIELDS.index(name) for name in ("drawn", "suppressed_reasons", "standing_told", "drawn_alternatives")
)
_HEAD: Final[dict[str, Any]] = {"epoch": int, "drawn_open": bool, "proposals": list[msgspec.Raw]}
_decode_head = msgspec.msgpack.Decoder(
    msgspec.defstruct(
        "_LedgerHead",
        [(name, _HEAD.get(name, msgspec.Raw)) for name in _FIELDS[: 1 + max(map(_FIELDS.index, _HEAD))]],
        array_like=True,
        gc=False,
    )
).decode
_HISTORY: Final = tuple(_FIELDS.index(name) for name in HISTORY)
_PACKED_HISTORY: Final = _FIELDS.index("history")


class PackedObservations(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Observations that wait for labels, at least one."""

    oldest_ms: int
    """When the first of them was taken."""
    body: bytes
    is_squeezed: bool = False
    in_columns: bool = False


class PackedLedger(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A ledger. Times in it are distances from `drawn_at_ms`; those that timers ask for stand here."""

    drawn_at_ms: int
    body: bytes
    retry_at: int = 0
    oldest_draw: int = 0
    history_from: int = 0
    history: bytes = b""
    """Contacts and draws; empty: there are none."""

    @property
    def oldest_draw_ms(self) -> int:
        """When the oldest draw was made whose outcome is still to be told; 0: there is none."""
        return time_at(self.oldest_draw, self.drawn_at_ms)

    @property
    def retry_at_ms(self) -> int:
        """When a decision is tried again; 0: there is none."""
        return time_at(self.retry_at, self.drawn_at_ms)


def pack_observations(pending: list[Observation]) -> PackedObservations | None:
    """Pack observations, oldest first; None for no observations."""
    if not pending:
        return None
    oldest_ms = pending[0].at_ms
    columns = columns_of(pending)
    body = columns if columns is not None else _encode(_OBSERVATIONS.shrink(pending, oldest_ms, NameWriter()))
    is_long = len(body) > _LONG_BYTES
    return PackedObservations(oldest_ms, squeeze(body) if is_long else body, is_long, columns is not None)


def unpack_observations(packed: PackedObservations) -> list[Observation]:
    """Return what was packed; raises msgspec.MsgspecError or ValueError for damaged bytes."""
    body = spread(packed.body) if packed.is_squeezed else packed.body
    if packed.in_columns:
        return observations_of(body, packed.oldest_ms)
    return _OBSERVATIONS.restore(_decode_observations(body), packed.oldest_ms, NameReader())


def pack_ledger(ledger: Ledger) -> PackedLedger:
    """Pack a ledger."""
    base_ms, names, history = ledger.drawn_at_ms, NameWriter(), ledger.pack_history()
    row: list[Any] = list(msgspec.structs.astuple(ledger))
    for place in _HISTORY:
        row[place] = ()
    row[_PACKED_HISTORY] = None
    for place in _LEDGER_TIMES:
        row[place] = distance(row[place], base_ms)
    for place in _LEDGER_NUMBERS:
        row[place] = short(row[place])
    row[_DRAWN] = names.short(ledger.drawn)
    if ledger.suppressed_reasons:
        row[_REASONS] = [names.short(reason) for reason in ledger.suppressed_reasons]
    if ledger.standing_told:
        told = ledger.standing_told.items()
        row[_STANDING] = {names.short(reason): distance(at_ms, base_ms) for reason, at_ms in told}
    if ledger.drawn_alternatives:
        row[_ALTERNATIVES] = names.short_keys(ledger.drawn_alternatives)
    retry_at, body = distance(ledger.retry_at_ms, base_ms), _encode(row)
    if history is None:
        return PackedLedger(base_ms, body, retry_at)
    oldest_draw, history_from = distance(history.oldest_draw_ms, base_ms), distance(history.from_ms, base_ms)
    return PackedLedger(base_ms, body, retry_at, oldest_draw, history_from, history.body)


def is_settled(packed: PackedLedger) -> bool:
    """Say of a packed ledger whether a choice was made and carried out, and nothing waits for a person.

    A tenth of unpacking and packing again, for decision points that have nothing to decide. Raises msgspec.MsgspecError
    for damaged bytes.
    """
    head: Any = _decode_head(packed.body)
    return head.epoch >= 0 and not head.drawn_open and not head.proposals


def unpack_ledger(packed: PackedLedger) -> Ledger:
    """Return what was packed, its history still packed; raises msgspec.MsgspecError or ValueError for damaged bytes."""
    base_ms, names, ledger = packed.drawn_at_ms, NameReader(), _decode_ledger(packed.body)
    ledger.drawn_at_ms = time_at(ledger.drawn_at_ms, base_ms)
    ledger.retry_at_ms = time_at(ledger.retry_at_ms, base_ms)
    ledger.care_at_ms = time_at(ledger.care_at_ms, base_ms)
    ledger.drawn = names.full(ledger.drawn)
    if ledger.suppressed_reasons:
        ledger.suppressed_reasons = tuple([names.full(short) for short in ledger.suppressed_reasons])
    if ledger.standing_told:
        told = ledger.standing_told.items()
        ledger.standing_told = {names.full(short): time_at(away, base_ms) for short, away in told}
    if ledger.drawn_alternatives:
        ledger.drawn_alternatives = names.full_keys(ledger.drawn_alternatives)
    if packed.history:
        ledger.history = PackedHistory(time_at(packed.history_from, base_ms), packed.oldest_draw_ms, packed.history)
    return ledger
