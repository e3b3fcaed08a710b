"""Parts of a customer's state that most events leave alone, packed: what timers ask of them stands beside the bytes.

A click, which most events are, needs neither the observations that wait for labels nor what was decided. They are
carried along as bytes, and unpacked when somebody asks (`core.state.CustomerState`).
"""

from typing import Any, Final

import msgspec

from stream_app.core.compact import FLOATS, Rows, distance, time_at, whole
from stream_app.core.ledger import Contact, Ledger, OpenDraw
from stream_app.core.names import NameReader, NameWriter
from stream_app.core.waiting import Observation

_encode = msgspec.msgpack.Encoder().encode
_decode_observations = msgspec.msgpack.Decoder(list[Observation]).decode
_decode_ledger = msgspec.msgpack.Decoder(Ledger).decode

_OBSERVATIONS: Final = Rows(Observation, ("model_version",), ("weight", "stay_propensity"))
_CONTACTS: Final = Rows(Contact, ("action", "channel"))
_DRAWS: Final = Rows(
    OpenDraw,
    ("action", "alternatives", "policy_version", "catalogue_version", "last_action"),
    ("cost", "incentive", "circumstances", "redeemed_30d", "course"),
)

_FIELDS: Final = Ledger.__struct_fields__
_LEDGER_WHOLES: Final = tuple(
    place for place, field in enumerate(msgspec.structs.fields(Ledger)) if field.type in FLOATS
)
_LEDGER_TIMES: Final = tuple(_FIELDS.index(name) for name in ("drawn_at_ms", "retry_at_ms", "care_at_ms"))
_DRAWN, _REASONS, _STANDING, _ALTERNATIVES, _CONTACTS_SENT, _WOULD_BE, _OPEN = (
    _FIELDS.index(name)
    for name in (
        *("drawn", "suppressed_reasons", "standing_told", "drawn_alternatives"),
        *("contacts", "would_be", "open_draws"),
    )
)


class PackedObservations(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Observations that wait for labels, at least one."""

    oldest_ms: int
    """When the first of them was taken."""
    body: bytes


class PackedLedger(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A ledger. Its times are distances from `drawn_at_ms`; those that timers ask for stand here."""

    drawn_at_ms: int
    body: bytes
    oldest_draw: int = 0
    retry_at: int = 0

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
    return PackedObservations(oldest_ms, _encode(_OBSERVATIONS.shrink(pending, oldest_ms, NameWriter())))


def unpack_observations(packed: PackedObservations) -> list[Observation]:
    """Return what was packed; raises msgspec.MsgspecError or ValueError for damaged bytes."""
    return _OBSERVATIONS.restore(_decode_observations(packed.body), packed.oldest_ms, NameReader())


def pack_ledger(ledger: Ledger) -> PackedLedger:
    """Pack a ledger."""
    base_ms, names = ledger.drawn_at_ms, NameWriter()
    row: list[Any] = list(msgspec.structs.astuple(ledger))
    for place in _LEDGER_TIMES:
        row[place] = distance(row[place], base_ms)
    for place in _LEDGER_WHOLES:
        row[place] = whole(row[place])
    row[_DRAWN] = names.short(ledger.drawn)
    row[_REASONS] = [names.short(reason) for reason in ledger.suppressed_reasons]
    row[_STANDING] = {names.short(reason): distance(at_ms, base_ms) for reason, at_ms in ledger.standing_told.items()}
    row[_ALTERNATIVES] = names.short_keys(ledger.drawn_alternatives)
    row[_CONTACTS_SENT] = _CONTACTS.shrink(ledger.contacts, base_ms, names)
    row[_WOULD_BE] = _CONTACTS.shrink(ledger.would_be, base_ms, names)
    row[_OPEN] = _DRAWS.shrink(ledger.open_draws, base_ms, names)
    oldest_draw_ms = ledger.open_draws[0].at_ms if ledger.open_draws else 0
    return PackedLedger(base_ms, _encode(row), distance(oldest_draw_ms, base_ms), distance(ledger.retry_at_ms, base_ms))


def unpack_ledger(packed: PackedLedger) -> Ledger:
    """Return what was packed; raises msgspec.MsgspecError or ValueError for damaged bytes."""
    base_ms, names, ledger = packed.drawn_at_ms, NameReader(), _decode_ledger(packed.body)
    ledger.drawn_at_ms = time_at(ledger.drawn_at_ms, base_ms)
    ledger.retry_at_ms = time_at(ledger.retry_at_ms, base_ms)
    ledger.care_at_ms = time_at(ledger.care_at_ms, base_ms)
    ledger.drawn = names.full(ledger.drawn)
    ledger.suppressed_reasons = tuple([names.full(short) for short in ledger.suppressed_reasons])
    ledger.standing_told = {names.full(short): time_at(away, base_ms) for short, away in ledger.standing_told.items()}
    ledger.drawn_alternatives = names.full_keys(ledger.drawn_alternatives)
    ledger.contacts = _CONTACTS.restore(ledger.contacts, base_ms, names)
    ledger.would_be = _CONTACTS.restore(ledger.would_be, base_ms, names)
    ledger.open_draws = _DRAWS.restore(ledger.open_draws, base_ms, names)
    return ledger
