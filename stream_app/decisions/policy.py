"""The choice among allowed actions: an explicit probability vector, and one deterministic draw from it.

What is believed of an action is a normal distribution of its uplift (the fall of the churn probability that it
causes), linear in a small context. The probability of an action is the share of a fixed, seeded set of draws from
these beliefs in which its expected gain is the best (Thompson sampling, with frequencies instead of one draw), above a
floor that keeps every choice measurable. Before anything is learned the beliefs are those of the catalogue.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.hashing import unit_draw
from stream_app.core.outputs import TIERS
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.courses import FATIGUE_LIMIT, STEP, USUAL_CLICKS, Course
from stream_app.decisions.types import NOTHING, DecisionPoint

FLOOR_NOTHING: Final = 0.05
FLOOR_ACTION: Final = 0.02
EPOCH_DAYS: Final = 14
"""Length of an epoch, equal to the attribution window: one draw per customer and epoch."""
SHARED_DEVIATION: Final = 0.02
"""Deviation of what a catalogue may have got wrong about all its actions alike. It makes the start a cautious one:
were the actions' errors independent, the best of ten would look good by luck alone."""
EXPLORATION: Final = 0.5
"""Share of the deviations with which worlds are drawn: the floors explore already, and a narrower Thompson sampling
regrets less over any horizon that one lives to see (Chapelle and Li, "An empirical evaluation of Thompson sampling",
NIPS 2011)."""
DRAWS: Final = 128
"""Size of the fixed set of draws; frequencies are multiples of 1 / DRAWS."""
CONTEXT: Final = (
    *(f"tier_{tier}" for tier in TIERS),
    "discount_share",
    "unhappiness",
    "ln_value",
    "fatigue",
    "response",
    "beyond_reach",
)
"""What beliefs are linear in; `fatigue`: recent messages, `response`: how far clicks on them are above the usual;
`beyond_reach`: how near the churn probability is to 1, from 0 at `_IN_REACH`."""
SEQUENTIAL: Final = (*CONTEXT, *STEP)
"""The same for a policy over sequences of contacts, whose uplifts count what follows later, too."""
_DRAW_BYTES: Final = 4
_IN_REACH: Final = 0.8


