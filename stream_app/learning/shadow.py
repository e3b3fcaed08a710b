"""What each model would have said at T: weights of the past, kept by event time, on the features that were served.

A label comes at T + H. A challenger that is asked then has learned from all that happened since T, and looks better
than it is. So weights are set aside once an event-day, and an example is judged by those that stood at its T: the
newest that learned nothing which fell due after T. Nothing is stored per customer for it, and workers know nothing of
it: features come with the example.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Protocol
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX
from stream_app.core.times import DAY_MS
from stream_app.learning.inputs import ModelInputs
from stream_app.learning.scorer import sigmoid
from stream_app.learning.zoo.bends import bend_of
from stream_app.learning.zoo.types import LearnedWeights, ModelState, OnlineModel

SLACK_DAYS = 7
"""How far partitions may be apart before the examples of the one behind are no longer compared."""
MOST_CUSTOMERS = 65_536
_HASHES = 1 << 32

Floats = NDArray[np.float64]


class Frozen(Protocol):
    """A model as it stood at one time."""

    @property
    def body(self) -> bytes:
        """All of it, for a checkpoint."""
        ...

    def probability(self, features: NDArray[np.float32]) -> Floats:
        """Return P(churn) of a block of features (n, d)."""
        ...


class FrozenWeights:
    """Weights in single precision: what is kept is what is scored with.

    Parameters
    ----------
    inputs
        What the model sees.
    body
        Single-precision numbers: mean, inverse scale and weight of each input, intercept and clip, and what the form
        adds.
    offset
        The feature that is added as it is; empty: none.
    form
        What is added to the linear terms (see `zoo.bends`); empty: nothing.
    """

    def __init__(self, inputs: ModelInputs, body: bytes, offset: str, form: str = "") -> None:
        width = len(inputs.names)
        numbers = np.frombuffer(body, dtype="<f4").astype(np.float64)
        linear, arrays = numbers[: 3 * width + 2], numbers[3 * width + 2 :]
        if len(linear) != 3 * width + 2 or (len(arrays) and not form):
            raise ValueError(f"{width} inputs take {3 * width + 2} numbers, got {len(numbers)}")
        self._bend = bend_of(form, arrays.tolist(), width)
        self.body = body
        self._inputs = inputs
        self._mean, self._inverse_scale, self._weights = numbers[: 3 * width].reshape(3, width)
        self._intercept, self._clip = linear[-2], linear[-1]
        self._offset = FEATURE_INDEX[offset] if offset else -1

    @classmethod
    def of(cls, inputs: ModelInputs, learned: LearnedWeights) -> "FrozenWeights":
        """Set aside what a model knows now."""
        parts = (*learned.mean, *learned.inverse_scale, *learned.weights, learned.intercept, learned.clip)
        body = np.array((*parts, *learned.arrays), dtype="<f4").tobytes()
        return cls(inputs, body, learned.offset, learned.form)

    def probability(self, features: NDArray[np.float32]) -> Floats:
        """Return P(churn) of a block of features (n, d)."""
        scaled = (self._inputs.of_block(features) - self._mean) * self._inverse_scale
        clipped = np.clip(scaled, -self._clip, self._clip)
        logit = np.add.reduce(clipped * self._weights, axis=1) + self._intercept
        if self._bend is not None:
            logit += self._bend(clipped)
        if self._offset >= 0:
            logit += features[:, self._offset]
        return sigmoid(logit)


class FrozenCopy:
    """A whole copy of a model that has no array form.

    Parameters
    ----------
    fresh
        A new model of the same kind, which takes the state.
    body
        What `body_of` returned.
    """

    def __init__(self, fresh: OnlineModel, body: bytes) -> None:
        self.body = body
        fresh.load(msgspec.msgpack.decode(body, type=ModelState))
        self._model = fresh

    @staticmethod
    def body_of(model: OnlineModel) -> bytes:
        """Return a model's state as bytes."""
        return msgspec.msgpack.encode(model.dump())

    def probability(self, features: NDArray[np.float32]) -> Floats:
        """Return P(churn) of a block of features (n, d)."""
        return self._model.predict(features)


class WeightHistory:
    """All models as they stood, by event time: entry (through, models) is in force from `through` to the next one.

    Parameters
    ----------
    horizon_ms
        H: how far back an example's T lies when its label comes.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._reach_ms = horizon_ms + SLACK_DAYS * DAY_MS
        self.entries: list[tuple[int, Mapping[str, Frozen]]] = []

    def set_aside(self, through_ms: int, models: Mapping[str, Frozen]) -> None:
        """Keep models that learned everything due up to `through_ms` and nothing else; the oldest are let go."""
        self.entries.append((through_ms, dict(models)))
        needed = bisect_right(self.entries, through_ms - self._reach_ms, key=_through) - 1
        del self.entries[: max(needed, 0)]

    def at(self, at_ms: int) -> int:
        """Return the place in `entries` of what stood at a time; -1 for a time before the first."""
        return bisect_right(self.entries, at_ms, key=_through) - 1

    def newest(self, name: str) -> Frozen | None:
        """Return the newest state of one model, None where it has none."""
        return self.entries[-1][1].get(name) if self.entries else None


class Panel:
    """Lets one example per customer and H in, so that windows of labels never overlap.

    In the first H, customers join one after the other (by hash): otherwise all would enter in the same week, and again
    H later, and no week in between would say anything.

    Remembers customers by hash. When there are too many, those whose window is over are forgotten, and if that is not
    enough, half of all customers leave the panel for good: memory is bounded, and who is in depends on nobody's churn.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon_ms = horizon_ms
        self.last: dict[int, int] = {}
        """By hash of the customer, the T of its newest example, ms."""
        self.mask = 0
        self.begun_ms = -1
        """The first T that was offered."""

    def admits(self, customer_id: str, at_ms: int, frontier_ms: int) -> bool:
        """Say whether an example at `at_ms` enters, and note it if so; `frontier_ms` is the newest due time."""
        key = crc32(customer_id.encode())
        if key & self.mask:
            return False
        if self.begun_ms < 0:
            self.begun_ms = at_ms
        last = self.last.get(key)
        earliest = self.begun_ms + key * self._horizon_ms // _HASHES if last is None else last + self._horizon_ms
        if at_ms < earliest:
            return False
        self.last[key] = at_ms
        if len(self.last) > MOST_CUSTOMERS:
            self._shrink(frontier_ms)
        return True

    def _shrink(self, frontier_ms: int) -> None:
        oldest = frontier_ms - 2 * self._horizon_ms - SLACK_DAYS * DAY_MS
        self.last = {key: at_ms for key, at_ms in self.last.items() if at_ms > oldest}
        while len(self.last) > MOST_CUSTOMERS // 2:
            self.mask = self.mask << 1 | 1
            self.last = {key: at_ms for key, at_ms in self.last.items() if not key & self.mask}


def _through(entry: tuple[int, Mapping[str, Frozen]]) -> int:
    return entry[0]
