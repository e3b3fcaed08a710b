"""YAML with line numbers, so that a mistake in a file can be named where it stands."""

from collections.abc import Callable, Hashable
from typing import Any

import yaml

Location = tuple[int | str, ...]
_MAX_DEPTH = 30


class YamlProblem(ValueError):  # noqa: N818 - a problem of the file, told to its author, not a fault of ours
    """The text is no usable YAML; `line` counts from 1."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line


def load_with_lines(text: str) -> tuple[Any, Callable[[Location], int]]:
    """Return the plain value of a YAML document, and a function from a location in it to its line.

    A location that does not exist has the line of its nearest existing parent. Only plain values are built (safe
    loader); a key that stands twice in one mapping is refused, because YAML would silently keep the last.

    Raises
    ------
    YamlProblem
        Not YAML, a doubled key, or nothing in it.
    """
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            raise YamlProblem(1, "the file is empty")
        lines: dict[Location, int] = {}
        _index(root, (), lines)
        document = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlProblem(mark.line + 1 if mark else 1, error.problem or "not valid YAML") from error
    except yaml.YAMLError as error:
        raise YamlProblem(1, str(error)) from error
    finally:
        loader.dispose()

    def line_of(location: Location) -> int:
        while location and location not in lines:
            location = location[:-1]
        return lines[location]

    return document, line_of


def _index(node: yaml.Node, location: Location, lines: dict[Location, int]) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if len(location) > _MAX_DEPTH:
        raise YamlProblem(node.start_mark.line + 1, "nested too deeply, or an alias that contains itself")
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _index(item, (*location, position), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            if key.value in seen:
                raise YamlProblem(key.start_mark.line + 1, f"the key {key.value!r} stands twice in one place")
            seen.add(key.value)
            lines[*location, key.value] = key.start_mark.line + 1
            _index(value, (*location, key.value), lines)
