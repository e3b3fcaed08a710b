"""River's estimators as bytes and back, without pickle: reading such bytes builds data and runs nothing.

An estimator is a graph of objects: trees point to their nodes, ensembles share a random generator. `encode` numbers
every object that is reached and writes what it holds; `decode` makes empty objects of the same classes, from River's
packages alone, and fills them in. Whatever else is met (functions, files, foreign classes) is refused when it is
written, so what was written can be read.

The format knows River's attributes, hence it belongs to one minor version of River.
"""

import random
import types
from collections import Counter, defaultdict, deque
from functools import partial
from importlib import import_module
from typing import Any, Final

import msgspec
import numpy as np
import river
from river.drift import ADWIN
from river.utils import VectorDict

FORMAT: Final = 1
_PACKAGES: Final = (
    "drift",
    "ensemble",
    "forest",
    "linear_model",
    "metrics",
    "optim",
    "proba",
    "stats",
    "tree",
    "utils",
)
_Windowing: Final[Any] = type(ADWIN()._helper)  # noqa: SLF001 - River exports the class nowhere
_FACTORIES: Final[dict[str, Any]] = {
    "float": float,
    "int": int,
    "list": list,
    "dict": dict,
    "defaultdict of float": partial(defaultdict, float),
}
_SCALARS: Final = (type(None), bool, int, float, str, bytes)

Slot = Any
"""A scalar as it is, or a list of one number: the index of a node."""


class GraphError(ValueError):
    """An estimator that cannot be written, or bytes that are no estimator; the message says what is in the way."""


class _Graph(msgspec.Struct):
    format: int
    river: str
    nodes: list[list[Any]]


def encode(estimator: Any) -> bytes:
    """Return an estimator with all that it has learned. Raises GraphError for what is not River's own."""
    return msgspec.msgpack.encode(_Graph(FORMAT, _river_version(), _Writer().nodes_of(estimator)))


def decode(data: Any) -> Any:
    """Return the estimator that `encode` wrote. Raises GraphError when the bytes are none, or of another River."""
    if not isinstance(data, bytes):
        raise GraphError("an estimator's checkpoint is missing")
    try:
        graph = msgspec.msgpack.decode(data, type=_Graph)
    except msgspec.DecodeError as error:
        raise GraphError(f"not an estimator's checkpoint: {error}") from error
    if graph.format != FORMAT or graph.river != _river_version():
        raise GraphError(
            f"the checkpoint was written with River {graph.river} (format {graph.format}), this is River "
            f"{_river_version()} (format {FORMAT}): install that version, or move the checkpoint away to learn anew"
        )
    try:
        return _Reader(graph.nodes).root()
    except GraphError:
        raise
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, ImportError, RecursionError) as error:
        raise GraphError(f"a damaged estimator's checkpoint: {error!r}") from error


def _river_version() -> str:
    return ".".join(river.__version__.split(".")[:2])


