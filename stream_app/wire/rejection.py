"""Why a record cannot be used: a code for machines, a field and a sentence for people, and nothing personal."""

import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from pydantic import ValidationError

RejectionCode = Literal[
    "empty",
    "too_large",
    "too_deep",
    "bad_encoding",
    "not_json",
    "not_an_object",
    "missing_field",
    "wrong_type",
    "too_short",
    "too_long",
    "bad_format",
    "out_of_range",
    "unknown_value",
    "unknown_currency",
    "bad_timestamp",
    "naive_timestamp",
    "far_past",
    "far_future",
    "no_source_position",
    "not_an_input",
]

_EXCERPT_FIELDS = frozenset(
    {"currency", "status", "kind", "timestamp", "event_type", "amount", "rating", "score", "price", "quantity"}
)
"""Fields whose bad value may be shown: none of them says who the customer is or what they wrote."""

_EXCERPT_LENGTH = 32

_CODES: Mapping[str, RejectionCode] = {
    "missing": "missing_field",
    "model_type": "not_an_object",
    "string_too_short": "too_short",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_pattern_mismatch": "bad_format",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "literal_error": "unknown_value",
    "timezone_aware": "naive_timestamp",
    "datetime_parsing": "bad_timestamp",
    "datetime_from_date_parsing": "bad_timestamp",
    "datetime_object_invalid": "bad_timestamp",
    "date_parsing": "bad_timestamp",
    "date_from_datetime_parsing": "bad_timestamp",
    "date_from_datetime_inexact": "bad_timestamp",
}

_REMEDIES: Mapping[RejectionCode, str] = {
    "naive_timestamp": "has no time zone: write it as ISO-8601 with a zone, e.g. 2026-11-22T10:15:00.000Z",
    "bad_timestamp": "is no valid time: write it as ISO-8601 with a zone, e.g. 2026-11-22T10:15:00.000Z",
    "unknown_currency": "is no ISO 4217 currency code in use: send e.g. EUR, or leave it out for the shop's default",
}

_WANTED: Mapping[str, str] = {
    "string_type": "a string",
    "float_type": "a number",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "datetime_type": "an ISO-8601 string with a zone, e.g. 2026-11-22T10:15:00.000Z",
    "date_type": "an ISO-8601 date string, e.g. 1990-05-17",
    "tuple_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
}

_POSITION = re.compile(r"line (\d+) column (\d+)")


class Rejection(msgspec.Struct, frozen=True):
    """A record that costs one dead letter: what is wrong, where, and how to mend it."""

    code: RejectionCode
    field: str
    """Dotted path in the record, e.g. `items.0.quantity`; empty when the record as a whole is at fault."""
    detail: str
    """One or two sentences. Values are quoted, cut short, only from fields that are never personal."""


def _json_kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, dict) else "an array"


def _as_json(value: object) -> str:
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _excerpt(field: str, value: object) -> str:
    """Return the bad value, short and quoted, or "" where it could be personal."""
    if field.rsplit(".", 1)[-1] not in _EXCERPT_FIELDS or isinstance(value, dict | list | tuple):
        return ""
    text = repr(value) if isinstance(value, str) else _as_json(value)
    return f" {text}" if len(text) <= _EXCERPT_LENGTH else f" {text[:_EXCERPT_LENGTH]}…"


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    words = {
        "greater_than": ("gt", "must be greater than"),
        "greater_than_equal": ("ge", "must be at least"),
        "less_than": ("lt", "must be less than"),
        "less_than_equal": ("le", "must be at most"),
    }
    if kind not in words:
        return "must be a finite number"
    name, phrase = words[kind]
    return f"{phrase} {context[name]:g}"


def _sentence(code: RejectionCode, kind: str, field: str, value: object, context: Mapping[str, Any]) -> str:
    name = field or "the record"
    shown = f"{name}{_excerpt(field, value)}"
    if code in _REMEDIES:
        return f"{shown} {_REMEDIES[code]}"
    match code:
        case "missing_field":
            return f"{name} is missing: every record of this topic must carry it"
        case "not_an_object" if not field:
            return f"the record is {_json_kind(value)}, not a JSON object: send one event as {{...}} in each record"
        case "not_an_object" | "wrong_type":
            return (
                f"{name} is {_json_kind(value)}, and must be {_WANTED.get(kind, 'of the type that the schema states')}"
            )
        case "too_short":
            return f"{name} is empty, and must not be"
        case "too_long":
            limit = context.get("max_length", "the schema's limit")
            return (
                f"{name} is too long: at most {limit} {'entries' if kind == 'too_long' else 'characters'} are allowed"
            )
        case "out_of_range":
            return f"{shown} {_bound(kind, context)}"
        case "unknown_value":
            return f"{shown} is not known: it must be {context.get('expected', 'one of the values in the schema')}"
        case _:
            return f"{shown} does not have the form that the schema states"


def _path(location: tuple[int | str, ...]) -> str:
    """Return the dotted path of a field; keys that a producer chose are left out, since they could be anything."""
    known = location[:1] if location[:1] == ("attributes",) else location
    return ".".join(str(part) for part in known)


def _not_json(error: Mapping[str, Any]) -> Rejection:
    reason = str(error.get("ctx", {}).get("error", "malformed"))
    if "recursion limit" in reason:
        return Rejection("too_deep", "", "the record is nested too deeply: events need no more than a few levels")
    found = _POSITION.search(reason)
    place = f" at line {found[1]}, column {found[2]}" if found else ""
    what = _POSITION.sub("", reason).removesuffix(" at ").strip()
    return Rejection(
        "not_json", "", f"the value is not JSON ({what}{place}): send one JSON object, encoded as UTF-8, in each record"
    )


def from_validation_error(failure: ValidationError) -> Rejection:
    """Return the first thing that is wrong with a record, and say how many more there are.

    Parameters
    ----------
    failure
        What pydantic raised for the bytes of one record.
    """
    errors = failure.errors(include_url=False)
    first = errors[0]
    kind = first["type"]
    if kind == "json_invalid":
        return _not_json(first)
    field = _path(first["loc"])
    if kind in {"value_error", "string_pattern_mismatch"} and field.endswith("currency"):
        code: RejectionCode = "unknown_currency"
    else:
        code = _CODES.get(kind, "wrong_type")
    detail = _sentence(code, kind, field, first["input"], first.get("ctx", {}))
    others = list(dict.fromkeys(_path(error["loc"]) for error in errors[1:]))
    if others:
        shown = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")  # noqa: PLR2004 - three names are enough to start mending
        detail += f"; also wrong: {shown}"
    return Rejection(code, field, detail)
