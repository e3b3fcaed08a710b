"""The visits of one day: how long, what was looked at, what went into the cart; all customers at once."""

from dataclasses import dataclass

import numpy as np

from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS
from stream_app.simulation.people import Flags, People
from stream_app.simulation.places import CATEGORIES, Assortment, Indexes
from stream_app.simulation.randomness import Chance, Floats

CLICK_TYPES: tuple[str, ...] = (
    "page_view",
    "product_list_view",
    "search",
    "login",
    "promotion_click",
    "product_view",
    "add_to_cart",
    "cart_view",
    "checkout_start",
    "payment_info",
    "add_to_wishlist",
    "remove_from_cart",
)
_VIEW = CLICK_TYPES.index("product_view")
_ADD = CLICK_TYPES.index("add_to_cart")
_CHECKOUT: Indexes = np.array([CLICK_TYPES.index(name) for name in ("cart_view", "checkout_start", "payment_info")])
# What a visit without an order may end with after the views; row 0: nothing.
_ENDINGS: Indexes = np.array(
    [
        [-1, -1, -1],
        [_ADD, -1, -1],
        [_ADD, _CHECKOUT[0], -1],
        [_ADD, _CHECKOUT[0], _CHECKOUT[1]],
        [_ADD, CLICK_TYPES.index("remove_from_cart"), -1],
        [CLICK_TYPES.index("add_to_wishlist"), -1, -1],
    ]
)
_ENDING_LENGTH: Indexes = (_ENDINGS >= 0).sum(axis=1)
_ENDING_SHARES: Floats = np.cumsum([0.85, 0.07, 0.03, 0.02, 0.01])
_ENTRY_SHARES: Floats = np.cumsum([0.35, 0.3, 0.2, 0.1])
_LANDED_SHARE = 0.6
"""Share of the visits without an order that begin on a product, from a search engine or a link."""

MOST_VIEWS = 40
_LONGEST_GAP_MS = 20 * MINUTE_MS
_LONGEST_VISIT_MS = 4 * HOUR_MS
_MORNING_MS = 2 * MINUTE_MS


@dataclass(slots=True)
class Visits:
    """The clicks of a day as columns: one row a click, grouped by visit, in order within the visit."""

    customer: Indexes
    number: Indexes
    """Which visit of the customer's day."""
    position: Indexes
    at_ms: Indexes
    """Milliseconds since midnight UTC."""
    kind: Indexes
    """Index into CLICK_TYPES."""
    product: Indexes
    """Index into the assortment, or -1."""
    visit_end: Indexes
    """Row of the last click, by visit."""


def products_seen(
    people: People, assortment: Assortment, chance: Chance, who: Indexes, day: int, item: Indexes
) -> Indexes:
    """Return the product that is the `item`-th of a day's visit: looked at, and the same one in the order."""
    keys = people.key[who]
    taste = chance.uniforms("category", keys, day, item)
    anything = (chance.uniforms("any category", keys, day, item) * len(CATEGORIES)).astype(np.int64)
    category = np.where(
        taste < 0.55,  # share of the favourite category
        people.favourite[who],
        np.where(taste < 0.8, people.second[who], anything),  # share of the second
    )
    return assortment.pick(category.astype(np.int64), chance.uniforms("product", keys, day, item))


def draw_visits(
    people: People,
    assortment: Assortment,
    chance: Chance,
    day: int,
    who: Indexes,
    number: Indexes,
    lines: Indexes,
    offsets_ms: Indexes,
    promoted: Flags,
) -> Visits:
    """Draw the clicks of some visits of one day.

    `who` and `number` name the visits; `lines` is how many products the visit orders (0: none); `offsets_ms` is how far
    the local clock of each region is ahead of UTC; `promoted` says which regions have a promotion.
    """
    keys = people.key[who]
    spot = day * 8 + number
    # Pareto tail: most visits see one or two products, some see dozens.
    views = 1 + np.floor(chance.uniforms("views", keys, spot) ** -0.62 - 1.0).astype(np.int64)
    views = np.maximum(np.minimum(views, MOST_VIEWS), lines)
    ending = np.searchsorted(_ENDING_SHARES, chance.uniforms("ending", keys, spot), side="right")
    ordering = lines > 0
    tail = np.where(ordering, lines + len(_CHECKOUT), _ENDING_LENGTH[ending])
    landed = (chance.uniforms("landed", keys, spot) < _LANDED_SHARE) & ~ordering
    length = np.where(landed, 0, 1) + views + tail
    entry = np.searchsorted(_ENTRY_SHARES, chance.uniforms("entry", keys, spot), side="right")
    entry = np.where((entry == len(_ENTRY_SHARES)) & ~promoted[people.region[who]], 0, entry)

    visit = np.repeat(np.arange(len(who)), length)
    first = np.cumsum(length) - length
    step = np.arange(len(visit)) - first[visit]
    position = step + landed[visit]  # who lands on a product has skipped position 0, the entry
    after = position - 1 - views[visit]
    paying = np.clip(after - lines[visit], 0, len(_CHECKOUT) - 1)
    closing = np.where(
        ordering[visit],
        np.where(after < lines[visit], _ADD, _CHECKOUT[paying]),
        _ENDINGS[ending[visit], np.clip(after, 0, 2)],
    )
    kind = np.where(position == 0, entry[visit], np.where(after < 0, _VIEW, closing))
    item = np.where(
        after < 0, position - 1, np.where(ordering[visit] & (after < lines[visit]), after, views[visit] - 1)
    )
    about_product = (kind == _VIEW) | (kind == _ADD) | (kind > _CHECKOUT[-1])
    item_key = item + (MOST_VIEWS + 1) * number[visit]
    rows = np.flatnonzero(about_product)
    product = np.full(len(visit), -1, dtype=np.int64)
    product[rows] = products_seen(people, assortment, chance, who[visit[rows]], day, item_key[rows])

    gap = np.exp(3.45 + 1.05 * chance.normals("click gap", keys[visit], spot[visit], step)) * 1000.0
    gap = np.minimum(np.where(step == 0, 0.0, gap), _LONGEST_GAP_MS)
    elapsed = np.cumsum(gap.astype(np.int64) + 1)
    elapsed -= elapsed[first[visit]]
    last = first + length - 1
    stretch = np.minimum(1.0, _LONGEST_VISIT_MS / np.maximum(elapsed[last], 1))
    elapsed = np.floor(elapsed * stretch[visit]).astype(np.int64)
    hour = people.hour[who] + 2.2 * chance.normals("hour of visit", keys, spot)
    start = np.floor(hour * HOUR_MS).astype(np.int64) - offsets_ms[people.region[who]]
    start = np.clip(start % DAY_MS, _MORNING_MS, DAY_MS - 1 - elapsed[last] - 2 * MINUTE_MS)
    return Visits(who[visit], number[visit], step, start[visit] + elapsed, kind, product, last)
