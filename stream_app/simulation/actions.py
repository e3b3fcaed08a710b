"""What each kind of message does to each kind of customer: the truth that a policy has to find."""

import numpy as np

from stream_app.simulation.people import Kind
from stream_app.simulation.randomness import Floats

ACTION_KINDS: tuple[str, ...] = (
    "coupon",
    "birthday_gift",
    "vip_service",
    "personal_care",
    "product_picks",
    "loyalty_points",
    "promotion_news",
    "survey",
    "interactive_activity",
)
COUPON = 0
SURVEY = 7

# Log of the factor on the order intensity of a persuadable right after the message, by action kind.
_PERSUASION = np.array([1.5, 1.3, 1.2, 1.3, 1.0, 0.9, 0.7, 0.25, 0.6])

BOOST: Floats = np.zeros((len(Kind), len(ACTION_KINDS)))
"""Log of the factor on the order intensity, (customer kind, action kind), before fatigue and personal taste."""
BOOST[Kind.PERSUADABLE] = _PERSUASION
BOOST[Kind.COUPON_LOVER, COUPON] = 0.1
BOOST[Kind.SLEEPING_DOG] = -0.4

DRIVEN_AWAY: Floats = np.zeros((len(Kind), len(ACTION_KINDS)))
"""Probability of true churn caused by the message itself."""
DRIVEN_AWAY[Kind.SLEEPING_DOG] = np.array([0.05, 0.04, 0.06, 0.10, 0.06, 0.05, 0.08, 0.08, 0.07])

ANNOYANCE: Floats = np.array([0.02, 0.0, 0.01, 0.04, 0.04, 0.02, 0.07, 0.08, 0.05])
"""Fall of satisfaction per message and unit of fatigue, by action kind."""
CONSOLATION: Floats = np.array([0.05, 0.15, 0.25, 0.35, 0.0, 0.08, 0.0, 0.05, 0.05])
"""Rise of satisfaction of a persuadable whom the message reaches without fatigue, by action kind."""

FAVOURITE_FACTOR = 1.5
"""How much better the customer's favourite action works."""
BOOST_DECAY = 0.92
"""Share of a boost that is left after a day: half of it is gone in eight."""
FATIGUE_DECAY = 0.955
"""Share of fatigue that is left after a day: half of it is gone in fifteen."""
WAIT_DECAY = 0.99
"""Share of a learnt wait for coupons that is left after a day."""
WAIT_PER_COUPON = 0.35
"""By how much a coupon-lover's intensity without a coupon falls (log), per coupon received; at most four times this."""
COUPON_DAYS = 14
COUPON_DISCOUNT = 0.15


def action_index(kind: str) -> int:
    """Return the effect class of an action by its kind or name; what is unknown works like promotion news.

    Catalogues are the user's: `vip`, `VIP service` and `vip_service` are one thing, `call_back` is personal care.
    """
    name = kind.lower().replace("-", "_").replace(" ", "_")
    for index, known in enumerate(ACTION_KINDS):
        if name == known:
            return index
    for word, index in _WORDS:
        if word in name:
            return index
    return ACTION_KINDS.index("promotion_news")


_WORDS: tuple[tuple[str, int], ...] = (
    ("birthday", 1),
    ("coupon", 0),
    ("discount", 0),
    ("voucher", 0),
    ("gift", 1),
    ("vip", 2),
    ("care", 3),
    ("call", 3),
    ("pick", 4),
    ("recommend", 4),
    ("point", 5),
    ("loyalty", 5),
    ("survey", 7),
    ("interactive", 8),
    ("activity", 8),
    ("game", 8),
)
