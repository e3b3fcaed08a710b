"""A population of models over one stream: all begin, and the worse half leaves round by round (`learning.halving`)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from stream_app.evaluation.contest import Stream, moments_of
from stream_app.learning.halving import HalvingRule, Round, step
from stream_app.learning.weekly import WEEK_MS, WeeklyLosses
from stream_app.learning.zoo.types import OnlineModel


class Population(NamedTuple):
    """What came of it."""

    survivors: tuple[str, ...]
    rounds: list[dict[str, float]]
    """By round, the mean weekly loss of everybody who was in it."""
    learned: dict[str, int]
    """How many examples each model learned before it left: what the search cost."""


def run_population(
    stream: Stream, models: Mapping[str, OnlineModel], rule: HalvingRule, show: Callable[[int], None] | None = None
) -> Population:
    """Run models side by side over a stream, and let the worse half leave after each round.

    Parameters
    ----------
    stream
        What they learn; only labels that it holds are compared, each against what the models had said at T.
    models
        Fresh, by name.
    rule
        Lengths of rounds, and how many stay.
    show
        Told how many labels have passed.
    """
    observed, losses, now = stream.observed, WeeklyLosses(1), Round(tuple(models))
    said = {name: np.full(len(observed), np.nan) for name in models}
    weeks = (np.maximum.accumulate(observed.due_ms) // WEEK_MS).tolist()
    learned, rounds = dict.fromkeys(models, 0), list[dict[str, float]]()
    for moment in moments_of(stream):
        rows = moment.learned
        if len(rows):
            for row in rows.tolist():
                if losses.close_before(weeks[row]):
                    found = step(now, losses.closed, rule)
                    now = found.round
                    rounds += [found.losses] if found.losses else []
                losses.add(
                    weeks[row],
                    0,
                    float(stream.importance[row]),
                    bool(observed.churned[row]),
                    {name: float(said[name][row]) for name in now.alive},
                )
            features, churned = observed.features[rows].astype(np.float32), observed.churned[rows]
            for name in now.alive:
                models[name].learn(features, churned, stream.importance[rows])
                learned[name] += len(rows)
        if len(moment.scored):
            features = observed.features[moment.scored].astype(np.float32)
            for name in now.alive:
                said[name][moment.scored] = models[name].predict(features)
        if show is not None:
            show(moment.passed)
    return Population(now.alive, rounds, learned)
