"""Which changes of a schema break somebody: producers of our inputs, or subscribers of our outputs.

An input may only accept more than before, an output may only promise more than before. What cannot be compared counts
as broken: better a needless new version than a silent break.
"""

import json
from collections.abc import Iterator
from typing import Any, Literal

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT = ("pattern", "format", "const", "multipleOf", "uniqueItems")
_Schema = dict[str, Any]


def breaking_changes(old: _Schema, new: _Schema, direction: Literal["in", "out", "internal"]) -> list[str]:
    """Return a sentence for every change that breaks the other side; empty when the change is safe.

    Parameters
    ----------
    old
        The schema of the last release.
    new
        The schema as it is now.
    direction
        "in": producers must be able to go on as they are; otherwise subscribers must.
    """
    return list(_compare(old, new, "", _Context(old, new, accepts=direction == "in")))


class _Context:
    """Both documents, for references, and the side to protect."""

    def __init__(self, old: _Schema, new: _Schema, *, accepts: bool) -> None:
        self._old = old.get("$defs", {})
        self._new = new.get("$defs", {})
        self.accepts = accepts

    def resolve(self, old: Any, new: Any) -> tuple[_Schema, _Schema]:
        return _resolve(old, self._old), _resolve(new, self._new)


def _resolve(node: Any, definitions: _Schema) -> _Schema:
    if node is True:
        return {}
    while "$ref" in node:
        rest = {key: value for key, value in node.items() if key != "$ref"}
        node = {**definitions[node["$ref"].rsplit("/", 1)[-1]], **rest}
    resolved: _Schema = node
    return resolved


def _compare(old: Any, new: Any, path: str, context: _Context) -> Iterator[str]:
    old, new = context.resolve(old, new)
    where = path or "the record"
    old_choices, new_choices = _choices(old), _choices(new)
    if old_choices is not None or new_choices is not None:
        yield from _compare_choices(old_choices or [old], new_choices or [new], where, path, context)
        return
    yield from _compare_types(old, new, where, context)
    yield from _compare_values(old, new, where, context)
    yield from _compare_bounds(old, new, where, context)
    yield from _compare_properties(old, new, path, context)
    yield from _compare_contents(old, new, path, context)


def _choices(schema: _Schema) -> list[Any] | None:
    return schema.get("anyOf") or schema.get("oneOf")


def _kind(schema: _Schema) -> str:
    """Return what tells one alternative of a union from another."""
    return str(schema.get("type", sorted(schema)))


def _compare_choices(old: list[Any], new: list[Any], where: str, path: str, context: _Context) -> Iterator[str]:
    olds = {_kind(context.resolve(choice, choice)[0]): choice for choice in old}
    news = {_kind(context.resolve(choice, choice)[1]): choice for choice in new}
    lost, gained = sorted(olds.keys() - news.keys()), sorted(news.keys() - olds.keys())
    if context.accepts and lost:
        yield f"{where} no longer accepts {', '.join(lost)}"
    if not context.accepts and gained:
        yield f"{where} may now also be {', '.join(gained)}"
    for kind in olds.keys() & news.keys():
        yield from _compare(olds[kind], news[kind], path, context)


def _types(schema: _Schema) -> set[str]:
    stated = schema.get("type", ())
    kinds = {stated} if isinstance(stated, str) else set(stated)
    # Every integer is a number, so a change between the two is a narrowing or a widening and no change of kind.
    return kinds | {"integer"} if "number" in kinds else kinds


def _compare_types(old: _Schema, new: _Schema, where: str, context: _Context) -> Iterator[str]:
    before, after = _types(old), _types(new)
    if before == after:
        return
    named = f"{'/'.join(sorted(before)) or 'anything'} before, {'/'.join(sorted(after)) or 'anything'} now"
    if context.accepts and after and not before <= after:
        yield f"{where} accepts fewer types: {named}"
    if context.accepts and not before and after:
        return
    if not context.accepts and before and (not after or not after <= before):
        yield f"{where} may have other types: {named}"


def _compare_values(old: _Schema, new: _Schema, where: str, context: _Context) -> Iterator[str]:
    before, after = _enum(old), _enum(new)
    if context.accepts and after is not None:
        refused = sorted((before - after) if before is not None else [])
        if before is None:
            yield f"{where} accepts only listed values now"
        elif refused:
            yield f"{where} no longer accepts {', '.join(refused)}"
    if not context.accepts and before is not None:
        added = sorted((after - before) if after is not None else [])
        if after is None:
            yield f"{where} may now have any value"
        elif added:
            yield f"{where} may now also be {', '.join(added)}"


def _enum(schema: _Schema) -> set[str] | None:
    values = schema.get("enum")
    return None if values is None else {json.dumps(value) for value in values}


def _compare_bounds(old: _Schema, new: _Schema, where: str, context: _Context) -> Iterator[str]:
    for keys, sign in ((_LOWER_BOUNDS, 1), (_UPPER_BOUNDS, -1)):
        for key in keys:
            before, after = old.get(key), new.get(key)
            # In the sense of "sign", a larger bound is a tighter one; no bound is the loosest.
            tighter = after is not None and (before is None or sign * after > sign * before)
            looser = before is not None and (after is None or sign * after < sign * before)
            if (context.accepts and tighter) or (not context.accepts and looser):
                yield f"{where}: {key} was {before}, is {after}"
    for key in _EXACT:
        before, after = old.get(key), new.get(key)
        loses = before is not None and after is None
        gains = before is None and after is not None
        if before != after and not (loses if context.accepts else gains):
            yield f"{where}: {key} was {before}, is {after}"


def _compare_properties(old: _Schema, new: _Schema, path: str, context: _Context) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    must_before, must_after = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(before.keys() - after.keys()):
        yield f"{_join(path, name)} was removed"
    if context.accepts:
        for name in sorted(must_after - must_before):
            yield f"{_join(path, name)} is required now"
    else:
        for name in sorted((must_before - must_after) & after.keys()):
            yield f"{_join(path, name)} is no longer always there"
    if context.accepts and new.get("additionalProperties") is False and old.get("additionalProperties") is not False:
        yield f"{path or 'the record'} no longer tolerates unknown fields"
    for name in before.keys() & after.keys():
        yield from _compare(before[name], after[name], _join(path, name), context)


def _compare_contents(old: _Schema, new: _Schema, path: str, context: _Context) -> Iterator[str]:
    for key, label in (("items", "[]"), ("additionalProperties", "{}")):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _compare(before, after, path + label, context)
        elif context.accepts and isinstance(after, dict) and not isinstance(before, dict):
            yield f"{path or 'the record'} restricts its {key} now"
        elif not context.accepts and isinstance(before, dict) and not isinstance(after, dict):
            yield f"{path or 'the record'} no longer restricts its {key}"
    before_items, after_items = old.get("prefixItems", []), new.get("prefixItems", [])
    if len(before_items) != len(after_items):
        yield f"{path}[] had {len(before_items)} places, has {len(after_items)}"
    for number, (first, second) in enumerate(zip(before_items, after_items, strict=False)):
        yield from _compare(first, second, f"{path}[{number}]", context)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