class Belief(msgspec.Struct, frozen=True):
    """Mean and standard deviation of the weights of an action's uplift, one for each column of the policy's context."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    draws: bytes = b""
    """`DRAWS` joint draws of the weights, float32, little endian, one row a draw: row k of all actions of a snapshot
    is one possible world, so that what is unknown of all of them is not mistaken for a chance that one of them shines.
    Empty: independent normal draws by `deviations`."""
    shared: float = 0.0
    """Without draws: deviation of what is unknown of all contacts alike, which is the same draw for every action."""
    take_rate: float | None = None
    """Share of the contacted that take the incentive, as seen; None: as the catalogue says."""


class PolicySnapshot(msgspec.Struct, frozen=True):
    """Published beliefs. An action that it does not know is believed what the catalogue says of it.

    What it looks at makes its kind: `CONTEXT` for a bandit, which knows one window, `SEQUENTIAL` for what was learned
    over sequences of contacts (`decisions.q_learning`).
    """

    version: str
    context: tuple[str, ...]
    beliefs: dict[str, Belief]

    @property
    def is_sequential(self) -> bool:
        """Whether it looks at the course of a customer."""
        return self.context == SEQUENTIAL


class Choice(msgspec.Struct, frozen=True):
    """A probability for doing nothing and for every allowed action, and what each would gain."""

    probabilities: dict[str, float]
    expected_gains: dict[str, float]
    """Shop currency, less cost; doing nothing gains 0."""


class PolicyError(ValueError):
    """A learned policy cannot be used; the message says why and what to do."""


def load_policy(path: Path) -> PolicySnapshot:
    """Return the learned policy in a JSON file.

    Raises
    ------
    PolicyError
        The file cannot be read, is no policy, or was learned on another context than this build uses.
    """
    try:
        snapshot = msgspec.json.decode(path.read_bytes(), type=PolicySnapshot)
    except (OSError, msgspec.MsgspecError) as error:
        raise PolicyError(f"{path}: no learned policy: {error}") from error
    try:
        check_policy(snapshot)
    except PolicyError as error:
        raise PolicyError(f"{path}: {error}") from None
    return snapshot


def check_policy(snapshot: PolicySnapshot) -> None:
    """Raise PolicyError for beliefs that cannot be decided by: another context, wrong shapes, impossible numbers."""
    if snapshot.context not in {CONTEXT, SEQUENTIAL}:
        raise PolicyError(
            f"policy {snapshot.version} was learned on {', '.join(snapshot.context)}; this build uses"
            f" {', '.join(CONTEXT)}, and over sequences {', '.join(STEP)} besides: learn it anew"
        )
    width = len(snapshot.context)
    wrong = [name for name, belief in snapshot.beliefs.items() if not _fits(belief, width)]
    if wrong:
        raise PolicyError(f"the beliefs of {', '.join(wrong)} have not {width} weights: learn the policy anew")
    impossible = [name for name, belief in snapshot.beliefs.items() if not _is_possible(belief)]
    if impossible:
        raise PolicyError(
            f"the beliefs of {', '.join(impossible)} hold numbers that are not finite, or a deviation below 0, or a"
            " take rate outside 0 to 1: learn the policy anew"
        )


def _fits(belief: Belief, width: int) -> bool:
    of_draws = len(belief.draws) in {0, DRAWS * width * _DRAW_BYTES}
    return len(belief.means) == len(belief.deviations) == width and of_draws


def _is_possible(belief: Belief) -> bool:
    deviations = np.array([*belief.deviations, belief.shared])
    numbers = (np.array(belief.means), deviations, np.frombuffer(belief.draws, dtype="<f4"))
    is_finite = all(bool(np.isfinite(each).all()) for each in numbers)
    return is_finite and bool((deviations >= 0).all()) and (belief.take_rate is None or 0 <= belief.take_rate <= 1)


def prior_snapshot(catalogue: Catalogue) -> PolicySnapshot:
    """Return the beliefs with which a catalogue starts."""
    beliefs = {action.name: prior_belief(action) for action in catalogue.actions}
    digest = hashlib.blake2b(msgspec.json.encode(beliefs, order="deterministic"), digest_size=4).hexdigest()
    return PolicySnapshot(version=f"prior-{digest}", context=CONTEXT, beliefs=beliefs)


def prior_belief(action: Action, width: int = len(CONTEXT)) -> Belief:
    """Return what the catalogue says of an action: an uplift per tier, the same whatever the other columns hold.

    `width` is how many columns there are; those of the tiers come first.
    """
    by_tier = action.uplift.by_tier
    others = width - len(TIERS)
    return Belief(
        means=(*(by_tier.get(tier, 0.0) for tier in TIERS), *(0.0,) * others),
        deviations=(*(action.uplift.uncertainty,) * len(TIERS), *(0.0,) * others),
        shared=SHARED_DEVIATION,
    )


def context_of(point: DecisionPoint) -> tuple[float, ...]:
    """Return the context columns of a decision point."""
    return context_from(point.tier, circumstances_of(point))


def circumstances_of(point: DecisionPoint) -> tuple[float, ...]:
    """Return the context columns that follow those of the tiers."""
    facts = point.facts
    sent, clicked = facts.messages_30d(point.now_ms)
    return (
        facts.discount_share,
        max(0.0, -facts.sentiment),
        math.log1p(facts.value_at_stake(point.now_ms)),
        min(sent, FATIGUE_LIMIT),
        (clicked + USUAL_CLICKS) / (sent + 1.0) - USUAL_CLICKS,
        max(0.0, point.probability - _IN_REACH) / (1.0 - _IN_REACH),
    )


def context_matrix(
    tiers: NDArray[np.int64],
    discount_shares: NDArray[np.float64],
    unhappiness: NDArray[np.float64],
    stakes: NDArray[np.float64],
    sent: NDArray[np.float64],
    clicked: NDArray[np.float64],
    probabilities: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the context columns of many customers, (customer, column), as `context_of` does for one."""
    return np.column_stack(
        [
            *(tiers == index for index in range(len(TIERS))),
            discount_shares,
            unhappiness,
            np.log1p(stakes),
            np.minimum(sent, FATIGUE_LIMIT),
            (clicked + USUAL_CLICKS) / (sent + 1.0) - USUAL_CLICKS,
            np.maximum(0.0, probabilities - _IN_REACH) / (1.0 - _IN_REACH),
        ]
    ).astype(np.float64)


