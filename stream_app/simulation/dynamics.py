"""The law by which customers live: a day of hazards, ageing and contact, shared by the shop and the truth about it.

A day goes: a customer leaves for good with the leave probability; who stays orders with probability 1 -
exp(-intensity); then everything ages by a day. What a message does starts on the day after it. Because chance enters
only through orders and leaving, the probability of no order over any horizon is an exact recursion over days
(`no_order_probability`).
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.actions import (
    ANNOYANCE,
    BOOST,
    BOOST_DECAY,
    CONSOLATION,
    COUPON,
    COUPON_DAYS,
    DRIVEN_AWAY,
    FATIGUE_DECAY,
    FAVOURITE_FACTOR,
    WAIT_DECAY,
    WAIT_PER_COUPON,
)
from stream_app.simulation.people import Flags, Kind, People, Rows
from stream_app.simulation.randomness import Floats
from stream_app.simulation.world import World

_MOOD_DECAY = 0.985
_MOOD_LIMIT = 2.5
_MOOD_ON_ORDERS = 0.35
_MOOD_ON_LEAVING = 1.1
_TROUBLE_ON_ORDERS = 0.12
_ARRIVAL_INTENSITY = 0.8
_RHYTHM_LIMITS = (0.05, 3.0)
_SHIFT_ON_ORDERS, _SHIFT_ON_LEAVING = 0.5, 1.1
_DISCOUNT_PULL = 3.0
_BOOST_ON_LEAVING = 1.0
_PRICE_ELASTICITY = 1.5


@dataclass(slots=True)
class State:
    """What changes about each customer; columns in the order of `People`."""

    alive: Flags
    """False after true churn, which nobody in the shop sees."""
    since_order: Floats
    """Days since the last order (or what stands for it before the first)."""
    mood: Floats
    boost: Floats
    """Log of the factor on the order intensity that messages have left."""
    fatigue: Floats
    """Recent messages, fading."""
    coupon_days: NDArray[np.int32]
    """Days for which a coupon can still be used."""
    wait: Floats
    """What a coupon-lover has learnt: log of how much is held back without a coupon."""
    orders: NDArray[np.int32]

    def rows(self, index: Rows) -> "State":
        """Return some customers: views for a slice, copies for indexes."""
        return State(*(getattr(self, field.name)[index] for field in fields(self)))

    def copy(self) -> "State":
        """Return a state of its own."""
        return State(*(getattr(self, field.name).copy() for field in fields(self)))


def initial_state(people: People) -> State:
    """Return everybody as on the first day."""
    count = len(people)
    known = people.arrival == 0
    return State(
        alive=np.ones(count, dtype=np.bool_),
        since_order=np.where(known, people.initial_gap, 0.4 * people.cadence_days),
        mood=people.mood.copy(),
        boost=np.zeros(count),
        fatigue=np.zeros(count),
        coupon_days=np.zeros(count, dtype=np.int32),
        wait=np.zeros(count),
        orders=np.zeros(count, dtype=np.int32),
    )


def rhythm(people: People, state: State) -> Floats:
    """Return the factor of the own cadence: the Weibull hazard at the days since the last order, clipped."""
    position = (state.since_order + 0.5) / people.cadence_days
    power: Floats = people.regularity * position ** (people.regularity - 1.0)
    return np.clip(power, *_RHYTHM_LIMITS)


def order_intensity(people: People, world: World, state: State, day: int) -> Floats:
    """Return each living customer's order intensity on a day (1/day); zero for browsers and the departed."""
    log_factor = (world.season[:, day] - _TROUBLE_ON_ORDERS * world.trouble[:, :, day].sum(axis=1))[people.region]
    log_factor = log_factor + (_DISCOUNT_PULL * world.discount[:, day])[people.region] * people.promotion_pull
    log_factor += _MOOD_ON_ORDERS * state.mood - _PRICE_ELASTICITY * np.log(world.price_level[day])
    log_factor += state.boost
    log_factor -= np.where(state.coupon_days > 0, 0.0, state.wait)
    log_factor -= _SHIFT_ON_ORDERS * world.shift[day]
    intensity: Floats = rhythm(people, state) * np.exp(log_factor) / people.cadence_days
    intensity += np.where((people.arrival == day) & (day > 0), _ARRIVAL_INTENSITY, 0.0)
    intensity *= people.buyer & state.alive
    return intensity


