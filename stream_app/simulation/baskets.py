"""What an order holds and costs."""

from dataclasses import dataclass

import numpy as np

from stream_app.simulation.actions import COUPON_DISCOUNT
from stream_app.simulation.people import Flags, People
from stream_app.simulation.places import Assortment, Indexes
from stream_app.simulation.presets import Preset
from stream_app.simulation.randomness import Chance, Floats
from stream_app.simulation.visits import MOST_VIEWS, products_seen


@dataclass(slots=True)
class Baskets:
    """The orders of one day; lines are columns grouped by order."""

    who: Indexes
    lines: Indexes
    """Number of lines, by order."""
    product: Indexes
    """By line."""
    quantity: Indexes
    """By line."""
    gross: Floats
    """Value before discount in EUR, by order."""
    discount: Floats
    coupon: Flags
    """The order used a coupon."""


def line_counts(people: People, preset: Preset, chance: Chance, day: int, who: Indexes) -> Indexes:
    """Return how many lines each order has: geometric, with a mean that grows with the customer's spend."""
    mean = preset.basket_lines * people.spend[who] ** 0.7
    mean = mean / preset.basket_shape
    more = np.zeros(len(who))
    for part in range(preset.basket_shape):
        unit = chance.uniforms("lines", people.key[who], day, part)
        more += np.floor(np.log(unit) / np.log(mean / (1.0 + mean)))
    counts: Indexes = np.minimum(1 + more, MOST_VIEWS).astype(np.int64)
    return counts


def draw_baskets(
    people: People,
    assortment: Assortment,
    preset: Preset,
    chance: Chance,
    day: int,
    who: Indexes,
    lines: Indexes,
    promotion: Floats,
    coupon: Flags,
    price: Floats,
) -> Baskets:
    """Fill the baskets of a day; `promotion` is the discount in force and `coupon` whether one is held, by order.

    `price` is what each product of the assortment costs on that day.
    """
    order = np.repeat(np.arange(len(who)), lines)
    item = np.arange(len(order)) - (np.cumsum(lines) - lines)[order]
    product = products_seen(people, assortment, chance, who[order], day, item)
    noise = chance.normals("quantity", people.key[who[order]], day, item)
    quantity = np.floor(people.spend[who[order]] ** 0.6 * np.exp(preset.quantity_sigma * noise) + 0.35)
    quantity = np.clip(quantity, 1, 500).astype(np.int64)
    gross: Floats = np.bincount(order, weights=price[product] * quantity, minlength=len(who)).astype(np.float64)
    keen = chance.uniforms("uses promotion", people.key[who], day) < 0.3 + 0.4 * people.promotion_pull[who]
    share = np.maximum(np.where(keen, promotion, 0.0), np.where(coupon, COUPON_DISCOUNT, 0.0))
    return Baskets(who, lines, product, quantity, gross, np.round(gross * share, 2), coupon)
