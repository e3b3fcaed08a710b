"""When a challenger replaces the champion: the rule, as a function of the weekly losses.

A comparison may begin in any season of 13 weeks since the challenger met this champion, so that what was long ago
cannot hide what is so now; the error rate is shared over challengers (equally) and seasons (1/2, 1/6, 1/12, ...). A
challenger wins when, in any season, the lower bound of its mean weekly advantage exceeds a margin that is worth a
change, and its advantage of the last eight weeks does, too: merits of the past are no reason. While one champion
reigns, the probability that a challenger wins which is no better is at most the error rate: one that was declined is
compared anew with the shares of seasons that are left.
"""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Literal

import msgspec

from stream_app.core.model_events import Standing
from stream_app.core.times import from_ms
from stream_app.learning.paired import Bounds, season_share, sequence
from stream_app.learning.weekly import WEEK_MS, Week

SEASON_WEEKS = 13
RECENT_WEEKS = 8

Promotion = Literal["auto", "ask", "off"]


class PromotionRules(msgspec.Struct, frozen=True):
    """What it takes."""

    mode: Promotion = "auto"
    """auto: the winner serves at once; ask: a person approves first; off: only people promote."""
    error_rate: float = 0.05
    """For all challengers of one champion together, over its whole reign."""
    margin: float = 0.001
    """Nats of mean log loss that an advantage must exceed: less is not worth a change.

    Two models that learned differently drawn examples do differ by that much for a while: without a margin, equal
    algorithms replace each other more often than the error rate says.
    """
    warm_up_examples: int = 1_000
    """What a model has to have learned before what it says is compared: beginners are not judged."""
    by_segment: bool = False
    """Let a bandit choose among champion and challengers for each segment."""
    halving_weeks: int = 0
    """Weeks of the first round in which challengers are halved (see `halving`); 0: all of them stay."""


def standing_of(
    weeks: Sequence[Week], champion: str, challenger: str, since_week: int, error_rate: float, spent: int = 0
) -> tuple[Standing, Bounds]:
    """Return how a challenger compares: the season whose lower bound is highest.

    Parameters
    ----------
    weeks
        Closed weeks.
    since_week
        When the challenger met this champion.
    error_rate
        This challenger's share; seasons divide it further.
    spent
        Seasons of earlier comparisons with this champion, whose shares are gone.
    """
    last = weeks[-1].number if weeks else since_week
    best: tuple[Standing, Bounds] | None = None
    for season in range(seasons_until(since_week, last)):
        start = since_week + season * SEASON_WEEKS
        alpha = error_rate * season_share(spent + season)
        found = _since(weeks, champion, challenger, start, alpha)
        if best is None or found[1].low > best[1].low:
            best = found
    assert best is not None, "season 0 is always looked at"
    return best


def standings_of(
    weeks: Sequence[Week],
    champion: str,
    met: Mapping[str, int],
    rules: PromotionRules,
    rivals: int,
    spent: Mapping[str, int] | None = None,
) -> list[tuple[Standing, Bounds]]:
    """Return all challengers' standings, best lower bound first.

    Parameters
    ----------
    weeks
        Closed weeks.
    met
        By challenger, the week in which its comparison with the champion began. Those that have left stay among them:
        the error rate was shared with them.
    rivals
        How many challengers there are, those included whose comparison has not begun.
    spent
        By challenger, seasons of earlier comparisons with this champion; absent: none.
    """
    share, gone = rules.error_rate / max(len(met), rivals, 1), spent or {}
    found = [standing_of(weeks, champion, name, since, share, gone.get(name, 0)) for name, since in met.items()]
    return sorted(found, key=lambda each: (-each[1].low, each[0].challenger))


def seasons_until(since_week: int, week: int) -> int:
    """Return how many seasons of a comparison have begun by a week, the first in `since_week`; at least one."""
    return max(week - since_week, 0) // SEASON_WEEKS + 1


def winner(
    standings: Sequence[tuple[Standing, Bounds]], rules: PromotionRules, eligible: Container[str]
) -> Standing | None:
    """Return the eligible challenger that has proved itself; of several, the one with the highest lower bound."""
    for standing, bounds in standings:
        proved = bounds.low > rules.margin and (standing.recent or 0.0) > rules.margin
        if proved and standing.challenger in eligible:
            return standing
    return None


def _since(weeks: Sequence[Week], champion: str, challenger: str, start: int, alpha: float) -> tuple[Standing, Bounds]:
    pairs = []
    examples = 0
    for week in weeks:
        if week.number < start:
            continue
        of_champion, of_challenger = week.loss(champion), week.loss(challenger)
        if of_champion is not None and of_challenger is not None:
            pairs.append((of_champion, of_challenger))
            examples += week.examples
    bounds = sequence([mine - theirs for mine, theirs in pairs], alpha)
    count = len(pairs)
    recent = pairs[-RECENT_WEEKS:]
    standing = Standing(
        challenger=challenger,
        weeks=count,
        examples=examples,
        champion_log_loss=math.fsum(pair[0] for pair in pairs) / count if count else None,
        log_loss=math.fsum(pair[1] for pair in pairs) / count if count else None,
        difference=bounds.mean if count else None,
        low=bounds.low if math.isfinite(bounds.low) else None,
        high=bounds.high if math.isfinite(bounds.high) else None,
        recent=math.fsum(mine - theirs for mine, theirs in recent) / len(recent) if recent else None,
        error_rate=alpha,
        since=from_ms(start * WEEK_MS),
    )
    return standing, bounds
