"""States of every shape that their types allow, not only those that a run of the engine leads to."""

from collections.abc import Callable
from random import Random
from types import NoneType
from typing import Any, get_args, get_origin

import msgspec
from hypothesis import strategies as st

from stream_app.core.compact import single
from stream_app.core.folds.orders import SINGLES
from stream_app.core.names import KNOWN
from stream_app.core.state import CustomerState, OrdersState, ScoreState
from stream_app.wire.older_states import SCORES

_NOW_MS = 1_780_000_000_000
_FLOATS = (0.0, -0.0, 1.0, -1.0, 7.0, 2.0**31, -(2.0**53), 0.1, 1e-300, float("inf"))
_NAMES = ("", "\0", "\0\1", "\0\0", "\1", "\x7f", "z", "own", "own-two", "prior-1", "ж", *KNOWN)
_MOST = 3
_LAZY = frozenset({"packed_pending", "packed_ledger", "history"})
"""Forms of parts that other fields hold."""


def customer_states() -> st.SearchStrategy[CustomerState]:
    """Return states of every shape; times may be anything, numbers are rounded as the engine does."""
    return st.integers(0, 2**32).map(lambda seed: _of_struct(Random(seed), CustomerState))


def _of_struct(random: Random, kind: Any) -> Any:
    rare = random.choice((0.05, 0.5, 1.0))
    made = kind(
        **{
            field.name: _of_type(random, field.type, field.name)
            for field in msgspec.structs.fields(kind)
            if field.name not in _LAZY and (field.required or random.random() < rare)
        }
    )
    if kind is OrdersState:
        made.sum_ln_gap = random.uniform(-9, 9)
        for name in SINGLES.names:
            setattr(made, name, max(-1e30, min(getattr(made, name), 1e30)))
        SINGLES.round(made)
    if kind is ScoreState:
        for name in SCORES.names:
            setattr(made, name, single(max(-1e30, min(getattr(made, name), 1e30))))
    return made


def _of_type(random: Random, kind: Any, name: str = "") -> Any:
    simple = _SIMPLE.get(kind)
    if simple is not None:
        return simple(random, name)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _of_struct(random, kind)
    origin, inner = get_origin(kind), list(get_args(kind))
    many = range(random.randint(0, _MOST))
    if origin is list:
        return [_of_type(random, inner[0]) for _ in many]
    if origin is dict:
        return {_of_type(random, inner[0]): _of_type(random, inner[1]) for _ in many}
    if origin is tuple:
        within = [inner[0] for _ in many] if inner[-1] is Ellipsis else inner
        return tuple([_of_type(random, each) for each in within])
    return _of_type(random, random.choice(inner))


def _integer(random: Random, name: str) -> int:
    near_ms = _NOW_MS + random.randint(-(2**33), 2**33)
    if name.endswith("_ms"):
        return random.choice((0, 1, _NOW_MS, _NOW_MS + 1, near_ms, random.randint(1, 2**45)))
    return random.choice((0, 1, random.randint(-300, 300), 65_535, 65_536, random.randint(-(2**40), 2**40)))


_SIMPLE: dict[Any, Callable[[Random, str], Any]] = {
    int: _integer,
    float: lambda random, _: random.choice((*_FLOATS, random.gauss(0, 100))),
    bool: lambda random, _: random.random() < 0.5,
    str: lambda random, _: random.choice(_NAMES),
    bytes: lambda random, _: random.randbytes(random.randint(0, 6)),
    NoneType: lambda _random, _: None,
}
