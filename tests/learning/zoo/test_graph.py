import random
from collections import Counter, defaultdict, deque
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import linear_model, optim, tree

from stream_app.learning.zoo.graph import GraphError, decode, encode

_SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.text(max_size=5)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(st.integers(0, 9))
    ),
    max_leaves=12,
)


def _holding(value: Any) -> linear_model.LogisticRegression:
    model = linear_model.LogisticRegression(optim.SGD(0.1))
    model.held = value
    return model


@given(_VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert decode(encode(_holding(value))).held == value


def test_what_is_shared_stays_shared_and_rings_stay_rings() -> None:
    shared: list[Any] = [1.0]
    shared.append(shared)
    held = decode(encode(_holding({"one": shared, "other": shared}))).held

    assert held["one"] is held["other"]
    assert held["one"][1] is held["one"]


def test_collections_and_arrays_keep_their_kinds() -> None:
    counts: defaultdict[str, float] = defaultdict(float, {"a": 1.5})
    value = [Counter("aab"), counts, deque([1, 2, 3], maxlen=3), np.arange(6.0).reshape(2, 3), np.float64(0.1)]

    counter, default, ring, array, number = decode(encode(_holding(value))).held

    assert (counter, default["missing"], ring.maxlen, number) == (Counter("aab"), 0.0, 3, 0.1)
    assert array.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert array.flags.writeable


def test_a_generator_goes_on_where_it_stood() -> None:
    generator = random.Random(3)
    generator.random()
    twin = decode(encode(_holding(generator))).held

    assert [twin.random() for _ in range(3)] == [generator.random() for _ in range(3)]


@pytest.mark.parametrize(
    "value", [print, lambda: 1, open, int, object(), np.array(["a"], dtype=object), defaultdict(set)]
)
def test_what_is_not_rivers_own_is_refused_when_it_is_written(value: Any) -> None:
    with pytest.raises(GraphError):
        encode(_holding(value))


def _forged(*node: Any) -> bytes:
    graph = msgspec.msgpack.decode(encode(_holding(0)))
    return msgspec.msgpack.encode({**graph, "nodes": [list(node)]})


@pytest.mark.parametrize(
    "node",
    [
        ("object", "subprocess", "Popen", []),
        ("object", "river.utils.random", "os", []),
        ("object", "river.api", "stream", []),
        ("class", "builtins", "eval"),
        ("class", "river.linear_model.log_reg", "optim"),
        ("method", [0], "__reduce__"),
        ("oracle",),
        ("list", [[7]]),
        ("defaultdict", [], "eval"),
    ],
)
def test_bytes_that_ask_for_anything_else_are_refused_when_they_are_read(node: tuple[Any, ...]) -> None:
    with pytest.raises(GraphError):
        decode(_forged(*node))


@pytest.mark.parametrize("data", [b"", b"nonsense", None, 7, msgspec.msgpack.encode({"format": 1})])
def test_bytes_that_are_no_checkpoint_are_refused(data: Any) -> None:
    with pytest.raises(GraphError):
        decode(data)


def test_another_version_of_river_is_named() -> None:
    graph = msgspec.msgpack.decode(encode(tree.HoeffdingTreeClassifier()))

    with pytest.raises(GraphError, match=r"written with River 0\.19 .* install that version"):
        decode(msgspec.msgpack.encode({**graph, "river": "0.19"}))
