"""Where customers live and what the shop sells: regions, categories and the draws of products."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.presets import Preset
from stream_app.simulation.randomness import Chance, Floats

Indexes = NDArray[np.int64]


class Region(msgspec.Struct, frozen=True):
    """A part of the world with its own time, language and holidays."""

    name: str
    time_zone: str
    language: str
    share: float
    chinese_calendar: bool = False


REGIONS: tuple[Region, ...] = (
    Region("gb", "Europe/London", "en", 0.22),
    Region("ie", "Europe/Dublin", "en", 0.06),
    Region("us-east", "America/New_York", "en", 0.22),
    Region("us-west", "America/Los_Angeles", "en", 0.14),
    Region("au", "Australia/Sydney", "en", 0.08),
    Region("sg", "Asia/Singapore", "en", 0.06, chinese_calendar=True),
    Region("cn-east", "Asia/Shanghai", "zh", 0.16, chinese_calendar=True),
    Region("tw", "Asia/Taipei", "zh", 0.06, chinese_calendar=True),
)

CATEGORIES: tuple[str, ...] = (
    "books",
    "music",
    "toys",
    "kitchen",
    "garden",
    "electronics",
    "clothing",
    "shoes",
    "beauty",
    "sports",
    "groceries",
    "gifts",
)
_CATEGORY_PRICE = np.array([0.7, 0.75, 1.0, 1.3, 1.4, 3.5, 1.6, 2.1, 0.9, 1.8, 0.45, 0.8])
BRANDS: tuple[str, ...] = ("Alder", "Birch", "Cedar", "Dune", "Ember", "Fjord", "Grove", "Harbor")
_NOUNS = ("classic", "compact", "deluxe", "everyday", "premium", "travel", "junior", "vintage", "eco", "pro")


def utc_offset_ms(region: Region, day: int) -> int:
    """Return how far local clocks are ahead of UTC at noon of a UTC day, summer time included."""
    noon = datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    offset = noon.astimezone(ZoneInfo(region.time_zone)).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) * 1000


class Assortment:
    """The products: ids, categories, prices, and popularity by Zipf's law within each category."""

    def __init__(self, count: int, preset: Preset, chance: Chance) -> None:
        number = np.arange(count, dtype=np.int64)
        keys = number.astype(np.uint64)
        self.category: Indexes = number % len(CATEGORIES)
        noise = chance.normals("product price", keys)
        raw = preset.price * _CATEGORY_PRICE[self.category] ** min(1.0, preset.price_sigma)
        raw = raw * np.exp(preset.price_sigma * 0.7 * noise)
        self.price: Floats = np.maximum(0.29, np.floor(raw) + 0.99 - (raw < 5) * 0.5)
        self.brand: Indexes = (chance.uniforms("product brand", keys) * len(BRANDS)).astype(np.int64)
        self.ids = [f"p{n:05d}" for n in range(count)]
        self.names = [
            f"{BRANDS[brand]} {_NOUNS[n // len(CATEGORIES) % len(_NOUNS)]} {CATEGORIES[n % len(CATEGORIES)]} {n}"
            for n, brand in enumerate(self.brand.tolist())
        ]
        sizes = np.bincount(self.category, minlength=len(CATEGORIES))
        self._sizes: Indexes = sizes.astype(np.int64)
        weights = 1.0 / np.arange(1, int(sizes.max()) + 1) ** 0.8
        self._cumulative: Floats = np.cumsum(weights)

    def prices(self, level: float) -> Floats:
        """Return the prices at a price level, in whole cents."""
        return np.round(self.price * level, 2)

    def pick(self, category: Indexes, unit: Floats) -> Indexes:
        """Return product indexes of the given categories, the popular ones more often."""
        sizes = self._sizes[category]
        rank = np.searchsorted(self._cumulative, unit * self._cumulative[sizes - 1])
        return np.minimum(rank, sizes - 1) * len(CATEGORIES) + category
