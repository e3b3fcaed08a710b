"""Policies for many customers at once: the product's, and those that it is compared with.

All keep the floors and choose among what the guardrails let pass.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream_app.core.outputs import TIERS
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.courses import step_matrix
from stream_app.decisions.policy import (
    DRAWS,
    FLOOR_ACTION,
    FLOOR_NOTHING,
    PolicySnapshot,
    expected_cost,
    uplift_draws,
)
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.ahead import Truth, gain_of
from stream_app.simulation.arena import Truths
from stream_app.simulation.lessons import Pupil
from stream_app.simulation.people import Flags
from stream_app.simulation.randomness import Floats
from stream_app.simulation.sight import View

RULES: Mapping[str, tuple[str, ...]] = {
    "low": (),
    "medium": ("product_picks", "promotion_news", "interactive_activity"),
    "high": ("coupon", "personal_care", "product_picks"),
    "critical": ("vip_service", "coupon", "personal_care", "product_picks"),
}
"""By risk tier, the kinds of action that a rule book would try, best first."""
_BENDS = 160
_HEAVIEST = 4.0
"""A decision weighs as the square of what is at stake, in means, but no more than that of so many."""
_RIDGE_SHARE = 2e-3
"""Ridge penalty as a share of the number of rows."""


def above_floors(preferred: Floats, allowed: Flags) -> Floats:
    """Return preferences (rows sum to 1, nothing first) above the floors."""
    floors = np.column_stack([np.full(len(allowed), FLOOR_NOTHING), FLOOR_ACTION * allowed])
    vector: Floats = floors + (1.0 - floors.sum(axis=1, keepdims=True)) * preferred
    return vector


def of_snapshot(snapshot: PolicySnapshot, view: View, catalogue: Catalogue) -> Floats:
    """Return the choices of the product's policy: `choose_by` for many."""
    stake = view.stake * catalogue.margin
    best = np.zeros((len(view.who), DRAWS), dtype=np.float32)
    winner = np.zeros((len(view.who), DRAWS), dtype=np.int8)
    order = sorted(range(len(catalogue.actions)), key=lambda column: catalogue.actions[column].name)
    for column in order:
        action = catalogue.actions[column]
        rows = np.flatnonzero(view.allowed[:, column])
        if not len(rows):
            continue
        cost = np.array([expected_cost(action, usual, snapshot) for usual in view.usual_order[rows].tolist()])
        seen = view.context[rows]
        if snapshot.is_sequential:
            repeated = (view.last_action[rows] == column).astype(np.float64)
            seen = np.hstack([seen, step_matrix(view.courses[rows], repeated)])
        gains = uplift_draws(action, seen, snapshot)[1] * stake[rows, None] - cost[:, None]
        better = np.zeros((len(view.who), DRAWS), dtype=np.bool_)
        better[rows] = gains > best[rows]
        best[rows] = np.maximum(best[rows], gains)
        winner[better] = column + 1
    wins = np.stack([(winner == column).mean(axis=1) for column in range(len(catalogue.actions) + 1)], axis=1)
    return above_floors(wins, view.allowed)


@dataclass(slots=True)
class Learning:
    """The policy that learns: asks its learner anew at every decision day."""

    learner: Pupil
    catalogue: Catalogue

    def __call__(self, view: View) -> Floats:
        """Choose by what was learned so far."""
        return of_snapshot(self.learner.snapshot(), view, self.catalogue)


def at_random(view: View) -> Floats:
    """Choose evenly among doing nothing and everything that is allowed."""
    options = np.column_stack([np.ones(len(view.who)), view.allowed]).astype(np.float64)
    even: Floats = options / options.sum(axis=1, keepdims=True)
    return even


@dataclass(slots=True)
class Ruled:
    """Chooses the first allowed action of the rule book for the customer's tier, or nothing."""

    catalogue: Catalogue

    def __call__(self, view: View) -> Floats:
        """Choose by rules."""
        preferred = np.zeros((len(view.who), 1 + len(self.catalogue.actions)))
        kinds = [action.kind for action in self.catalogue.actions]
        for row, tier in enumerate(view.tier.tolist()):
            choice = 0
            for kind in RULES[TIERS[tier]]:
                fitting = [i for i, each in enumerate(kinds) if each == kind and view.allowed[row, i]]
                if fitting:
                    choice = 1 + fitting[0]
                    break
            preferred[row, choice] = 1.0
        return above_floors(preferred, view.allowed)


@dataclass(slots=True)
class Foresight:
    """The oracle: takes the action of the largest true gain, as far as what the engine sees tells it.

    Fitted to the truth itself, not to outcomes: a ridge regression on what is seen and on random rectified combinations
    of it (Rahimi and Recht, "Weighted sums of random kitchen sinks", NIPS 2008), which bends wherever the truth does.
    """

    catalogue: Catalogue
    centre: Floats
    scale: Floats
    bends: Floats
    weights: Floats
    """(column, effect): `Truth.saved` by kind of action, `Truth.taken`, the penalty of an e-mail."""

    @classmethod
    def fitted(cls, truths: Sequence[Truths], catalogue: Catalogue, seed: int = 1) -> "Foresight":
        """Return the best guess after the truth about decisions in other shops."""
        seen = np.concatenate([each.view.seen for each in truths])
        effects = np.concatenate(
            [np.column_stack([each.truth.saved, each.truth.taken, each.penalties]) for each in truths]
        )
        centre, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-6
        bends = np.random.default_rng(seed).normal(size=(seen.shape[1] + 1, _BENDS)) / math.sqrt(seen.shape[1])
        fit = cls(catalogue, centre, scale, bends, np.zeros((0, 0)))
        design = fit._design(seen)
        stake = np.concatenate([each.view.stake for each in truths])
        weights = np.minimum(stake / stake.mean(), _HEAVIEST) ** 2
        weights /= weights.mean()
        gram = design.T @ (design * weights[:, None])
        gram[np.diag_indices_from(gram)] += _RIDGE_SHARE * len(seen)
        fit.weights = np.linalg.solve(gram, design.T @ (effects * weights[:, None]))
        return fit

    def gains(self, view: View) -> Floats:
        """Return the expected gain of doing nothing and of each action, shop currency."""
        effects: Floats = self._design(view.seen) @ self.weights
        believed = Truth(effects[:, : len(ACTION_KINDS)], effects[:, len(ACTION_KINDS)])
        gains = np.zeros((len(view.who), 1 + len(self.catalogue.actions)))
        for column, action in enumerate(self.catalogue.actions, start=1):
            gains[:, column] = gain_of(action, believed, effects[:, -1], view.stake, view.usual_order, self.catalogue)
        return gains

    def __call__(self, view: View) -> Floats:
        """Choose the best guess."""
        gains = self.gains(view)
        gains[:, 1:][~view.allowed] = -np.inf
        preferred = np.zeros_like(gains)
        preferred[np.arange(len(gains)), gains.argmax(axis=1)] = 1.0
        return above_floors(preferred, view.allowed)

    def _design(self, seen: Floats) -> Floats:
        standard = np.clip((seen - self.centre) / self.scale, -4.0, 4.0)
        with_one = np.column_stack([standard, np.ones(len(standard))])
        return np.column_stack([with_one, np.maximum(with_one @ self.bends, 0.0)])
