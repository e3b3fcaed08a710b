"""What breaks producers of inputs, and what breaks subscribers of outputs."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.wire.compatibility import breaking_changes
from stream_app.wire.contracts import CONTRACTS, schema_of

BASE: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "minLength": 1, "maxLength": 128},
        "amount": {"type": "number", "minimum": 0, "maximum": 100},
        "status": {"type": "string", "enum": ["completed", "cancelled"]},
        "coupon": {"anyOf": [{"type": "string", "maxLength": 10}, {"type": "null"}]},
        "items": {"type": "array", "maxItems": 5, "items": {"$ref": "#/$defs/Item"}},
        "pair": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]},
        "extra": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "$defs": {"Item": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string"}}}},
}


def changed(*path: Any, to: Any = None, drop: bool = False) -> dict[str, Any]:
    schema = copy.deepcopy(BASE)
    node: Any = schema
    for step in path[:-1]:
        node = node[step]
    if drop:
        del node[path[-1]]
    else:
        node[path[-1]] = to
    return schema


P = "properties"
TIGHTER: list[tuple[str, dict[str, Any]]] = [
    ("new required field", changed("required", to=["id", "amount"])),
    ("shorter text", changed(P, "id", "maxLength", to=64)),
    ("longer least text", changed(P, "id", "minLength", to=2)),
    ("lower maximum", changed(P, "amount", "maximum", to=50)),
    ("higher minimum", changed(P, "amount", "minimum", to=1)),
    ("whole numbers only", changed(P, "amount", "type", to="integer")),
    ("a value less", changed(P, "status", "enum", to=["completed"])),
    ("null no longer", changed(P, "coupon", to={"type": "string", "maxLength": 10})),
    ("fewer items", changed(P, "items", "maxItems", to=2)),
    ("new required field in an item", changed("$defs", "Item", "required", to=["sku", "n"])),
    ("new pattern", changed(P, "id", "pattern", to="^c")),
    ("new bound", changed("$defs", "Item", P, "sku", "maxLength", to=9)),
    ("values listed", changed(P, "id", "enum", to=["a"])),
    ("no unknown fields", changed("additionalProperties", to=False)),
    ("shorter text inside a choice", changed(P, "coupon", "anyOf", 0, "maxLength", to=5)),
]
LOOSER: list[tuple[str, dict[str, Any]]] = [
    ("field no longer always there", changed("required", to=[])),
    ("longer text", changed(P, "id", "maxLength", to=256)),
    ("higher maximum", changed(P, "amount", "maximum", to=200)),
    ("no maximum", changed(P, "amount", "maximum", drop=True)),
    ("a value more", changed(P, "status", "enum", to=["completed", "cancelled", "returned"])),
    ("any value", changed(P, "status", "enum", drop=True)),
    ("any type", changed(P, "id", "type", drop=True)),
    ("number or text", changed(P, "coupon", "anyOf", to=[{"type": "string"}, {"type": "null"}, {"type": "number"}])),
    ("null too", changed(P, "id", to={"anyOf": [BASE[P]["id"], {"type": "null"}]})),
]
ALWAYS: list[tuple[str, dict[str, Any]]] = [
    ("removed field", changed(P, "amount", drop=True)),
    ("another type", changed(P, "amount", "type", to="string")),
    ("other values in a map", changed(P, "extra", "additionalProperties", to={"type": "integer"})),
    ("one place more", changed(P, "pair", "prefixItems", to=[{"type": "number"}] * 3)),
]
NEVER: list[tuple[str, dict[str, Any]]] = [
    ("new optional field", changed(P, "note", to={"type": "string"})),
    ("description", changed(P, "id", "description", to="The customer.")),
    ("title", changed("title", to="Order")),
]


@pytest.mark.parametrize("schema", [case[1] for case in TIGHTER], ids=[case[0] for case in TIGHTER])
def test_an_input_may_not_become_tighter_and_an_output_may(schema: dict[str, Any]) -> None:
    assert breaking_changes(BASE, schema, "in")
    assert not breaking_changes(schema, BASE, "in")
    assert not breaking_changes(BASE, schema, "out")


@pytest.mark.parametrize("schema", [case[1] for case in LOOSER], ids=[case[0] for case in LOOSER])
def test_an_output_may_not_become_looser_and_an_input_may(schema: dict[str, Any]) -> None:
    assert breaking_changes(BASE, schema, "out")
    assert not breaking_changes(BASE, schema, "in")


@pytest.mark.parametrize("schema", [case[1] for case in ALWAYS], ids=[case[0] for case in ALWAYS])
def test_some_changes_break_both_sides(schema: dict[str, Any]) -> None:
    assert breaking_changes(BASE, schema, "in")
    assert breaking_changes(BASE, schema, "out")


@pytest.mark.parametrize("schema", [case[1] for case in NEVER], ids=[case[0] for case in NEVER])
def test_additions_and_words_break_nobody(schema: dict[str, Any]) -> None:
    assert not breaking_changes(BASE, schema, "in")
    assert not breaking_changes(BASE, schema, "out")


def test_the_sentence_names_the_field() -> None:
    assert breaking_changes(BASE, changed(P, "id", "maxLength", to=64), "in") == ["id: maxLength was 128, is 64"]
    assert breaking_changes(BASE, changed("$defs", "Item", P, "sku", drop=True), "out") == ["items[].sku was removed"]


@given(st.sampled_from([contract for contract in CONTRACTS if contract.model is not None]))
def test_no_change_breaks_nobody(contract: Any) -> None:
    schema = schema_of(contract)
    assert schema is not None

    assert not breaking_changes(schema, schema, contract.direction)
