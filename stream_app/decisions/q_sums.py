"""The sums of a Q-learner over all steps, and the fitted iteration on them. Names are those of `q_learning`."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from stream_app.decisions.bandit import BASE_DEVIATION, NOISE_COUNT, NOISE_DEVIATION, Floats

SWEEPS: Final = 26
"""Windows that are looked ahead, a year: beyond, the discount leaves a fifteenth."""
CHOICE_HALF_LIFE: Final = 20_000.0
"""Decisions after which the best choice of one counts half: it was found by weights that are no longer believed."""


class Solution(NamedTuple):
    """What follows from the sums."""

    mean: Floats
    covariance: Floats
    """Of all weights, given the values."""
    values: Floats
    """Weights of V."""


class QSums(msgspec.Struct):
    """Sums of products of columns. Targets are linear in the weights, so that every sweep can be made of these.

    A design has the columns of what is usual first, then those of uplifts. V has columns of its own, and begins with
    those of what is usual.
    """

    gram: Floats
    moment: Floats
    reached: Floats
    """Of design and columns of V at the end of the window, discounted."""
    reached_gram: Floats
    reached_moment: Floats
    """Of the columns of V reached, and rewards."""
    logged: Floats
    """Of what is usual and the uplifts' columns of the logged choice, on average over its vector."""
    chosen: Floats
    """The same of the best choice, fading; as the two that follow."""
    chosen_costs: Floats
    chosen_gram: Floats
    squares: float = 0.0

    @classmethod
    def empty(cls, size: int, base: int, values: int) -> "QSums":
        """Return sums over nothing, of `size` weights, the first `base` of which are of what is usual, and of V's."""
        return cls(
            gram=np.zeros((size, size)),
            moment=np.zeros(size),
            reached=np.zeros((size, values)),
            reached_gram=np.zeros((values, values)),
            reached_moment=np.zeros(values),
            logged=np.zeros((base, size)),
            chosen=np.zeros((values, size)),
            chosen_costs=np.zeros(values),
            chosen_gram=np.zeros((values, values)),
        )

    def add(self, design: Floats, after: Floats, rewards: Floats, logged: Floats) -> None:
        """Take in steps: design, columns of V reached, rewards, and the design of the logged choice on average."""
        base = len(self.logged)
        self.gram += design.T @ design
        self.moment += design.T @ rewards
        self.reached += design.T @ after
        self.reached_gram += after.T @ after
        self.reached_moment += after.T @ rewards
        self.logged += design[:, :base].T @ logged
        self.squares += float(rewards @ rewards)

    def add_chosen(self, before: Floats, chosen: Floats, costs: Floats) -> None:
        """Take in best choices: columns of V at the draw, the design of the choice, and its cost."""
        weights = 0.5 ** (np.arange(len(before))[::-1] / CHOICE_HALF_LIFE)
        fade = 0.5 ** (len(before) / CHOICE_HALF_LIFE)
        weighted = before * weights[:, None]
        self.chosen = fade * self.chosen + weighted.T @ chosen
        self.chosen_costs = fade * self.chosen_costs + weighted.T @ costs
        self.chosen_gram = fade * self.chosen_gram + weighted.T @ before

    def solve(self, prior_mean: Floats, prior_precision: Floats, count: int) -> Solution:
        """Return what fitted iteration comes to after `SWEEPS` sweeps, the noise as large as `count` residuals say."""
        base, width = len(self.logged), len(self.chosen_gram)
        ridge = np.eye(width) * BASE_DEVIATION**-2
        best = np.linalg.solve(self.chosen_gram + ridge, np.column_stack([self.chosen, self.chosen_costs]))
        of_values = best[:, :-1]
        of_values[:base] -= np.linalg.solve(self.gram[:base, :base] + ridge[:base, :base], self.logged)
        of_values[:base, :base] += np.eye(base)
        noise, mean, values = NOISE_DEVIATION**2, prior_mean, np.zeros(width)
        for _ in range(2):
            covariance = np.linalg.inv(self.gram / noise + prior_precision)
            from_rewards = covariance @ (self.moment / noise + prior_precision @ prior_mean)
            from_values = covariance @ self.reached / noise
            values = np.zeros(width)
            for _ in range(SWEEPS):
                mean = from_rewards + from_values @ values
                values = of_values @ mean - best[:, -1]
            mean = from_rewards + from_values @ values
            noise = self._noise_variance(mean, values, count)
        return Solution(mean, (covariance + covariance.T) / 2, values)

    def _noise_variance(self, mean: Floats, values: Floats, count: int) -> float:
        """Return what the residuals of the last sweep say of the noise, together with `NOISE_COUNT` imagined ones."""
        squares = self.squares + 2 * float(values @ self.reached_moment) + float(values @ self.reached_gram @ values)
        moment = self.moment + self.reached @ values
        residuals = squares - 2 * float(mean @ moment) + float(mean @ self.gram @ mean)
        return (max(residuals, 0.0) + NOISE_COUNT * NOISE_DEVIATION**2) / (count + NOISE_COUNT)

    def plain(self) -> "PlainSums":
        """Return the sums as plain numbers."""
        told = {name: getattr(self, name) for name in self.__struct_fields__}
        lists = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in told.items()}
        return PlainSums(**lists)

    def take_up(self, kept: "PlainSums", old: Sequence[int], new: Sequence[int]) -> None:
        """Take up sums whose weights `old` are here `new`; the others are forgotten."""
        self.gram[np.ix_(new, new)] = np.array(kept.gram)[np.ix_(old, old)]
        self.moment[new] = np.array(kept.moment)[old]
        self.reached[new] = np.array(kept.reached)[old]
        self.logged[:, new] = np.array(kept.logged)[:, old]
        self.chosen[:, new] = np.array(kept.chosen)[:, old]
        self.reached_gram, self.reached_moment = np.array(kept.reached_gram), np.array(kept.reached_moment)
        self.chosen_costs, self.chosen_gram = np.array(kept.chosen_costs), np.array(kept.chosen_gram)
        self.squares = kept.squares


class PlainSums(msgspec.Struct, frozen=True):
    """`QSums` for a checkpoint."""

    gram: list[list[float]]
    moment: list[float]
    reached: list[list[float]]
    reached_gram: list[list[float]]
    reached_moment: list[float]
    logged: list[list[float]]
    chosen: list[list[float]]
    chosen_costs: list[float]
    chosen_gram: list[list[float]]
    squares: float
