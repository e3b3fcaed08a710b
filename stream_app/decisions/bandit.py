"""Learning which action helps whom, from matured decisions: one Bayesian linear model of all actions' uplifts.

The response is what the catalogue's uplifts are about: whether the customer stayed, seen by an order in the window,
less penalties as a share of the margin at stake. What an order was worth is left out: it tells little of the action and
is most of the noise.

The response is modelled as what is usual, linear in the context, plus what any contact does, linear in the context too,
plus what is particular to the action. The middle part pools: every message teaches what contact does to whom, so that a
rare action does not start from nothing. Both parts see the contact less its logged probability, not the contact: what
is not explained of the usual is then no bias of the uplifts, however the policy chose (action centring: Greenewald,
Tewari, Murphy and Klasnja, "Action centered contextual bandits", NIPS 2017).

The prior of an action's uplift is what the catalogue says of it, so that learning starts from the policy in force;
evidence narrows it (conjugate normal model, the noise as large as the residuals say: see e.g. Russo et al., "A tutorial
on Thompson sampling", 2018). Outcomes are delayed by their window and may come in any order: the posterior is a
function of sums and does not depend on it. Actions may come and go: a new one starts from its prior, one that left is
forgotten and what it taught about contact stays.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.hashing import unit_draw
from stream_app.core.outputs import TIERS, DecisionOutcome
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.policy import (
    CONTEXT,
    DRAWS,
    EXPLORATION,
    SHARED_DEVIATION,
    Belief,
    PolicySnapshot,
    prior_belief,
)
from stream_app.decisions.types import NOTHING

WIDTH = len(CONTEXT)
ANY_CONTACT = "any contact"
"""Name of the shared block among the sums; no action may be called so."""
BASE_DEVIATION = 1.0
"""Prior deviation of the weights without contact: wide, the data speak."""
SHARED_SLOPES = (0.03, 0.03, 0.001, 0.006, 0.08, 0.03)
"""Prior deviations of how what all contacts have in common depends on the context columns after the tiers; `ln_value`
runs to about 8."""
TIER_CORRELATION = 0.8
"""Prior correlation of an uplift's errors in two tiers: who is wrong about an action is mostly wrong in all of them."""
OWN_SLOPES = (0.01, 0.005, 0.0003, 0.001, 0.005, 0.005)
"""The same for what is particular to an action."""
NOISE_DEVIATION = 0.5
"""Deviation of one response, until the residuals of this many decisions have told better."""
NOISE_COUNT = 200.0
MAX_RESPONSE = 3.0
"""Responses are clipped here: one penalty where hardly anything is at stake must not decide what all are sent."""
TAKE_RATE_COUNT = 20.0
"""How many contacts the catalogue's take rate is worth."""
Floats = NDArray[np.float64]