def leave_probability(people: People, world: World, state: State, day: int) -> Floats:
    """Return the probability that a living customer leaves for good on a day."""
    log_factor = -_MOOD_ON_LEAVING * state.mood - _BOOST_ON_LEAVING * np.maximum(state.boost, 0.0)
    chance: Floats = people.leave_per_day * np.exp(log_factor + _SHIFT_ON_LEAVING * world.shift[day])
    return np.minimum(chance, 0.25)


def age(people: People, state: State) -> None:
    """Let a day pass, in place: rhythm moves on, mood returns to its level, messages fade."""
    state.since_order += 1.0
    state.mood -= people.mood
    state.mood *= _MOOD_DECAY
    state.mood += people.mood
    state.boost *= BOOST_DECAY
    state.fatigue *= FATIGUE_DECAY
    state.wait *= WAIT_DECAY
    np.maximum(state.coupon_days - 1, 0, out=state.coupon_days)


def contact(people: People, state: State, action: int) -> Floats:
    """Let one message of an action kind work on all given customers, in place; return P(leaves for good because of it).

    Whether they leave is for the caller to draw or to reckon with. Fatigue weakens what is good about a message and
    strengthens what is bad.
    """
    freshness = np.exp(-0.5 * state.fatigue)
    taste = people.persuasion * np.where(people.favourite_action == action, FAVOURITE_FACTOR, 1.0)
    gain = BOOST[:, action][people.kind]
    state.boost += np.where(gain > 0, gain * freshness * taste, gain)
    np.clip(state.boost, -1.5, 2.0, out=state.boost)
    consoled = CONSOLATION[action] * freshness * (people.kind == Kind.PERSUADABLE)
    state.mood += consoled - ANNOYANCE[action] * state.fatigue
    np.clip(state.mood, -_MOOD_LIMIT, _MOOD_LIMIT, out=state.mood)
    if action == COUPON:
        state.coupon_days[:] = COUPON_DAYS
        learnt = np.minimum(state.wait + WAIT_PER_COUPON, 4 * WAIT_PER_COUPON)
        state.wait[:] = np.where(people.kind == Kind.COUPON_LOVER, learnt, state.wait)
    state.fatigue += 1.0
    driven: Floats = DRIVEN_AWAY[:, action][people.kind] * (1.0 + 0.5 * (state.fatigue - 1.0))
    return np.minimum(driven, 0.5) * state.alive


def settle_orders(people: People, state: State, who: NDArray[np.int64], experience: Floats) -> Floats:
    """Note the orders of some customers, in place; return P(leaves for good after this order).

    `experience` is in standard deviations of an order's experience; it moves the mood.
    """
    won_back = np.exp(-_BOOST_ON_LEAVING * np.maximum(state.boost[who], 0.0))
    state.since_order[who] = -1.0  # ageing makes it 0 on the morrow
    state.boost[who] = 0.0
    state.coupon_days[who] = 0
    state.orders[who] += 1
    state.mood[who] = np.clip(state.mood[who] + 0.3 * experience, -_MOOD_LIMIT, _MOOD_LIMIT)
    base = people.leave_after_first[who] * np.where(state.orders[who] == 1, 1.0, 1 / 3)
    base = np.where((people.arrival[who] == 0) & (state.orders[who] == 1), base / 3, base)
    leaving: Floats = np.minimum(base * won_back * np.exp(-0.5 * state.mood[who]), 0.95)
    return leaving


def no_order_probability(
    people: People, world: World, state: State, day: int, horizon_days: int, action: int | None = None
) -> Floats:
    """Return P(no order on days `day` .. `day + horizon_days - 1`), given the latent state at the start of `day`.

    Exact under no further contact; with `action`, one message of that kind arrives just before `day`. The state is not
    changed.
    """
    future = state.copy()
    staying = future.alive.astype(np.float64)
    if action is not None:
        staying *= 1.0 - contact(people, future, action)
    gone = 1.0 - staying
    future.alive[:] = True
    for later in range(day, day + horizon_days):
        leaving = leave_probability(people, world, future, later)
        gone += staying * leaving
        staying *= (1.0 - leaving) * np.exp(-order_intensity(people, world, future, later))
        age(people, future)
    return np.minimum(gone + staying, 1.0)  # the sum may round to a hair above one
