"""Learning which action helps whom, from matured decisions: a Bayesian linear model of uplift for each action.

The response is the margin of the window as a share of the margin at stake. It is modelled as what happens without
contact, linear in the context, plus the action's uplift, linear in the context too. The prior of an uplift is what the
catalogue says of the action, so that learning starts from the policy in force; evidence narrows it (conjugate normal
model, known noise: see e.g. Russo et al., "A tutorial on Thompson sampling", 2018). Outcomes are delayed by their
window and may come in any order: the posterior is a sum and does not depend on it. Actions may come and go: a new one
starts from its prior.
"""

import hashlib

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.outputs import TIERS, DecisionOutcome
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.policy import CONTEXT, Belief, PolicySnapshot, prior_belief
from stream_app.decisions.types import NOTHING

WIDTH = len(CONTEXT)
BASE_DEVIATION = 1.0
"""Prior deviation of the weights without contact: wide, the data speak."""
SLOPE_DEVIATIONS = (0.02, 0.02, 0.002)
"""Prior deviations of an uplift's dependence on the context columns after the tiers; the last one runs to about 8."""
NOISE_DEVIATION = 0.5
"""Deviation of one response. A shop's own is larger or smaller; a larger guess learns slower, and never wrongly."""
MAX_RESPONSE = 5.0
"""Responses are clipped here: one wholesale order must not decide what is sent to everybody."""
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
        self._blocks = {name: 1 + index for index, name in enumerate(sorted(self._actions))}
        size = WIDTH * (1 + len(self._blocks))
        precision = np.zeros(size)
        precision[:WIDTH] = BASE_DEVIATION**-2
        self._prior_mean = np.zeros(size)
        for name, block in self._blocks.items():
            means, deviations = _prior(self._actions[name])
            span = _span(block)
            precision[span] = deviations**-2
            self._prior_mean[span] = means
        self._prior_precision = precision
        self._gram = np.zeros((size, size))
        self._moment = np.zeros(size)
        self.learned = 0

    def learn(self, outcome: DecisionOutcome) -> bool:
        """Take in one matured decision; return whether it says anything.

        A draw that was to act and did not (a limit, a mode) is no evidence on the action, and a biased one on doing
        nothing. The holdout is evidence on doing nothing. The caller drops repeats.
        """
        contacted = outcome.arm == "treatment" and outcome.action != NOTHING
        if len(outcome.context) != WIDTH or outcome.value_at_stake <= 0:
            return False
        if contacted and (not outcome.sent or outcome.action not in self._blocks):
            return False
        context = np.array(outcome.context)
        stake = outcome.value_at_stake * self._catalogue.margin
        response = min(max((outcome.reward + outcome.cost) / stake, -MAX_RESPONSE), MAX_RESPONSE)
        spans = [_span(0)]
        if contacted:
            spans.append(_span(self._blocks[outcome.action]))
        outer = np.outer(context, context)
        for rows in spans:
            self._moment[rows] += context * response
            for columns in spans:
                self._gram[rows, columns] += outer
        self.learned += 1
        return True

    def snapshot(self) -> PolicySnapshot:
        """Return the present beliefs; the version is a hash of them."""
        scale = NOISE_DEVIATION**-2
        precision = scale * self._gram
        precision[np.diag_indices_from(precision)] += self._prior_precision
        covariance = np.linalg.inv(precision)
        means = covariance @ (scale * self._moment + self._prior_precision * self._prior_mean)
        deviations = np.sqrt(np.diag(covariance))
        beliefs = {
            name: Belief(means=tuple(means[_span(block)].tolist()), deviations=tuple(deviations[_span(block)].tolist()))
            for name, block in self._blocks.items()
        }
        digest = hashlib.blake2b(msgspec.json.encode(beliefs, order="deterministic"), digest_size=4).hexdigest()
        return PolicySnapshot(version=f"learned-{self.learned}-{digest}", context=CONTEXT, beliefs=beliefs)

    def sums(self) -> dict[str, object]:
        """Return plain numbers for a checkpoint.

        They are by names of actions, so that a changed catalogue can take up what it knows.
        """
        names = [NOTHING, *sorted(self._blocks)]
        return {
            "context": list(CONTEXT),
            "names": names,
            "learned": self.learned,
            "gram": self._gram.tolist(),
            "moment": self._moment.tolist(),
        }

    def restore(self, sums: dict[str, object]) -> None:
        """Take up the sums of a checkpoint; those of actions that left the catalogue are dropped.

        Raises
        ------
        ValueError
            The checkpoint is of another context: it cannot be used, begin anew.
        """
        kept = msgspec.convert(sums, _Sums)
        if tuple(kept.context) != CONTEXT:
            raise ValueError(
                f"the checkpoint is of the context {kept.context}, this build uses {list(CONTEXT)}: begin anew"
            )
        gram, moment = np.array(kept.gram), np.array(kept.moment)
        places = {name: 0 if name == NOTHING else self._blocks.get(name, -1) for name in kept.names}
        for old_row, row_name in enumerate(kept.names):
            row = places[row_name]
            if row < 0:
                continue
            self._moment[_span(row)] = moment[_span(old_row)]
            for old_column, column_name in enumerate(kept.names):
                column = places[column_name]
                if column >= 0:
                    self._gram[_span(row), _span(column)] = gram[_span(old_row), _span(old_column)]
        self.learned = kept.learned


class _Sums(msgspec.Struct, frozen=True):
    context: list[str]
    names: list[str]
    learned: int
    gram: list[list[float]]
    moment: list[float]


def _span(block: int) -> slice:
    return slice(block * WIDTH, (block + 1) * WIDTH)


def _prior(action: Action) -> tuple[Floats, Floats]:
    belief = prior_belief(action)
    deviations = np.array(belief.deviations)
    deviations[len(TIERS) :] = SLOPE_DEVIATIONS
    return np.array(belief.means), deviations
