"""Stored structs are arrays: fields are only appended, each with a default; state_layout.json tells what was stored.

STREAM_APP_TEST_WRITE_LAYOUT=1 adds appended fields to that file; it never changes what stands there.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stream_app.core.columns import ObservationColumns
from stream_app.wire.older_states import FirstState, StateRow
from stream_app.wire.partition_record import PartitionRecord
from stream_app.wire.state_rows import CustomerRow

LAYOUT = Path(__file__).with_name("state_layout.json")
ROOTS = (FirstState, StateRow, CustomerRow, ObservationColumns, PartitionRecord)

Layout = dict[str, list[list[str]]]
"""Of each struct: name and type of every field, in order."""


class _Old(msgspec.Struct, array_like=True):
    first: int
    second: float = 0.0


class _Appended(msgspec.Struct, array_like=True):
    first: int
    second: float = 0.0
    third: int = 0


class _Swapped(msgspec.Struct, array_like=True):
    second: float
    first: int = 0


class _Needy(msgspec.Struct, array_like=True):
    first: int
    second: float
    third: int


class _Retyped(msgspec.Struct, array_like=True):
    first: int
    second: str = ""


class _Shortened(msgspec.Struct, array_like=True):
    first: int


def structs_of(roots: tuple[type, ...]) -> dict[str, type]:
    """Return every struct that can stand in an encoded root, by its name."""
    found: dict[str, type] = {}
    for info in msgspec.inspect.multi_type_info(roots):
        found |= {kind.__qualname__: kind for kind in _within(info)}
    return dict(sorted(found.items()))


def layout_of(structs: dict[str, type]) -> Layout:
    return {
        name: [[field.encode_name, _spelled(field.type)] for field in msgspec.structs.fields(kind)]
        for name, kind in structs.items()
    }


def breaks_of(stored: list[list[str]], kind: type) -> list[str]:
    """Say what of a struct's stored layout its present fields contradict."""
    fields = msgspec.structs.fields(kind)
    now = [[field.encode_name, _spelled(field.type)] for field in fields]
    told = []
    if now[: len(stored)] != stored:
        told.append(f"{kind.__qualname__}: stored as {stored}, and now {now[: len(stored)]}")
    told += [
        f"{kind.__qualname__}.{field.name}: appended without a default"
        for field in fields[len(stored) :]
        if field.required
    ]
    return told


def test_what_was_stored_is_still_read_field_by_field() -> None:
    stored: Layout = json.loads(LAYOUT.read_text())
    structs = structs_of(ROOTS)
    assert set(stored) <= set(structs), "a stored struct is gone: keep a decoder of its version"
    assert [told for name in stored for told in breaks_of(stored[name], structs[name])] == []


def test_the_tracked_layout_knows_every_field() -> None:
    stored: Layout = json.loads(LAYOUT.read_text())
    now = layout_of(structs_of(ROOTS))
    if os.environ.get("STREAM_APP_TEST_WRITE_LAYOUT"):
        appended = {name: stored.get(name, []) + fields[len(stored.get(name, [])) :] for name, fields in now.items()}
        lines = [f"  {json.dumps(name)}: {json.dumps(fields)}" for name, fields in sorted((stored | appended).items())]
        LAYOUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        stored = appended
    assert stored == now, "run this test with STREAM_APP_TEST_WRITE_LAYOUT=1 and track what it appends"


@pytest.mark.parametrize("kind", [_Swapped, _Needy, _Retyped, _Shortened])
def test_anything_but_appending_with_a_default_is_found(kind: type) -> None:
    stored = layout_of({"old": _Old})["old"]
    assert breaks_of(stored, kind)
    assert breaks_of(stored, _Appended) == []


def test_all_stored_structs_are_arrays() -> None:
    assert all(kind.__struct_config__.array_like for kind in structs_of(ROOTS).values())  # type: ignore[attr-defined]


def _within(info: Any) -> Iterator[type]:
    if isinstance(info, msgspec.inspect.StructType):
        yield info.cls
        for field in info.fields:
            yield from _within(field.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for one in info.types:
            yield from _within(one)
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _within(info.value_type)
    elif isinstance(info, msgspec.inspect.TupleType):
        for one in info.item_types:
            yield from _within(one)
    elif isinstance(info, msgspec.inspect.CollectionType):
        yield from _within(info.item_type)


def _spelled(kind: Any) -> str:
    name = kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)
    # In which module a struct stands is no part of what is stored.
    return re.sub(r"\b([a-z_]+\.)+(?=\w)", "", name)
