"""How often customers look in, whether they buy or not."""

import numpy as np

from stream_app.simulation.dynamics import State, rhythm
from stream_app.simulation.people import People
from stream_app.simulation.randomness import Floats
from stream_app.simulation.world import World

_LINGERING = 0.03
"""Share of the visits that a departed customer still makes: links in old mails, habit, price checks."""
_SHIFT_ON_VISITS = 0.4


def visit_intensity(people: People, world: World, state: State, day: int) -> Floats:
    """Return each customer's visit intensity on a day (1/day).

    Visits follow the need (the rhythm of buyers), the mood, the season and what messages stir up; they all but stop at
    true churn, which is what makes clicks tell more than orders do.
    """
    log_factor = (0.6 * world.season[:, day] + 1.2 * world.discount[:, day])[people.region]
    log_factor = log_factor + 0.3 * state.mood + 0.4 * state.boost - _SHIFT_ON_VISITS * world.shift[day]
    need = np.where(people.buyer, 0.5 + 0.5 * rhythm(people, state), 1.0)
    intensity: Floats = people.visits_per_day * need * np.exp(log_factor)
    return np.minimum(intensity * np.where(state.alive, 1.0, _LINGERING), 3.0)
