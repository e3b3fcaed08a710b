"""Columns of clicks and orders to contract JSON, fast: a click costs one formatted string of prepared fragments."""

import numpy as np

from stream_app.core.times import DAY_MS
from stream_app.simulation.announcements import CURRENCY
from stream_app.simulation.baskets import Baskets
from stream_app.simulation.clock_text import MILLIS, SECONDS, date_text
from stream_app.simulation.people import People
from stream_app.simulation.places import CATEGORIES, REGIONS, Assortment, Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.visits import CLICK_TYPES, Visits

CHANNELS: tuple[str, ...] = ("web", "app", "mobile-web")
COUPON_CODE = "COMEBACK15"
PROMOTION_CODE = "PROMO"
_SEARCH = CLICK_TYPES.index("search")


class Encoder:
    """Prepared text fragments of one shop; produces bytes that the contract models accept (a law in the tests)."""

    def __init__(self, assortment: Assortment, names: list[str], first_day: int) -> None:
        self._names = names
        self._first_day = first_day
        self._assortment = assortment
        self._products: list[str] = []
        self._lines: list[tuple[str, str]] = []
        self.reprice(assortment.price)
        self._types = [f'","event_type":"{name}' for name in CLICK_TYPES]
        self._channels = [f',"channel":"{name}"}}' for name in CHANNELS]

    def reprice(self, prices: Floats) -> None:
        """Use other prices from now on."""
        goods = self._assortment
        rows = list(zip(goods.ids, goods.category.tolist(), prices.tolist(), strict=True))
        self._products = [
            f',"product_id":"{product}","category":"{CATEGORIES[category]}","price":{price:.2f}'
            for product, category, price in rows
        ]
        self._lines = [
            (
                f'{{"product_id":"{product}","quantity":',
                f',"unit_price":{price:.2f},"category":"{CATEGORIES[category]}"}}',
            )
            for product, category, price in rows
        ]

    def clicks(self, people: People, visits: Visits, day: int) -> list[bytes]:
        """Return one JSON object per click."""
        prefix = date_text(self._first_day + day)
        names, types, products, channels = self._names, self._types, self._products, self._channels
        seconds, millis = SECONDS, MILLIS
        rows = zip(
            visits.customer.tolist(),
            visits.number.tolist(),
            visits.position.tolist(),
            (visits.at_ms // 1000).tolist(),
            (visits.at_ms % 1000).tolist(),
            visits.kind.tolist(),
            visits.product.tolist(),
            people.channel[visits.customer].tolist(),
            people.favourite[visits.customer].tolist(),
            strict=True,
        )
        found = []
        for who, number, position, second, milli, kind, product, channel, favourite in rows:
            name = names[who]
            visit = f"{name}-{day}-{number}"
            if product >= 0:
                about = products[product]
            elif kind == _SEARCH:
                about = f',"query":"{CATEGORIES[favourite]}"'
            else:
                about = ""
            found.append(
                f'{{"customer_id":"{name}","timestamp":"{prefix}{seconds[second]}{millis[milli]}","event_id":"{visit}-{position}'
                f'{types[kind]}","session_id":"{visit}"{about}{channels[channel]}'
            )
        # Encoding all at once is several times as fast as line by line; no value holds a line break.
        return "\n".join(found).encode().split(b"\n") if found else []

    def orders(self, people: People, baskets: Baskets, at_ms: Indexes, day: int) -> list[bytes]:
        """Return one JSON object per order; `at_ms` counts from midnight."""
        prefix = date_text(self._first_day + day)
        products, quantities = baskets.product.tolist(), baskets.quantity.tolist()
        last = np.cumsum(baskets.lines).tolist()
        found = []
        begin = 0
        for row, who in enumerate(baskets.who.tolist()):
            name = self._names[who]
            lines = self._lines
            items = ",".join(
                f"{lines[product][0]}{quantity}{lines[product][1]}"
                for product, quantity in zip(products[begin : last[row]], quantities[begin : last[row]], strict=True)
            )
            begin = last[row]
            discount = float(baskets.discount[row])
            paid = float(baskets.gross[row]) - discount
            coupon = f',"coupon":"{COUPON_CODE if baskets.coupon[row] else PROMOTION_CODE}"' if discount > 0 else ""
            second, milli = divmod(int(at_ms[row]), 1000)
            found.append(
                f'{{"customer_id":"{name}","timestamp":"{prefix}{SECONDS[second]}{MILLIS[milli]}","event_id":"{name}-{day}-o",'
                f'"order_id":"{name}-{day}","items":[{items}],"amount":{paid:.2f},"currency":"{CURRENCY}",'
                f'"status":"completed","discount":{discount:.2f}{coupon},"channel":"{CHANNELS[int(people.channel[who])]}",'
                f'"region":"{REGIONS[int(people.region[who])].name}"}}'.encode()
            )
        return found

    def day_ms(self, day: int) -> int:
        """Return when a day of the run begins, ms since the epoch."""
        return (self._first_day + day) * DAY_MS
