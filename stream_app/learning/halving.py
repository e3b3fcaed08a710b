"""A population of models by successive halving over the stream: many begin, the worse half leaves, again and again.

All learn the same examples. After some weeks those whose loss in these weeks is above the median leave; the others go
on for twice as many weeks, and so forth, until few are left. Each round costs about as much as the one before it, so
that many models are tried for the price of a few (Jamieson and Talwalkar 2016, with weeks of the stream as resource).

What is compared are losses of what each would have said at T (`weekly`), on the same labels. Who leaves depends on the
weeks alone: a restart repeats every decision. It is a search, not a test: the survivors still have to prove themselves
as challengers (`promotion`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from stream_app.learning.weekly import Week


class HalvingRule(NamedTuple):
    """How long rounds are, and when there is nothing to halve any more."""

    first_weeks: int = 4
    """Weeks of the first round; every further one has twice as many as the one before."""
    keep: int = 2
    """So many stay."""


class Round(msgspec.Struct, frozen=True):
    """Where a population stands; numbers and names only, for a checkpoint."""

    alive: tuple[str, ...]
    number: int = 0
    """Rounds that are over."""
    begun_week: int = -1
    """Number of the first week of this round; -1: of the first that comes."""

    def joined(self, present: Sequence[str]) -> "Round":
        """Return the round with those who are present: others are gone, and newcomers are in it from now on."""
        stayed = [name for name in self.alive if name in present]
        return msgspec.structs.replace(self, alive=(*stayed, *(name for name in present if name not in stayed)))


class Step(NamedTuple):
    """What a look at the weeks came to."""

    round: Round
    left: tuple[str, ...]
    """Who has to leave now, worst first."""
    losses: dict[str, float]
    """Mean weekly loss over the round that has just ended, by name; {} where none has."""


def step(now: Round, weeks: Sequence[Week], rule: HalvingRule) -> Step:
    """Look at the weeks that are closed; end the round when it has enough of them.

    Parameters
    ----------
    now
        Where the population stands.
    weeks
        Closed weeks, oldest first. Those count that lie in the round and in which every model judged every label.
    rule
        Lengths of rounds, and how many stay.

    Raises
    ------
    ValueError
        When the rule has no weeks, or keeps nobody.
    """
    if rule.first_weeks < 1 or rule.keep < 1:
        raise ValueError(f"a round needs a week and somebody has to stay, got {rule}")
    if len(now.alive) <= rule.keep:
        return Step(now, (), {})
    judged = [
        week
        for week in weeks
        if week.number >= now.begun_week and all(week.loss(name) is not None for name in now.alive)
    ]
    needed = rule.first_weeks * 2**now.number
    if len(judged) < needed:
        return Step(now, (), {})
    counted = judged[:needed]
    losses = {name: sum(week.loss(name) or 0.0 for week in counted) / needed for name in now.alive}
    ranked = sorted(now.alive, key=lambda name: (losses[name], name))
    stay = max(rule.keep, (len(ranked) + 1) // 2)
    following = Round(
        tuple(name for name in now.alive if name in ranked[:stay]), now.number + 1, counted[-1].number + 1
    )
    return Step(following, tuple(reversed(ranked[stay:])), losses)