class PolicyLearner:
    """Sums of evidence over all matured decisions, and the beliefs that follow.

    Parameters
    ----------
    catalogue
        Its actions' uplifts are the priors. Outcomes of actions that it does not know are ignored.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._actions: dict[str, Action] = {action.name: action for action in catalogue.actions}
        self._blocks = {name: 2 + index for index, name in enumerate(sorted(self._actions))}
        self._columns = {name: column for column, name in enumerate(sorted(self._actions))}
        size = WIDTH * (2 + len(self._blocks))
        self._prior_mean = np.zeros(size)
        self._prior_precision = np.diag(np.full(size, BASE_DEVIATION**-2))
        self._prior_precision[_span(1), _span(1)] = prior_precision(SHARED_DEVIATION, SHARED_SLOPES)
        for name, block in self._blocks.items():
            span, action = _span(block), self._actions[name]
            self._prior_mean[span] = prior_belief(action).means
            self._prior_precision[span, span] = prior_precision(action.uplift.uncertainty, OWN_SLOPES)
        self._gram = np.zeros((size, size))
        self._moment = np.zeros(size)
        self._squares = 0.0
        self._sent = dict.fromkeys(self._blocks, 0)
        self._taken = dict.fromkeys(self._blocks, 0)
        self.learned = 0

    def learn(self, outcome: DecisionOutcome) -> bool:
        """Take in one matured decision; return whether it says anything.

        A draw that was to act and did not (a limit, a mode) is no evidence on the action, and a biased one on doing
        nothing. The holdout tells what is usual, and nothing of uplifts: who was never contacted differs by more than
        this one decision from who was. Care lies within the window of another draw, and one order must not speak for
        two. The caller drops repeats.
        """
        contacted = outcome.arm == "treatment" and outcome.action != NOTHING
        if outcome.is_care or len(outcome.context) != WIDTH or outcome.value_at_stake <= 0:
            return False
        if contacted and (not outcome.sent or outcome.action not in self._blocks):
            return False
        stake = outcome.value_at_stake * self._catalogue.margin
        penalties = self._catalogue.margin * outcome.revenue - outcome.cost - outcome.reward
        propensities = np.zeros((1, len(self._blocks)))
        for name, probability in outcome.alternatives.items():
            if name in self._columns and outcome.arm == "treatment":
                propensities[0, self._columns[name]] = probability
        self.learn_block(
            np.array([outcome.context]),
            np.array([self._columns[outcome.action] if contacted else -1]),
            propensities,
            np.array([(outcome.orders > 0) - penalties / stake]),
            np.array([contacted and outcome.redeemed]),
        )
        return True

    @property
    def names(self) -> tuple[str, ...]:
        """The actions, in the order of the columns of `learn_block`."""
        return tuple(self._columns)

    def learn_block(
        self,
        contexts: Floats,
        actions: NDArray[np.int64],
        propensities: Floats,
        responses: Floats,
        redeemed: NDArray[np.bool_],
    ) -> None:
        """Take in matured decisions as columns.

        Parameters
        ----------
        contexts
            (decision, column of `CONTEXT`).
        actions
            Index into `names` of what was sent, -1 for no contact.
        propensities
            (decision, action): probability with which each was to be sent; 0 for the holdout.
        responses
            1 where an order came in the window, else 0, less penalties as a share of the margin at stake; clipped here.
        redeemed
            Who took the incentive.
        """
        clipped = np.clip(responses, -MAX_RESPONSE, MAX_RESPONSE)
        surprise = (actions[:, None] == np.arange(len(self._columns))) - propensities
        design = np.hstack(
            [contexts, surprise.sum(axis=1, keepdims=True) * contexts]
            + [surprise[:, column, None] * contexts for column in range(len(self._columns))]
        )
        self._gram += design.T @ design
        self._moment += design.T @ clipped
        self._squares += float(clipped @ clipped)
        for name, column in self._columns.items():
            self._sent[name] += int((actions == column).sum())
            self._taken[name] += int(redeemed[actions == column].sum())
        self.learned += len(clipped)

    def snapshot(self) -> PolicySnapshot:
        """Return the present beliefs; the version is a hash of them."""
        mean, covariance = self._posterior(NOISE_DEVIATION**2)
        mean, covariance = self._posterior(self._noise_variance(mean))
        spans = {name: _span(self._blocks[name]) for name in sorted(self._blocks)}
        beliefs = believed(mean, covariance, _span(1), spans, self.take_rates())
        return PolicySnapshot(f"learned-{self.learned}-{digest_of(beliefs)}", CONTEXT, beliefs)

    def take_rates(self) -> dict[str, float]:
        """Return which share of the contacted took the incentive of each action, together with imagined ones."""
        return {
            name: (self._taken[name] + TAKE_RATE_COUNT * action.take_rate) / (self._sent[name] + TAKE_RATE_COUNT)
            for name, action in self._actions.items()
        }

    def _posterior(self, noise_variance: float) -> tuple[Floats, Floats]:
        precision = self._gram / noise_variance
        precision += self._prior_precision
        covariance = np.linalg.inv(precision)
        mean = covariance @ (self._moment / noise_variance + self._prior_precision @ self._prior_mean)
        return mean, (covariance + covariance.T) / 2

    def _noise_variance(self, mean: Floats) -> float:
        """Return what the residuals say of the noise, together with `NOISE_COUNT` imagined ones."""
        residuals = self._squares - 2 * float(mean @ self._moment) + float(mean @ self._gram @ mean)
        return (max(residuals, 0.0) + NOISE_COUNT * NOISE_DEVIATION**2) / (self.learned + NOISE_COUNT)

    def sums(self) -> dict[str, object]:
        """Return plain numbers for a checkpoint.

        They are by names of actions, so that a changed catalogue can take up what it knows.
        """
        return {
            "context": list(CONTEXT),
            "names": [NOTHING, ANY_CONTACT, *sorted(self._blocks)],
            "learned": self.learned,
            "squares": self._squares,
            "sent": dict(self._sent),
            "taken": dict(self._taken),
            "gram": self._gram.tolist(),
            "moment": self._moment.tolist(),
        }

    def restore(self, sums: dict[str, object]) -> None:
        """Take up the sums of a checkpoint; those of actions that left the catalogue are dropped.

        Raises
        ------
        ValueError
            The checkpoint is of another context, or of an older form: it cannot be used, begin anew.
        """
        try:
            kept = msgspec.convert(sums, _Sums)
        except msgspec.ValidationError as error:
            raise ValueError(f"the policy's checkpoint has another form ({error}): begin anew") from error
        if tuple(kept.context) != CONTEXT:
            raise ValueError(
                f"the checkpoint is of the context {kept.context}, this build uses {list(CONTEXT)}: begin anew"
            )
        gram, moment = np.array(kept.gram), np.array(kept.moment)
        fixed = {NOTHING: 0, ANY_CONTACT: 1}
        places = {name: fixed.get(name, self._blocks.get(name, -1)) for name in kept.names}
        for old_row, row_name in enumerate(kept.names):
            row = places[row_name]
            if row < 0:
                continue
            self._moment[_span(row)] = moment[_span(old_row)]
            for old_column, column_name in enumerate(kept.names):
                column = places[column_name]
                if column >= 0:
                    self._gram[_span(row), _span(column)] = gram[_span(old_row), _span(old_column)]
        for name in self._blocks:
            self._sent[name] = kept.sent.get(name, 0)
            self._taken[name] = kept.taken.get(name, 0)
        self.learned = kept.learned
        self._squares = kept.squares


def believed(
    mean: Floats,
    covariance: Floats,
    shared: slice,
    spans: Mapping[str, slice],
    take_rates: Mapping[str, float],
) -> dict[str, Belief]:
    """Return what is to be published of a posterior of weights.

    Parameters
    ----------
    mean, covariance
        Of all weights.
    shared
        Where the weights of what any contact does stand.
    spans
        By action in order of names, where those of what is its own stand.
    take_rates
        By action.
    """
    uplift_mean = np.concatenate([mean[shared] + mean[span] for span in spans.values()])
    with_shared = covariance[shared]
    joint = np.block(
        [
            [
                with_shared[:, shared] + with_shared[:, column] + covariance[row, shared] + covariance[row, column]
                for column in spans.values()
            ]
            for row in spans.values()
        ]
    )
    width = shared.stop - shared.start
    deviations = np.sqrt(np.diag(joint))
    root = np.linalg.cholesky(joint + np.diag(np.full(len(joint), _JITTER)))
    draws = uplift_mean + EXPLORATION * np.hstack([_normal_rows(name, width) for name in spans]) @ root.T
    beliefs = {}
    for index, name in enumerate(spans):
        of = slice(index * width, (index + 1) * width)
        beliefs[name] = Belief(
            means=tuple(uplift_mean[of].tolist()),
            deviations=tuple(deviations[of].tolist()),
            draws=draws[:, of].astype("<f4").tobytes(),
            take_rate=take_rates[name],
        )
    return beliefs


def digest_of(beliefs: Mapping[str, Belief]) -> str:
    """Return a short hash of beliefs."""
    return hashlib.blake2b(msgspec.json.encode(beliefs, order="deterministic"), digest_size=4).hexdigest()


class _Sums(msgspec.Struct, frozen=True):
    context: list[str]
    names: list[str]
    learned: int
    squares: float
    sent: dict[str, int]
    taken: dict[str, int]
    gram: list[list[float]]
    moment: list[float]


_JITTER = 1e-12


def _span(block: int) -> slice:
    return slice(block * WIDTH, (block + 1) * WIDTH)


def prior_precision(deviation: float, slopes: tuple[float, ...]) -> Floats:
    """Return the prior precision of a block: tiers that err together, and slopes."""
    tiers = len(TIERS)
    covariance = np.diag([*(0.0,) * tiers, *(slope**2 for slope in slopes)])
    covariance[:tiers, :tiers] = deviation**2 * TIER_CORRELATION
    covariance[np.arange(tiers), np.arange(tiers)] = deviation**2
    return np.asarray(np.linalg.inv(covariance), dtype=np.float64)


@lru_cache(maxsize=256)
def _normal_rows(action: str, width: int) -> Floats:
    """Return the fixed standard normal draws of an action's weights, (draw, column), of exact mean 0 and variance 1."""
    normal = NormalDist()
    units = [[unit_draw("policy draw", action, column, k) for column in range(width)] for k in range(DRAWS)]
    rows = np.array([[normal.inv_cdf(min(max(unit, 1e-12), 1 - 1e-12)) for unit in row] for row in units])
    rows -= rows.mean(axis=0)
    rows /= rows.std(axis=0)
    return rows
