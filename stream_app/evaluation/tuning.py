"""What tuning may choose from, and what a choice is worth: blocked in time, and blind to the test.

A candidate is a model with its options and the settings that make labels. It is judged on blocks of consecutive time
before the test, prequentially as always; a label that falls due after the start of the test is not looked at. All
candidates are judged on the same observations, those that the present settings take, however many more a candidate
learns from.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.features import FEATURE_INDEX
from stream_app.evaluation.contest import Stream, run_model
from stream_app.evaluation.measures import measures
from stream_app.learning.inputs import feature_of
from stream_app.learning.specs import parse_spec
from stream_app.learning.zoo.registry import DEFAULT_MODEL, FAMILIES, create, knobs_of, options_of

BLOCKS = 3
JUDGED_FROM = 0.25
"""Share of the span that only teaches."""
TEST_FROM = 0.6


class LabelSettings(NamedTuple):
    """How often silent customers are looked at, and for how long: which observations there are to learn from."""

    observation_days: int
    eligible_days: int


class Candidate(msgspec.Struct, frozen=True):
    """One choice."""

    model: str
    options: dict[str, float]
    labels: LabelSettings

    @property
    def spec(self) -> str:
        """The model as configuration names it, with the options that differ from its defaults."""
        knobs = knobs_of(self.model)
        changed = {name: value for name, value in self.options.items() if value != knobs[name].default}
        listed = ",".join(f"{name}={value:g}" for name, value in sorted(changed.items()))
        return f"{self.model}:{listed}" if listed else self.model


class Judged(NamedTuple):
    """A candidate's log loss, on average over the blocks and in each; and its AUC, in the same way."""

    log_loss: float
    by_block: tuple[float, ...]
    auc: float


class Suggests(Protocol):
    """An Optuna trial, as far as it is needed."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Choose one."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Choose a number."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Choose a whole number."""
        ...


def suggest(
    trial: Suggests, models: Sequence[str], labels: Sequence[LabelSettings], varied: NDArray[np.bool_] | None = None
) -> Candidate:
    """Let a sampler choose model, options and label settings.

    Parameters
    ----------
    trial
        What chooses.
    models, labels
        What there is to choose from.
    varied
        Which features are not constant: a family of inputs that says nothing is not worth a trial; None: all.
    """
    model = str(trial.suggest_categorical("model", list(models)))
    options: dict[str, float] = {}
    for name, knob in knobs_of(model).items():
        if knob.low == knob.high:
            continue
        if varied is not None and not _matters(model, name, varied):
            continue
        parameter = f"{model}/{name}"
        if knob.whole:
            options[name] = float(trial.suggest_int(parameter, int(knob.low), int(knob.high)))
        else:
            options[name] = trial.suggest_float(parameter, knob.low, knob.high, log=knob.logarithmic)
    chosen = labels[0]
    if len(labels) > 1:
        chosen = labels[int(trial.suggest_categorical("labels", list(range(len(labels)))))]
    return Candidate(model, options, chosen)


