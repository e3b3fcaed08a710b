"""Q-learning over sequences of contacts: what an action is worth with all that follows, learned from matured decisions.

A step is one window: where the customer stood, what was drawn, what came of it, and where the customer stood at its end
(`courses`). With V the value of standing somewhere, the value of drawing a there is

    Q(s, a) = r + discount * V(s'),    V(s) = E[max over what is allowed of Q(s, b)]

(Watkins and Dayan, "Q-learning", Machine Learning 1992), here as fitted Q-iteration (Ernst, Geurts and Wehenkel,
"Tree-based batch mode reinforcement learning", JMLR 2005) with the linear model of `bandit`: Q is what is usual, linear
in the course, plus what any contact does and what is the action's own, linear in context and course, both seen by the
contact less its logged probability. Off-policy by that: who decided, and how, does not bias uplifts. What is usual
under the logged choices, less what their uplifts were on average, is the value of drawing nothing; what the best of the
allowed adds to it, less its cost, makes V. What will be allowed at the end of a window is not known then, but every
draw knows what was, so that the best choice is regressed on the course, too. Sweeps of the iteration need sums alone
(`q_sums`): no decision has to be kept. Only which choice is the best is found once, by the weights of the last refresh;
old findings fade.

Rewards are orders in the window, less penalties. One unit is the margin at stake, as it is the bandit's, so that the
catalogue's uplifts are the priors here too: an order is worth the share that the usual order has in what is at stake.
"""

from typing import Final

import msgspec
import numpy as np

from stream_app.core.outputs import DecisionOutcome
from stream_app.decisions.bandit import (
    ANY_CONTACT,
    BASE_DEVIATION,
    MAX_RESPONSE,
    OWN_SLOPES,
    SHARED_SLOPES,
    TAKE_RATE_COUNT,
    Floats,
    believed,
    digest_of,
    prior_precision,
)
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.courses import COURSE, USUAL, step_matrix
from stream_app.decisions.policy import (
    CONTEXT,
    EPOCH_DAYS,
    SEQUENTIAL,
    SHARED_DEVIATION,
    PolicySnapshot,
    expected_cost,
    prior_belief,
)
from stream_app.decisions.q_sums import PlainSums, QSums, Solution
from stream_app.decisions.types import NOTHING

DISCOUNT: Final = 0.9
"""Of the value that is reached, per window of `EPOCH_DAYS`: half of it counts after three months."""
MOST_ORDERS: Final = 3
"""Orders of one window that count: few customers order more, and their windows would speak for all."""
REFRESH: Final = 500
"""Decisions between two refreshes of the weights by which the best of what is allowed is found."""
STEP_SHARED_SLOPES: Final = (0.006, 0.03, 0.015, 0.03, 0.03, 0.03)
"""Prior deviations, by column of `courses.STEP`, of what all contacts have in common."""
STEP_OWN_SLOPES: Final = (0.001, 0.005, 0.003, 0.005, 0.01, 0.02)
"""The same for what is particular to an action."""
WIDTH: Final = len(SEQUENTIAL)
BASE: Final = 1 + len(USUAL)
"""Columns of what is usual: a constant, and what is no trace of chosen contacts."""
VALUES: Final = 1 + len(COURSE)
"""Columns of V: those of what is usual, and the rest of the course, which the best choice depends on."""
_ORDER: Final = [COURSE.index(name) for name in (*USUAL, *(name for name in COURSE if name not in USUAL))]
_DAY_SECONDS: Final = 86_400.0


class Steps(msgspec.Struct, frozen=True):
    """Decisions with what came of them, as columns; one row each, the treated alone."""

    contexts: Floats
    """(decision, column of `policy.CONTEXT`)."""
    courses: Floats
    """(decision, column of `courses.COURSE`), at the draw."""
    courses_after: Floats
    """The same at the end of the window."""
    elapsed_days: Floats
    repeated: Floats
    """(decision, action): 1 where it was the action of the contact before."""
    actions: Floats
    """(decision, action): 1 for what was sent; no 1 for no contact."""
    propensities: Floats
    """(decision, action): probability with which each was to be drawn."""
    is_allowed: Floats
    """(decision, action): 1 for what could be drawn."""
    costs: Floats
    """(decision, action): expected cost of each, in shares of the margin at stake."""
    orders: Floats
    """Orders of the window."""
    penalties: Floats
    """For what the customer resented, in shares of the margin at stake."""
    order_shares: Floats
    """The usual order's share in the value at stake, above 0."""
    redeemed: Floats
    """1 for who took the incentive."""


