"""What matured decisions of an arena teach the product's learners, many at once."""

from typing import NamedTuple

import numpy as np

from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.policy import EPOCH_DAYS, expected_cost
from stream_app.decisions.q_learning import QLearner, Steps
from stream_app.simulation.people import Flags
from stream_app.simulation.places import Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.sight import View

Pupil = PolicyLearner | QLearner


class Matured(NamedTuple):
    """Decisions whose window has ended; a row each."""

    view: View
    action: Indexes
    """Column of the draw: 0 is nothing."""
    chosen: Floats
    """(decision, doing nothing and then each action): probabilities."""
    is_treated: Flags
    orders: Indexes
    """In the window."""
    penalty: Floats
    """For what the customer resented, shop currency."""
    redeemed: Flags
    courses_after: Floats
    """(decision, column of `decisions.courses.COURSE`), at the end of the window."""


def teach(pupil: Pupil, catalogue: Catalogue, matured: Matured) -> None:
    """Teach a pupil, exactly as the outcomes of these decisions would one by one."""
    view = matured.view
    columns = np.array([pupil.names.index(action.name) for action in catalogue.actions])
    sent = np.where(matured.is_treated & (matured.action > 0), columns[matured.action - 1], -1)
    propensities = np.zeros_like(matured.chosen[:, 1:])
    propensities[:, columns] = matured.chosen[:, 1:] * matured.is_treated[:, None]
    penalties = matured.penalty / (view.stake * catalogue.margin)
    if isinstance(pupil, PolicyLearner):
        pupil.learn_block(view.context, sent, propensities, (matured.orders > 0) - penalties, matured.redeemed)
        return
    treated = np.flatnonzero(matured.is_treated)
    some = view.only(treated)
    allowed, costs = np.zeros((2, len(treated), len(columns)))
    allowed[:, columns] = some.allowed
    for column, action in zip(columns.tolist(), catalogue.actions, strict=True):
        costs[:, column] = [expected_cost(action, usual) for usual in some.usual_order.tolist()]
    places = np.array([*columns, -1])
    pupil.learn_block(
        Steps(
            contexts=some.context,
            courses=some.courses,
            courses_after=matured.courses_after[treated],
            elapsed_days=np.full(len(treated), float(EPOCH_DAYS)),
            repeated=(places[some.last_action][:, None] == np.arange(len(columns))).astype(np.float64),
            actions=(sent[treated][:, None] == np.arange(len(columns))).astype(np.float64),
            propensities=propensities[treated],
            is_allowed=allowed,
            costs=costs / (some.stake * catalogue.margin)[:, None],
            orders=matured.orders[treated].astype(np.float64),
            penalties=penalties[treated],
            order_shares=some.usual_order / some.stake,
            redeemed=matured.redeemed[treated].astype(np.float64),
        )
    )