def context_from(tier: int, circumstances: tuple[float, ...]) -> tuple[float, ...]:
    """Return the context columns of a tier and its circumstances."""
    return (*(float(index == tier) for index in range(len(TIERS))), *circumstances)


def uplift_of(action: Action, columns: tuple[float, ...], snapshot: PolicySnapshot) -> tuple[float, float]:
    """Return mean and standard deviation of an action's believed uplift, given the columns of the policy's context."""
    belief = snapshot.beliefs.get(action.name) or prior_belief(action, len(columns))
    mean = sum(weight * x for weight, x in zip(belief.means, columns, strict=True))
    deviation = math.sqrt(sum((s * x) ** 2 for s, x in zip(belief.deviations, columns, strict=True)))
    return mean, deviation


def expected_gain(
    action: Action, point: DecisionPoint, catalogue: Catalogue, snapshot: PolicySnapshot, course: Course | None = None
) -> float:
    """Return what acting is expected to gain over doing nothing, in shop currency, less its cost."""
    mean, _ = uplift_of(action, columns_for(action, context_of(point), snapshot, course), snapshot)
    stake = point.facts.value_at_stake(point.now_ms) * catalogue.margin
    return mean * stake - expected_cost(action, point.facts.mean_amount, snapshot)


def choose(
    actions: Sequence[Action],
    point: DecisionPoint,
    catalogue: Catalogue,
    snapshot: PolicySnapshot,
    course: Course | None = None,
) -> Choice:
    """Return the probability vector over doing nothing and the allowed actions that a policy gives at a point."""
    stake = point.facts.value_at_stake(point.now_ms) * catalogue.margin
    return choose_by(actions, context_of(point), stake, point.facts.mean_amount, snapshot, course)


def columns_for(
    action: Action, context: tuple[float, ...], snapshot: PolicySnapshot, course: Course | None
) -> tuple[float, ...]:
    """Return what a policy looks at when it weighs an action.

    Raises
    ------
    ValueError
        It looks at the course of the customer, and that is not known.
    """
    if not snapshot.is_sequential:
        return context
    if course is None:
        raise ValueError(
            f"policy {snapshot.version} looks at the course of the customer, and a decision was logged without it: log"
            " decisions with this build first"
        )
    return (*context, *course.step(action.name))


def choose_by(
    actions: Sequence[Action],
    context: tuple[float, ...],
    stake: float,
    usual_order: float,
    snapshot: PolicySnapshot,
    course: Course | None = None,
) -> Choice:
    """Return the probability vector over doing nothing and the allowed actions; it sums to 1 and keeps the floors.

    The order of `actions` does not matter: the vector is in order of names, doing nothing first.

    Parameters
    ----------
    actions
        What the guardrails allow.
    context
        Values of `CONTEXT`.
    stake
        Margin that is lost with the customer, shop currency.
    usual_order
        Mean order value, shop currency: incentives may be shares of it.
    snapshot
        What is believed.
    course
        Where the customer stands; needed by a policy over sequences.

    Raises
    ------
    ValueError
        The snapshot was learned on another context, or needs the course, or there are more actions than the floors
        leave room for.
    """
    if snapshot.context not in {CONTEXT, SEQUENTIAL}:
        raise ValueError(
            f"policy {snapshot.version} was learned on the context {snapshot.context}, this build uses {CONTEXT}"
        )
    if len(context) != len(CONTEXT):
        raise ValueError(
            f"a decision was logged with {len(context)} context columns, this build uses {len(CONTEXT)}"
            f" ({', '.join(CONTEXT)}): log decisions with this build first"
        )
    free = 1.0 - FLOOR_NOTHING - FLOOR_ACTION * len(actions)
    if free < 0:
        raise ValueError(f"{len(actions)} allowed actions are more than the floors leave room for")
    ordered = sorted(actions, key=lambda action: action.name)
    gains = np.zeros((len(ordered) + 1, DRAWS))
    expected = {NOTHING: 0.0}
    for row, action in enumerate(ordered, start=1):
        cost = expected_cost(action, usual_order, snapshot)
        means, draws = uplift_draws(action, np.array([columns_for(action, context, snapshot, course)]), snapshot)
        gains[row] = draws[0] * stake - cost
        expected[action.name] = float(means[0]) * stake - cost
    wins = np.bincount(gains.argmax(axis=0), minlength=len(ordered) + 1)
    probabilities = {NOTHING: FLOOR_NOTHING + free * float(wins[0]) / DRAWS}
    for row, action in enumerate(ordered, start=1):
        probabilities[action.name] = FLOOR_ACTION + free * float(wins[row]) / DRAWS
    return Choice(probabilities=probabilities, expected_gains=expected)


