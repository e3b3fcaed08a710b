"""Names as few characters: those that the product knows have a code, others are spelled out once and then pointed at.

A customer's state names the same few actions, channels, reasons and versions again and again. Codes are strings, too,
so whatever reads a state without knowing them still finds well-formed fields.
"""

from collections.abc import Mapping
from typing import Final, TypeVar

V = TypeVar("V")

KNOWN: Final = (
    *("nothing", "email", "sms", "push", "phone", "onsite"),
    *("coupon-10", "coupon-20", "birthday-gift", "vip-service", "care-call", "care-email", "care-sms", "care-push"),
    *("product-picks", "loyalty-points", "promotion-news", "satisfaction-survey", "seasonal-game"),
    *("profiling", "stale_data", "consent", "unsubscribed", "message_complaint", "complaint_cooldown"),
    *("order_cooldown", "discount_dependence", "cooldown", "cap", "quiet_hours"),
    *("drawn_not_eligible", "holdout", "shadow", "kill_switch", "rate_breaker", "budget", "approval", "expired"),
    "prior",
)
"""Names with a code: what the shipped catalogue and the guardrails say. Stored states count on their order: it is only
ever appended to."""

_MARK = "\0"
"""Begins what stands for a name spelled earlier, and what is no code although it looks like one."""
_CODES: Final = {name: chr(1 + position) for position, name in enumerate(KNOWN)}
_OF_CODE: Final = {code: name for name, code in _CODES.items()}


class NameWriter:
    """Shortens the names of one record, in the order in which a `NameReader` will meet them."""

    __slots__ = ("_spelled",)

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}

    def short(self, name: str) -> str:
        """Return what stands for a name: its code, a pointer to where it was spelled, or the name."""
        code = _CODES.get(name)
        if code is None:
            code = self._spelled.get(name)
        if code is not None:
            return code
        if not name:
            return ""
        self._spelled[name] = _MARK + chr(1 + len(self._spelled))
        return _MARK + _MARK + name if len(name) == 1 or name[0] == _MARK else name

    def short_keys(self, held: Mapping[str, V]) -> dict[str, V]:
        """Shorten the names that are the keys of a mapping."""
        return {self.short(name): value for name, value in held.items()}


class NameReader:
    """Gives the names of one record back: the inverse of `NameWriter`, asked in the same order."""

    __slots__ = ("_spelled",)

    def __init__(self) -> None:
        self._spelled: dict[str, str] = {}

    def full(self, short: str) -> str:
        """Return the name that something stands for.

        Raises
        ------
        ValueError
            It is a code that this release does not know, or points at nothing.
        """
        known = _OF_CODE.get(short)
        if known is not None:
            return known
        if len(short) == 1:
            raise ValueError(f"name code {ord(short)} is unknown: a newer release wrote it")
        if short.startswith(_MARK):
            pointed = self._spelled.get(short)
            if pointed is not None:
                return pointed
            if not short.startswith(_MARK + _MARK):
                raise ValueError(f"name pointer {short!r} points at nothing")
            short = short[2:]
        elif not short:
            return ""
        self._spelled[_MARK + chr(1 + len(self._spelled))] = short
        return short

    def full_keys(self, held: Mapping[str, V]) -> dict[str, V]:
        """Return a mapping with its names as keys again."""
        return {self.full(short): value for short, value in held.items()}


def short_name(name: str) -> str:
    """Return what stands for a name of which a record has no other."""
    return _CODES.get(name) or NameWriter().short(name)


def full_name(short: str) -> str:
    """Return the name that `short_name` shortened; raises ValueError as `NameReader.full` does."""
    return _OF_CODE.get(short) or NameReader().full(short)