class Judge:
    """Judges candidates on the observations of the present settings.

    Parameters
    ----------
    streams
        Returns the observations that label settings make; called once for each.
    present
        The settings in force: what they take is what is judged.
    span
        First and last event time in milliseconds.
    """

    def __init__(
        self, streams: Callable[[LabelSettings], Stream], present: LabelSettings, span: tuple[int, int]
    ) -> None:
        self._make = streams
        self._streams: dict[LabelSettings, Stream] = {}
        self.present = present
        first, length = span[0], span[1] - span[0]
        self.edges = tuple(
            first + int(share * length) for share in np.linspace(JUDGED_FROM, TEST_FROM, BLOCKS + 1).tolist()
        )
        """Where the blocks begin and end; the last is the start of the test."""
        self._judged_keys = _keys(self.stream(present))

    def stream(self, labels: LabelSettings) -> Stream:
        """Return the observations that label settings make."""
        if labels not in self._streams:
            self._streams[labels] = self._make(labels)
        return self._streams[labels]

    def window(self, labels: LabelSettings) -> Stream:
        """Return those whose labels fell due before the test."""
        return _before(self.stream(labels), self.edges[-1])

    def judge(self, candidate: Candidate, show: Callable[[int], None] | None = None) -> Judged:
        """Return what a candidate is worth before the test; nothing after it is scored, learned or looked at."""
        stream = self.window(candidate.labels)
        observed = stream.observed
        judged = np.isin(_keys(stream), self._judged_keys)
        blocks = [
            judged & (observed.at_ms >= start) & (observed.at_ms < stop)
            for start, stop in zip(self.edges[:-1], self.edges[1:], strict=True)
        ]
        trial = run_model(stream, create(candidate.model, None, candidate.options), np.any(blocks, axis=0), show=show)
        found = [measures(trial.probability[block], observed.churned[block]) for block in blocks if block.any()]
        if not found:
            raise ValueError("no label is known before the last 40 % of the time span: there is nothing to tune on")
        losses = tuple(one["log_loss"] for one in found)
        return Judged(float(np.mean(losses)), losses, float(np.nanmean([one["auc"] for one in found])))

    def test(self, candidate: Candidate) -> dict[str, dict[str, float]]:
        """Return a candidate's measures in the test by kind of observation: to be asked once, when all is chosen."""
        stream = self.stream(candidate.labels)
        observed = stream.observed
        judged = np.isin(_keys(stream), self._judged_keys) & stream.in_test
        trial = run_model(stream, create(candidate.model, None, candidate.options), judged)
        return {
            kind: measures(trial.probability[chosen], observed.churned[chosen])
            for kind, number in (("calendar", 1), ("event", 0))
            for chosen in [judged & (observed.kind == number)]
        }


def choose(tried: Sequence[tuple[Candidate, Judged]]) -> tuple[Candidate, Judged]:
    """Return the best of what was tried; the first is what is configured now, and stays unless it is clearly beaten.

    Clearly is: in every block. The best of many tries is always better on average on the data that it was chosen by;
    a candidate that is worse at some time owes it to luck more often than not.
    """
    present = tried[0]
    better = [
        one
        for one in tried
        if all(mine < theirs for mine, theirs in zip(one[1].by_block, present[1].by_block, strict=True))
    ]
    return min(better, key=lambda one: one[1].log_loss, default=present)


def configuration(
    candidate: Candidate, present: LabelSettings, model: str = DEFAULT_MODEL, challengers: Sequence[str] = ()
) -> dict[str, str]:
    """Return the settings that put a candidate to work: as a challenger, which serves once it has proved itself.

    Parameters
    ----------
    candidate
        What was chosen.
    present, model, challengers
        As configured now. Challengers stay; a model that is configured already, however its options are written, and
        label settings as they are need no setting.
    """
    known = {_meant(spec) for spec in (model, *challengers)}
    result: dict[str, str] = {}
    if _meant(candidate.spec) not in known:
        result["STREAM_APP_CHALLENGERS"] = msgspec.json.encode([*challengers, candidate.spec]).decode()
    for name, now in present._asdict().items():
        wanted = getattr(candidate.labels, name)
        if wanted != now:
            result[f"STREAM_APP_{name.upper()}"] = str(wanted)
    return result


def _meant(spec: str) -> tuple[str, frozenset[tuple[str, float]]]:
    """Return a model with all its options, so that two ways of writing the same are equal."""
    name, options = parse_spec(spec)
    return name, frozenset(options_of(name, options).items())


def _matters(model: str, option: str, varied: NDArray[np.bool_]) -> bool:
    if option not in FAMILIES:
        return True
    names = [name for name in create(model).inputs.names if FAMILIES[option](name)]
    return any(varied[FEATURE_INDEX[feature_of(name)]] for name in names)


def _keys(stream: Stream) -> NDArray[np.int64]:
    """Return one number for each observation, from its customer, time and kind."""
    observed = stream.observed
    keys: NDArray[np.int64] = (observed.at_ms * 2 + observed.kind) * 1_000_003 + observed.customer
    return keys


def _before(stream: Stream, end_ms: int) -> Stream:
    """Return the observations whose labels fell due before a time; labels are in the order of their times."""
    count = int(np.searchsorted(np.maximum.accumulate(stream.observed.due_ms), end_ms, side="right"))
    kept = np.arange(len(stream.observed)) < count
    return Stream(stream.observed.chosen(kept), stream.known[:count], stream.importance[:count], stream.test_start_ms)
