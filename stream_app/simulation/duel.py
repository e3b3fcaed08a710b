"""Which policy serves a shop better over a year: each lives through the same shop alone, with the same luck.

What a policy brings is measured twice. By money: the margin of a year's orders of the treated, less messages,
incentives and penalties, above what silence brings; luck is the same in all lives of a shop (chance is drawn by
customer and day), so that most of it goes out. And by gains: the true expected gains of its choices on its own way,
against never contacting again (see `ahead`), in which no luck enters but the way itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.q_learning import QLearner
from stream_app.simulation.arena import OWN, Arena, ArenaScale, Contender
from stream_app.simulation.contenders import Learning, Ruled, above_floors, at_random
from stream_app.simulation.lessons import Pupil
from stream_app.simulation.proof import QUARTERS, by_quarter, value_of
from stream_app.simulation.randomness import Floats
from stream_app.simulation.sight import View

BANDIT: Final = "bandit"
Q_LEARNING: Final = "q_learning"
SILENCE: Final = "silence"
FLOORS: Final = "floors"
"""Contacts nobody by its own will: what the floors of exploration alone bring, which every policy has to pay."""
LIVES: Final = (BANDIT, Q_LEARNING, FLOORS, "rules", "random")


class Life(NamedTuple):
    """What one policy brought one shop."""

    money: Floats
    """By quarter, shop currency, of the treated: margin less all costs."""
    gains: Floats
    """By quarter, shop currency: true expected gains of its choices."""
    messages: int
    repeats: int
    """Messages whose action was that of the contact before."""


class ShopDuel(NamedTuple):
    """One shop, lived through by every policy."""

    seed: int
    customers: int
    """Treated."""
    lives: Mapping[str, Life]

    def money_above_silence(self, name: str) -> Floats:
        """Return what a policy brought above silence, by quarter, shop currency."""
        return self.lives[name].money - self.lives[SILENCE].money


def silent(view: View) -> Floats:
    """Choose nothing."""
    nothing = np.zeros((len(view.who), 1 + view.allowed.shape[1]))
    nothing[:, 0] = 1.0
    return nothing


def reluctant(view: View) -> Floats:
    """Choose nothing wherever the floors leave a choice."""
    return above_floors(silent(view), view.allowed)


def duel(
    scale: ArenaScale,
    catalogue: Catalogue,
    seeds: Sequence[int],
    names: Sequence[str] = LIVES,
    on_shop: Callable[[ShopDuel], None] | None = None,
) -> tuple[ShopDuel, ...]:
    """Let every policy live through every shop, learning from nothing in each.

    Parameters
    ----------
    scale
        Of each shop.
    catalogue
        What can be done; its uplifts are the priors.
    seeds
        One shop each.
    names
        Policies, of `LIVES`; silence is always there.
    on_shop
        Called as each shop is done.
    """
    shops = []
    for seed in seeds:
        lives = {name: _live(scale, catalogue, seed, name) for name in (SILENCE, *names)}
        treated = int(Arena(scale, seed, catalogue).is_treated.sum())
        shop = ShopDuel(seed, treated, lives)
        shops.append(shop)
        if on_shop is not None:
            on_shop(shop)
    return tuple(shops)


def _live(scale: ArenaScale, catalogue: Catalogue, seed: int, name: str) -> Life:
    arena = Arena(scale, seed, catalogue)
    pupil: Pupil | None = None
    others: dict[str, Contender] = {"rules": Ruled(catalogue), "random": at_random, SILENCE: silent, FLOORS: reluctant}
    if name in others:
        contender = others[name]
    else:
        pupil = PolicyLearner(catalogue) if name == BANDIT else QLearner(catalogue)
        contender = Learning(pupil, catalogue)
    ends = [scale.days * (quarter + 1) // QUARTERS for quarter in range(QUARTERS)]
    money = np.zeros(QUARTERS + 1)

    def on_day(day: int) -> None:
        if day in ends:
            of_each = catalogue.margin * arena.shop.revenue - arena.spent
            money[1 + ends.index(day)] = float(of_each[arena.is_treated].sum())

    ran = arena.run(contender, pupil, on_day=on_day)
    return Life(np.diff(money), by_quarter(ran.truths, scale, value_of(OWN)), ran.messages, ran.repeats)
