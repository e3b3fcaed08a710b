"""What a policy that knows the truth would do, and what any policy is worth: the yardstick for learnt policies.

Because every draw is keyed, two runs of one shop under two policies differ only by what the policies did: their
difference is a paired comparison, free of the noise of the rest.
"""

from collections.abc import Callable

import msgspec
import numpy as np

from stream_app.simulation.actions import ACTION_KINDS, COUPON, COUPON_DISCOUNT
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.places import Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.shop import Shop
from stream_app.simulation.truth import silence_probability

NOTHING = -1
"""The choice of no message."""

Policy = Callable[[Shop, Indexes], Indexes]
"""Given a shop before its next day and some customers, the action kind for each, or NOTHING."""


class Economics(msgspec.Struct, frozen=True):
    """What an order and a message are worth, in EUR."""

    margin: float = 0.3
    """Share of the revenue that is left."""
    message_cost: tuple[float, ...] = (0.1, 6.0, 2.0, 1.5, 0.1, 1.0, 0.1, 0.2, 0.2)
    """By action kind; the discount of a coupon is in the revenue already."""
    customer_value: float = 30.0
    """What a customer brings after the horizon, lost with one who leaves."""


class PolicyValue(msgspec.Struct, frozen=True):
    """What one run under a policy brought."""

    revenue: float
    cost: float
    messages: int
    customers_left: int
    """Customers who had truly churned at the end."""
    value: float
    """Margin of the revenue, less the cost of the messages and the worth of the customers who left."""


def effects(shop: Shop, who: Indexes, horizon_days: int) -> Floats:
    """Return by how much each action raises P(an order within the horizon), (customer, action kind)."""
    untreated = silence_probability(shop, who, horizon_days)
    columns = [untreated - silence_probability(shop, who, horizon_days, action) for action in range(len(ACTION_KINDS))]
    return np.stack(columns, axis=1)


def oracle(economics: Economics, horizon_days: int = 30, order_value: float = 40.0) -> Policy:
    """Return the policy that takes the action of the largest true gain over the horizon, or none where none pays.

    A one-step oracle: it sees fatigue as it is, not what its own messages will do to later ones. `order_value` is the
    mean value of an order in EUR.
    """
    costs = np.array(economics.message_cost)

    def choose(shop: Shop, who: Indexes) -> Indexes:
        gained = effects(shop, who, horizon_days)
        worth = gained * (order_value * economics.margin + economics.customer_value * 0.5) - costs
        likely = 1.0 - silence_probability(shop, who, horizon_days)
        worth[:, COUPON] -= COUPON_DISCOUNT * order_value * (likely + gained[:, COUPON])
        best = worth.argmax(axis=1)
        return np.where(worth.max(axis=1) > 0.0, best, NOTHING)

    return choose


def at_random(share: float, seed: int) -> Policy:
    """Return the policy that sends a random action to a share of the customers."""

    def choose(shop: Shop, who: Indexes) -> Indexes:
        keys = shop.people.key[who]
        action = (shop.chance.uniforms(f"random policy {seed}", keys, shop.day) * len(ACTION_KINDS)).astype(np.int64)
        sent = shop.chance.uniforms(f"random policy {seed} sends", keys, shop.day) < share
        return np.where(sent, action, NOTHING)

    return choose


def value_of(policy: Policy | None, config: ShopConfig, economics: Economics, every_days: int = 14) -> PolicyValue:
    """Run a shop under a policy that decides about everybody every so many days, and add up.

    Parameters
    ----------
    policy
        None: no messages at all.
    config
        The shop; give the same for all policies that are compared.
    economics
        What is added up.
    every_days
        Days between decisions.
    """
    shop = Shop(config)
    cost, messages = 0.0, 0
    while shop.day < config.days:
        if policy is not None and shop.day and shop.day % every_days == 0:
            who = np.arange(shop.present(shop.day - 1))
            chosen = policy(shop, who)
            for number, action in zip(who.tolist(), chosen.tolist(), strict=True):
                if action != NOTHING:
                    name = shop.names[number]
                    shop.react(name, f"{name}-{shop.day}", ACTION_KINDS[action], "email", shop.now_ms)
                    cost += economics.message_cost[action]
                    messages += 1
        shop.skip_day()
    return worth_of(shop, economics, cost, messages)


def worth_of(shop: Shop, economics: Economics, cost: float, messages: int) -> PolicyValue:
    """Return what a shop has brought so far, e.g. at the end of a closed loop with an engine (see `loop`).

    Parameters
    ----------
    shop
        Lived through by whatever policy.
    economics
        What is added up.
    cost
        Of all messages, in EUR.
    messages
        How many were sent.
    """
    left = int((~shop.state.alive).sum())
    revenue = float(shop.revenue.sum())
    value = economics.margin * revenue - cost - economics.customer_value * left
    return PolicyValue(revenue=revenue, cost=cost, messages=messages, customers_left=left, value=value)
