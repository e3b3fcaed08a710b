"""What a message is worth in truth: by how much it lowers the probability that a customer stays silent.

Exact given the latent state, under no further contact: no chance is involved. The worth of acting is counted against
never contacting again. Summed over the decisions that a policy takes on its own way, such gains are the policy's value
less that of silence (the performance difference lemma: Kakade and Langford, "Approximately optimal approximate
reinforcement learning", ICML 2002), in the product's currency: customers saved, each worth the margin at stake.
"""

from typing import NamedTuple

import numpy as np

from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.policy import incentive_of
from stream_app.simulation.actions import ACTION_KINDS, COUPON, COUPON_DAYS, action_index
from stream_app.simulation.dynamics import State, no_order_probability
from stream_app.simulation.messages import BOUNCE, penalised
from stream_app.simulation.people import People
from stream_app.simulation.randomness import Floats
from stream_app.simulation.world import World


class Truth(NamedTuple):
    """What each kind of message would do to some customers."""

    saved: Floats
    """(customer, kind of action): fall of P(no order within the horizon)."""
    taken: Floats
    """P(a coupon sent now is redeemed)."""


def truth_ahead(people: People, world: World, state: State, day: int, horizon_days: int) -> Truth:
    """Return what a message of each kind just before `day` would do; people and state are not changed."""
    untreated = no_order_probability(people, world, state, day, horizon_days)
    saved = [
        (1.0 - BOUNCE) * (untreated - no_order_probability(people, world, state, day, horizon_days, action))
        for action in range(len(ACTION_KINDS))
    ]
    taken = 1.0 - no_order_probability(people, world, state, day, min(COUPON_DAYS, horizon_days), COUPON)
    return Truth(np.column_stack(saved), (1.0 - BOUNCE) * taken)


def gain_of(
    action: Action, truth: Truth, penalty: Floats, stake: Floats, usual_order: Floats, catalogue: Catalogue
) -> Floats:
    """Return what an action brings with each customer, shop currency: margin saved, less all that it costs.

    Parameters
    ----------
    action
        Of the catalogue.
    truth
        What messages do, or what is believed that they do.
    penalty
        Expected, for what customers resent.
    stake, usual_order
        Value at stake and mean order, shop currency, by customer.
    catalogue
        Margin.
    """
    kind = action_index(action.kind)
    gain: Floats = truth.saved[:, kind] * stake * catalogue.margin - action.cost - penalty
    if kind == COUPON:
        gain -= truth.taken * np.array([incentive_of(action, usual) for usual in usual_order.tolist()])
    return gain


def penalty_of(people: People, state: State, channel: str, catalogue: Catalogue) -> Floats:
    """Return what a message now is expected to cost in unsubscriptions and complaints, shop currency."""
    unsubscribing, complaining = penalised(people, state, channel)
    return catalogue.unsubscribe_penalty * unsubscribing + catalogue.complaint_penalty * complaining
