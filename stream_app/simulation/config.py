"""How a simulated shop is asked for: frozen values with checked ranges."""

from datetime import date
from enum import StrEnum

import msgspec

from stream_app.simulation.presets import preset_of


class Drift(StrEnum):
    """What changes in how customers behave while the shop runs."""

    NONE = "none"
    """Stationary: no season of the year, no structural change."""
    SEASONAL = "seasonal"
    """Seasons of the year and holidays only."""
    ABRUPT = "abrupt"
    """On one day customers get slower and leave more (`drift_at` says when); no seasons."""
    GRADUAL = "gradual"
    """The same change, spread evenly over the half of the run that is centred on `drift_at`; no seasons."""


class Dirt(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of records that a careless producer spoils, each drawn on its own; all zero: a clean shop."""

    duplicates: float = 0.0
    """Sent twice with the same event id, minutes apart."""
    late: float = 0.0
    """Sent hours after its event time."""
    out_of_order: float = 0.0
    """Sent some seconds after its event time."""
    malformed: float = 0.0
    """Cut off, not JSON, in another encoding, with a wrong type or an impossible value."""
    missing_fields: float = 0.0
    """Without one of the fields that the contract requires."""
    foreign_keys: float = 0.0
    """Keyed by a producer with another partitioner (a share of customers' sources, drawn per record)."""

    def __post_init__(self) -> None:
        """Refuse shares outside 0 to 1."""
        for name in self.__struct_fields__:
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"dirt.{name} is {share}: give a share between 0 and 1")

    @property
    def any(self) -> bool:
        """Whether anything is spoiled at all."""
        return any(getattr(self, name) > 0.0 for name in self.__struct_fields__)


class ShopConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A shop: the same values give the same bytes, on every machine with the same numpy and scipy."""

    customers: int = 1000
    days: int = 365
    seed: int = 1
    start: date = date(2025, 1, 1)
    """The first day, UTC; events end with the day `start + days - 1`."""
    drift: Drift = Drift.SEASONAL
    drift_at: float = 0.5
    """Where in the run the abrupt change falls or the gradual one is centred, as a share of `days`."""
    promotions: bool = True
    crises: bool = True
    texts: bool = True
    effects: bool = True
    """False: messages change nothing in what customers do."""
    preset: str = "shop"
    """Whose order gaps, repeat rates and amounts to resemble: shop, cdnow or online-retail (see `presets`)."""
    existing_share: float = 0.55
    """Share of the customers who are there from the first day; the others are acquired while the shop runs."""
    acquisition_share: float = 1.0
    """The others come within this share of the run, from its start; below 1 nobody new comes in the end."""
    browser_share: float = 0.15
    """Share of the customers who visit and never buy."""
    products: int = 600
    visits_per_order: float = 6.0
    """Mean number of visits per order of a typical buyer."""
    horizons_days: tuple[int, ...] = (30, 60)
    """H of the truth P(no order in (T, T+H])."""
    dirt: Dirt = Dirt()

    def __post_init__(self) -> None:
        """Refuse what cannot be simulated, and say what can."""
        if not 1 <= self.customers <= 50_000_000:  # nine digits in a customer id, memory long before
            raise ValueError(f"customers is {self.customers}: give 1 to 50,000,000")
        if not 1 <= self.days <= 3660:  # ten years
            raise ValueError(f"days is {self.days}: give 1 to 3,660")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}: give a whole number from 0")
        for name in ("drift_at", "existing_share", "acquisition_share", "browser_share"):
            share = getattr(self, name)
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"{name} is {share}: give a share between 0 and 1")
        if not 12 <= self.products <= 100_000:  # one per category at least
            raise ValueError(f"products is {self.products}: give 12 to 100,000")
        preset_of(self.preset)
        if self.visits_per_order <= 0:
            raise ValueError(f"visits_per_order is {self.visits_per_order}: give a positive number")
        if not self.horizons_days or min(self.horizons_days) < 1 or max(self.horizons_days) > 365:  # a year
            raise ValueError(f"horizons_days is {self.horizons_days}: give days from 1 to 365")

    @property
    def first_day(self) -> int:
        """Return the number of the first day since 1970-01-01."""
        return (self.start - date(1970, 1, 1)).days