class QLearner:
    """Sums of evidence over all steps, and the beliefs that follow.

    Parameters
    ----------
    catalogue
        Its actions' uplifts are the priors. Outcomes of actions that it does not know are ignored.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._actions: dict[str, Action] = {action.name: action for action in catalogue.actions}
        self._columns = {name: column for column, name in enumerate(sorted(self._actions))}
        self._spans = {name: _span(1 + column) for name, column in self._columns.items()}
        size = BASE + WIDTH * (1 + len(self._spans))
        self._prior_mean = np.zeros(size)
        self._prior_precision = np.diag(np.full(size, BASE_DEVIATION**-2))
        self._prior_precision[_span(0), _span(0)] = prior_precision(
            SHARED_DEVIATION, (*SHARED_SLOPES, *STEP_SHARED_SLOPES)
        )
        own_slopes = (*OWN_SLOPES, *STEP_OWN_SLOPES)
        for name, span in self._spans.items():
            action = self._actions[name]
            self._prior_mean[span] = prior_belief(action, WIDTH).means
            self._prior_precision[span, span] = prior_precision(action.uplift.uncertainty, own_slopes)
        self._sums = QSums.empty(size, BASE, VALUES)
        self._weights = self._prior_mean.copy()
        """By which the best of what is allowed is found; those of the last refresh."""
        self._sent = dict.fromkeys(self._spans, 0)
        self._taken = dict.fromkeys(self._spans, 0)
        self.learned = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The actions, in the order of the columns of `Steps`."""
        return tuple(self._columns)

    def learn(self, outcome: DecisionOutcome) -> bool:
        """Take in one matured decision; return whether it says anything.

        The holdout says nothing here: the value of never being contacted is not the value under the policy. What was
        drawn and not sent, and care, are left out as by the bandit, and outcomes that were logged without the course.
        The caller drops repeats.
        """
        contacted = outcome.action != NOTHING
        if outcome.arm != "treatment" or outcome.is_care or outcome.value_at_stake <= 0 or outcome.usual_order <= 0:
            return False
        if len(outcome.context) != len(CONTEXT) or not len(outcome.course) == len(outcome.course_after) == len(COURSE):
            return False
        if contacted and (not outcome.sent or outcome.action not in self._columns):
            return False
        stake = outcome.value_at_stake * self._catalogue.margin
        drawn, logged, allowed, repeated, costs = np.zeros((5, 1, len(self._columns)))
        for name, column in self._columns.items():
            drawn[0, column] = name == outcome.action
            logged[0, column] = outcome.alternatives.get(name, 0.0)
            allowed[0, column] = name in outcome.alternatives
            repeated[0, column] = name == outcome.last_action
            costs[0, column] = expected_cost(self._actions[name], outcome.usual_order) / stake
        self.learn_block(
            Steps(
                contexts=np.array([outcome.context]),
                courses=np.array([outcome.course]),
                courses_after=np.array([outcome.course_after]),
                elapsed_days=np.array([(outcome.matured_at - outcome.drawn_at).total_seconds() / _DAY_SECONDS]),
                repeated=repeated,
                actions=drawn,
                propensities=logged,
                is_allowed=allowed,
                costs=costs,
                orders=np.array([float(outcome.orders)]),
                penalties=np.array(
                    [(self._catalogue.margin * outcome.revenue - outcome.cost - outcome.reward) / stake]
                ),
                order_shares=np.array([outcome.usual_order / outcome.value_at_stake]),
                redeemed=np.array([float(contacted and outcome.redeemed)]),
            )
        )
        return True

    def learn_block(self, steps: Steps) -> None:
        """Take in steps as columns.

        Weights are refreshed between blocks, not within one: cut into blocks of one, all is as it is with `learn`.
        """
        shares = steps.order_shares[:, None]
        before = shares * value_columns(steps.courses)
        after = shares * value_columns(steps.courses_after)
        after *= DISCOUNT ** (steps.elapsed_days[:, None] / EPOCH_DAYS)
        seen = [self._seen(steps, column) for column in range(len(self._columns))]
        rewards = steps.order_shares * np.minimum(steps.orders, MOST_ORDERS) - steps.penalties
        logged = _uplift_design(seen, steps.propensities)
        design = _uplift_design(seen, steps.actions) - logged
        design[:, :BASE] = before[:, :BASE]
        self._sums.add(design, after, np.clip(rewards, -MAX_RESPONSE, MAX_RESPONSE), logged)
        best = self._best(steps, seen)
        self._sums.add_chosen(before, _uplift_design(seen, best), (best * steps.costs).sum(axis=1))
        for name, column in self._columns.items():
            self._sent[name] += int(steps.actions[:, column].sum())
            self._taken[name] += int(steps.redeemed[steps.actions[:, column] > 0].sum())
        due = (self.learned + len(before)) // REFRESH > self.learned // REFRESH
        self.learned += len(before)
        if due:
            self._weights = self._solved().mean

    def snapshot(self) -> PolicySnapshot:
        """Return the present beliefs; the version is a hash of them."""
        mean, covariance, _ = self._solved()
        beliefs = believed(mean, covariance, _span(0), self._spans, self.take_rates())
        return PolicySnapshot(f"sequential-{self.learned}-{digest_of(beliefs)}", SEQUENTIAL, beliefs)

    def take_rates(self) -> dict[str, float]:
        """Return which share of the contacted took the incentive of each action, together with imagined ones."""
        return {
            name: (self._taken[name] + TAKE_RATE_COUNT * action.take_rate) / (self._sent[name] + TAKE_RATE_COUNT)
            for name, action in self._actions.items()
        }

    def value_weights(self) -> Floats:
        """Return the weights of the value of standing somewhere, by column of `value_columns`.

        In usual orders, of those that come from now on, discounted, under the best policy that is known.
        """
        return self._solved().values

    def _seen(self, steps: Steps, column: int) -> Floats:
        return np.hstack([steps.contexts, step_matrix(steps.courses, steps.repeated[:, column])])

    def _best(self, steps: Steps, seen: list[Floats]) -> Floats:
        """Return 1 for the best of what is allowed, (decision, action); no 1 where that is doing nothing."""
        shared, spans = self._weights[_span(0)], self._spans.values()
        gains = np.column_stack([of @ (shared + self._weights[span]) for of, span in zip(seen, spans, strict=True)])
        gains = np.where(steps.is_allowed > 0, gains - steps.costs, -np.inf)
        best = np.zeros_like(gains)
        best[np.arange(len(gains)), gains.argmax(axis=1)] = gains.max(axis=1) > 0
        return best

    def _solved(self) -> Solution:
        return self._sums.solve(self._prior_mean, self._prior_precision, self.learned)

    def sums(self) -> dict[str, object]:
        """Return plain numbers for a checkpoint, by names of actions, so that a changed catalogue can take them up."""
        return {
            "columns": [*SEQUENTIAL, *COURSE],
            "names": [ANY_CONTACT, *self._spans],
            "learned": self.learned,
            "sent": dict(self._sent),
            "taken": dict(self._taken),
            "weights": self._weights.tolist(),
            "sums": msgspec.to_builtins(self._sums.plain()),
        }

    def restore(self, sums: dict[str, object]) -> None:
        """Take up the sums of a checkpoint; those of actions that left the catalogue are dropped.

        Raises
        ------
        ValueError
            The checkpoint is of other columns, or of an older form: it cannot be used, begin anew.
        """
        try:
            kept = msgspec.convert(sums, _Kept)
        except msgspec.ValidationError as error:
            raise ValueError(f"the checkpoint of the Q-learner has another form ({error}): begin anew") from error
        if kept.columns != [*SEQUENTIAL, *COURSE]:
            raise ValueError("the checkpoint of the Q-learner is of other columns than this build uses: begin anew")
        old = list(range(BASE))
        new = list(range(BASE))
        for place, name in enumerate(kept.names):
            span = _span(0) if name == ANY_CONTACT else self._spans.get(name)
            if span is not None:
                old += range(_span(place).start, _span(place).stop)
                new += range(span.start, span.stop)
        self._sums.take_up(kept.sums, old, new)
        self._weights[new] = np.array(kept.weights)[old]
        for name in self._spans:
            self._sent[name] = kept.sent.get(name, 0)
            self._taken[name] = kept.taken.get(name, 0)
        self.learned = kept.learned


class _Kept(msgspec.Struct, frozen=True):
    columns: list[str]
    names: list[str]
    learned: int
    sent: dict[str, int]
    taken: dict[str, int]
    weights: list[float]
    sums: PlainSums


def value_columns(courses: Floats) -> Floats:
    """Return the columns of V: a constant, `USUAL`, and the rest of `COURSE`."""
    return np.column_stack([np.ones(len(courses)), courses[:, _ORDER]])


def _uplift_design(seen: list[Floats], weights: Floats) -> Floats:
    """Return the columns of uplifts, weighted by action, after those of what is usual, which are 0."""
    own = [weights[:, column, None] * of for column, of in enumerate(seen)]
    return np.hstack([np.zeros((len(weights), BASE)), sum(own, np.zeros((len(weights), WIDTH))), *own])


def _span(block: int) -> slice:
    """Return where a block of uplifts stands: 0 is what any contact does, the actions follow."""
    return slice(BASE + block * WIDTH, BASE + (block + 1) * WIDTH)