class _Writer:
    """Numbers objects in the order in which they are met; a worklist, because trees are deeper than Python's stack."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._objects: list[Any] = []

    def nodes_of(self, root: Any) -> list[list[Any]]:
        self._slot(root)
        nodes: list[list[Any]] = []
        while len(nodes) < len(self._objects):
            nodes.append(self._node(self._objects[len(nodes)]))
        return nodes

    def _slot(self, value: Any) -> Slot:
        if isinstance(value, np.generic) and value.shape == ():
            value = value.item()
        if type(value) in _SCALARS:
            return value
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)  # keeps it alive, so that its id stays its own
        return [number]

    def _slots(self, values: Any) -> list[Slot]:
        return [self._slot(value) for value in values]

    def _pairs(self, values: dict[Any, Any]) -> list[list[Slot]]:
        return [[self._slot(key), self._slot(value)] for key, value in values.items()]

    def _node(self, value: Any) -> list[Any]:  # noqa: C901 - one line for each kind of node
        kind = type(value)
        if kind in {list, tuple, set}:
            return [kind.__name__, self._slots(value)]
        if kind is deque:
            return ["deque", self._slots(value), value.maxlen]
        if kind in {dict, Counter}:
            return [kind.__name__, self._pairs(value)]
        if kind is defaultdict:
            return ["defaultdict", self._pairs(value), self._factory(value.default_factory)]
        if kind is np.ndarray and value.dtype.kind in "fiub":
            return ["array", value.dtype.str, list(value.shape), value.tobytes()]
        if kind is random.Random:
            return ["random", self._slot(value.getstate())]
        if kind is VectorDict:
            values, *others = value.__reduce__()[1]
            if others != [None, None, True]:
                raise GraphError("a VectorDict with a default or a mask cannot be written to a checkpoint")
            return ["vector_dict", self._pairs(values)]
        if kind is _Windowing:
            state = value.__reduce_ex__(2)
            return ["windowing", self._slots(state[1][1:]), state[2]]
        if kind is types.MethodType:
            return ["method", self._slot(value.__self__), value.__name__]
        if kind is type:
            return ["class", *_place(value)]
        return ["object", *_place(kind), self._pairs(_attributes(value))]

    def _factory(self, factory: Any) -> str:
        for name, known in _FACTORIES.items():
            if factory is known or (isinstance(factory, partial) and _parts(factory) == _parts(known)):
                return name
        raise GraphError(f"a defaultdict of {factory!r} cannot be written to a checkpoint")


class _Reader:
    def __init__(self, nodes: list[list[Any]]) -> None:
        self._nodes = nodes
        self._made: dict[int, Any] = {}

    def root(self) -> Any:
        for number in range(len(self._nodes)):
            self._make(number)
        for number, node in enumerate(self._nodes):
            self._fill(self._made[number], node)
        return self._made[0]

    def _value(self, slot: Slot) -> Any:
        return self._make(slot[0]) if isinstance(slot, list) else slot

    def _values(self, slots: list[Slot]) -> list[Any]:
        return [self._value(slot) for slot in slots]

    def _make(self, number: int) -> Any:
        """Make a node's object: empty where it can be filled later, whole where it cannot."""
        if number not in self._made:
            self._made[number] = self._new(self._nodes[number])
        return self._made[number]

    def _new(self, node: list[Any]) -> Any:  # noqa: C901 - one line for each kind of node
        match node:
            case ["list" | "set" | "dict" | "Counter" as kind, *_]:
                return {"list": list, "set": set, "dict": dict, "Counter": Counter}[kind]()
            case ["deque", _, most]:
                return deque(maxlen=most)
            case ["defaultdict", _, factory]:
                return defaultdict(_FACTORIES[factory])
            case ["tuple", slots]:
                return tuple(self._values(slots))
            case ["array", dtype, shape, data]:
                return np.frombuffer(data, dtype=np.dtype(dtype)).reshape(shape).copy()
            case ["random", state]:
                generator = random.Random()  # noqa: S311 - a model's own generator, not a secret
                generator.setstate(self._value(state))
                return generator
            case ["vector_dict", pairs]:
                return VectorDict({key: self._value(value) for key, value in pairs})
            case ["windowing", slots, state]:
                window = _Windowing(*self._values(slots))
                window.__setstate__(state)
                return window
            case ["method", owner, name]:
                return types.MethodType(getattr(type(self._value(owner)), name), self._value(owner))
            case ["class", module, name]:
                return _class(module, name)
            case ["object", module, name, _]:
                return object.__new__(_class(module, name))
            case _:
                raise GraphError(f"a node of an unknown kind: {str(node[:1])[:60]}")

    def _fill(self, made: Any, node: list[Any]) -> None:
        match node:
            case ["list" | "deque", slots, *_]:
                made.clear()
                made.extend(self._values(slots))
            case ["set", slots]:
                made.update(self._values(slots))
            case ["dict" | "Counter" | "defaultdict", pairs, *_]:
                for key, value in pairs:
                    made[self._value(key)] = self._value(value)
            case ["object", _, _, pairs]:
                for key, value in pairs:
                    object.__setattr__(made, key, self._value(value))


def _parts(factory: Any) -> tuple[Any, ...]:
    return (factory.func, *factory.args) if isinstance(factory, partial) else (factory,)


def _place(kind: type) -> tuple[str, str]:
    """Return a class's module and name; raises GraphError when it is not River's."""
    module, name = kind.__module__, kind.__qualname__
    if _class(module, name) is not kind:
        raise GraphError(f"{module}.{name} is not found under its own name")
    return module, name


def _class(module: str, name: str) -> type:
    """Return a class of River by its place; raises GraphError for anything else."""
    parts = module.split(".")
    if parts[0] != "river" or len(parts) < 2 or parts[1] not in _PACKAGES:  # noqa: PLR2004 - package and subpackage
        raise GraphError(f"{module}.{name} cannot stand in a checkpoint: it is none of River's estimators")
    found = getattr(import_module(module), name, None)
    if not isinstance(found, type) or found.__module__ != module:
        raise GraphError(f"{module}.{name} is no class of this version of River")
    return found


def _attributes(value: Any) -> dict[str, Any]:
    attributes = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            if slot not in {"__dict__", "__weakref__"} and hasattr(value, slot):
                attributes[slot] = getattr(value, slot)
    if type(value).__module__.startswith("river.proba."):
        # Made for sampling, which no estimator does: seeded by the system, and 2.5 KB in every leaf and input.
        attributes.pop("_rng", None)
    return attributes