def draw(choice: Choice, customer_id: str, epoch: int, salt: str) -> str:
    """Return what is drawn for a customer in an epoch; the same for the same choice, customer, epoch and salt."""
    remaining = unit_draw("draw", salt, customer_id, epoch)
    name = NOTHING
    for name, probability in choice.probabilities.items():  # noqa: B007 - rounding may leave a rest: it falls to the last name
        remaining -= probability
        if remaining < 0:
            break
    return name


def incentive_of(action: Action, usual_order: float) -> float:
    """Return what is given away if the customer takes it, in shop currency."""
    return action.incentive + action.incentive_share * usual_order


def expected_cost(action: Action, usual_order: float, snapshot: PolicySnapshot | None = None) -> float:
    """Return the cost of a contact and of what customers take of its incentive, on average.

    How many take it is learned (`snapshot`), or else what the catalogue says.
    """
    belief = snapshot.beliefs.get(action.name) if snapshot is not None else None
    seen = belief.take_rate if belief is not None else None
    return action.cost + (action.take_rate if seen is None else seen) * incentive_of(action, usual_order)


def committed_cost(action: Action, usual_order: float) -> float:
    """Return the cost of a contact whose incentive is taken on a usual order: what the budget sets aside."""
    return action.cost + incentive_of(action, usual_order)


def uplift_draws(
    action: Action, contexts: NDArray[np.float64], snapshot: PolicySnapshot
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what an action is believed to take off the churn probability of some customers.

    Parameters
    ----------
    action
        Of the catalogue.
    contexts
        (customer, column of the policy's context).
    snapshot
        What is believed.

    Returns
    -------
    tuple
        Means by customer, and the fixed set of draws, (customer, draw).
    """
    belief = snapshot.beliefs.get(action.name) or prior_belief(action, contexts.shape[1])
    means = (contexts * np.array(belief.means)).sum(axis=1)
    if not belief.draws:
        deviations = np.sqrt(((contexts * np.array(belief.deviations)) ** 2).sum(axis=1))
        noise = deviations[:, None] * _normal_draws(action.name) + belief.shared * _normal_draws(NOTHING)
        return means, means[:, None] + EXPLORATION * noise
    rows = np.frombuffer(belief.draws, dtype="<f4").reshape(DRAWS, contexts.shape[1]).astype(np.float64)
    if len(contexts) == 1:
        # No matrix product: its order of summation, and so the last bit of a decision, may differ between machines.
        return means, (rows * contexts).sum(axis=1)[None, :]
    return means, contexts @ rows.T


@lru_cache(maxsize=256)
def _normal_draws(action: str) -> NDArray[np.float64]:
    # Seeded by the action's name, so that actions may come and go without changing the draws of the others.
    normal = NormalDist()
    return np.array(
        [normal.inv_cdf(min(max(unit_draw("thompson", action, k), 1e-12), 1 - 1e-12)) for k in range(DRAWS)]
    )
