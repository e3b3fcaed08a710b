"""Many models over the observations of one pass: each scores at T with what was known at T, and learns at T + H.

The engine runs once; features, labels and moments are the same for every model. A model is asked at the very moments at
which a snapshot of it would have been in force, so the default model gets the scores that the pass itself served (a
law holds the two together).
"""

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from time import thread_time
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import TrainingExample
from stream_app.core.packing import in_single
from stream_app.evaluation.measures import measures
from stream_app.evaluation.reporting import KINDS, TEST_SHARE
from stream_app.evaluation.running import Observed, PassResult
from stream_app.learning.learner import Learner, Matured
from stream_app.learning.scorer import PRIOR_VERSION
from stream_app.learning.zoo.types import OnlineModel

_BLOCK_ROWS = 4_096
_HASH_FACTOR = 2_654_435_761
"""Knuth's multiplicative hash: spreads customers' numbers evenly over 32 bits."""


class Stream(NamedTuple):
    """Observations in the order of their labels, and when each was scored."""

    observed: Observed
    known: NDArray[np.int64]
    """Of each observation, how many of the stream's first labels were known when it was scored."""
    importance: NDArray[np.float64]
    """What each example counted for the learner of the pass; negative: it was not learned."""
    test_start_ms: int

    @property
    def in_test(self) -> NDArray[np.bool_]:
        """Which observations fall into the last 40 % of the time span."""
        return self.observed.at_ms >= self.test_start_ms


class Trial(NamedTuple):
    """What came of one model."""

    probability: NDArray[np.float64]
    """As served at T; NaN where nobody asked."""
    learned: int
    predict_microseconds: float
    """CPU time a row, in blocks as they come, one for each event-day."""
    learn_microseconds: float
    memory_bytes: int
    """Of the model's Python objects and arrays at the end of the stream."""


class Importances:
    """Notes what each example counts for a learner; to be set up before the pass."""

    def __init__(self, learner: Learner) -> None:
        self._by_sequence: dict[tuple[int, int], float] = {}
        learner.on_matured = self._note

    def _note(self, matured: Matured) -> None:
        for example, importance in zip(matured.examples, matured.importance.tolist(), strict=True):
            self._by_sequence[example.partition, example.sequence] = importance

    def of(self, examples: Sequence[TrainingExample]) -> NDArray[np.float64]:
        """Return the importance of each example, -1 where it was not learned."""
        noted = self._by_sequence
        return np.array([noted.get((example.partition, example.sequence), -1.0) for example in examples])


def stream_of(result: PassResult, importances: Importances) -> Stream:
    """Return the observations of a pass as a stream for any model; `importances` has listened to its learner."""
    known = {PRIOR_VERSION: 0, **result.learned_before}
    span = result.last_ms - result.first_ms
    return Stream(
        result.observed,
        np.array([known[example.model_version] for example in result.examples], dtype=np.int64),
        importances.of(result.examples),
        result.first_ms + int((1.0 - TEST_SHARE) * span),
    )


def digest_of(stream: Stream) -> str:
    """Return 16 hex digits over all that a trial depends on besides the model: equal streams, equal trials."""
    observed = stream.observed
    digest = blake2b(digest_size=8)
    arrays: tuple[NDArray[Any], ...] = (
        *(observed.features, observed.churned, observed.kind, observed.customer, observed.at_ms),
        *(stream.known, stream.importance, np.array([stream.test_start_ms])),
    )
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def share_of_customers(observed: Observed, share: float) -> NDArray[np.bool_]:
    """Return the observations of that share of the customers, chosen by a hash of their numbers."""
    spread = (observed.customer.astype(np.uint64) * np.uint64(_HASH_FACTOR)) % np.uint64(2**32)
    chosen: NDArray[np.bool_] = spread < np.uint64(share * 2**32)
    return chosen


class Moment(NamedTuple):
    """Labels that become known, then observations that are scored with all that is known by then."""

    learned: NDArray[np.intp]
    scored: NDArray[np.intp]
    passed: int
    """How many labels have been passed by now."""


def moments_of(stream: Stream) -> Iterator[Moment]:
    """Yield the moments of a stream in order; long waits are cut, so that nobody has to hold too much at once."""
    order = np.argsort(stream.known, kind="stable")
    known, starts = np.unique(stream.known[order], return_index=True)
    nothing, passed = np.zeros(0, dtype=np.intp), 0
    for moment, group in zip(known.tolist(), np.split(order, starts[1:]), strict=True):
        rows = np.arange(passed, max(moment, passed))
        rows = rows[stream.importance[rows] >= 0.0]
        pieces = [rows[start : start + _BLOCK_ROWS] for start in range(0, len(rows), _BLOCK_ROWS)] or [nothing]
        passed = max(passed, moment)
        for piece in pieces[:-1]:
            yield Moment(piece, nothing, int(piece[-1]))
        for start in range(0, max(len(group), 1), _BLOCK_ROWS):
            yield Moment(pieces[-1] if start == 0 else nothing, group[start : start + _BLOCK_ROWS], passed)


def run_model(
    stream: Stream,
    model: OnlineModel,
    asked: NDArray[np.bool_],
    taught: NDArray[np.bool_] | None = None,
    show: Callable[[int], None] | None = None,
) -> Trial:
    """Run one model over a stream.

    Parameters
    ----------
    stream
        From `stream_of`.
    model
        Fresh.
    asked
        Which observations it scores.
    taught
        Which observations it learns; None: all.
    show
        Told how many observations have passed.
    """
    observed = stream.observed
    probability = np.full(len(observed), np.nan)
    learned = predicted = 0
    learning = predicting = 0.0
    for moment in moments_of(stream):
        rows = moment.learned if taught is None else moment.learned[taught[moment.learned]]
        features, churned = observed.features[rows].astype(np.float32), observed.churned[rows]
        clock = thread_time()
        model.learn(features, churned, stream.importance[rows])
        learning += thread_time() - clock
        learned += len(rows)
        rows = moment.scored[asked[moment.scored]]
        if len(rows):
            features = observed.features[rows].astype(np.float32)
            clock = thread_time()
            probability[rows] = in_single(model.predict(features))
            predicting += thread_time() - clock
            predicted += len(rows)
        if show is not None:
            show(moment.passed)
    if show is not None:
        show(len(observed))
    return Trial(
        probability,
        learned,
        1e6 * predicting / max(predicted, 1),
        1e6 * learning / max(learned, 1),
        bytes_of(model),
    )


def figures_of(stream: Stream, trial: Trial) -> dict[str, Any]:
    """Return one model's measures in the test window by kind of observation, and its cost."""
    return {
        kind: measures(trial.probability[chosen], stream.observed.churned[chosen])
        for kind, number in KINDS.items()
        for chosen in [(stream.observed.kind == number) & stream.in_test & ~np.isnan(trial.probability)]
    } | {
        "learned": trial.learned,
        "predict_microseconds": trial.predict_microseconds,
        "learn_microseconds": trial.learn_microseconds,
        "memory_bytes": trial.memory_bytes,
    }


def bytes_of(root: object) -> int:
    """Return the memory of everything that only an object leads to: classes, functions and modules are left out."""
    seen = {id(root)}
    waiting, total = [root], 0
    while waiting:
        found = waiting.pop()
        total += sys.getsizeof(found)
        if type(found).__module__.split(".")[0] == "torch":  # a tensor's numbers are out of Python's sight
            total += int(getattr(found, "nbytes", 0))
        for other in gc.get_referents(found):
            shared = isinstance(other, type | ModuleType | FunctionType | BuiltinFunctionType)
            if not shared and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
    return total
