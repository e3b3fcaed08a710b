"""What happens to everybody: seasons, holidays, promotions, crises and drift, as arrays over (region, day)."""

from datetime import date, timedelta

import msgspec
import numpy as np

from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.places import REGIONS
from stream_app.simulation.randomness import Chance, Floats

CAUSES: tuple[str, ...] = ("delivery", "price", "quality", "service", "returns")

# Monday to Sunday, as logs of intensity.
_WEEK = np.array([0.05, 0.02, 0.0, -0.02, -0.05, -0.06, 0.06])
_LUNAR_NEW_YEAR = frozenset(
    date(*day)
    for day in (
        *((2019, 2, 5), (2020, 1, 25), (2021, 2, 12), (2022, 2, 1), (2023, 1, 22), (2024, 2, 10), (2025, 1, 29)),
        *((2026, 2, 17), (2027, 2, 6), (2028, 1, 26), (2029, 2, 13), (2030, 2, 3)),
    )
)
_NOVEMBER, _THURSDAY = 11, 3


class Holiday(msgspec.Struct, frozen=True):
    """A named day; `pull` is the log of its effect on intensities in its regions."""

    day: date
    name: str
    chinese: bool | None
    """True or False: only regions with (without) the Chinese calendar; None: all."""
    pull: float


class Promotion(msgspec.Struct, frozen=True):
    """Some days of lower prices, in one region (index) or in all (-1)."""

    name: str
    first: int
    days: int
    region: int
    discount: float


class Crisis(msgspec.Struct, frozen=True):
    """Some weeks in which something goes wrong, in one region (index) or in all (-1)."""

    cause: int
    first: int
    days: int
    region: int
    strength: float
    """How many standard deviations the experience of an order falls."""


def holidays(year: int) -> list[Holiday]:
    """Return the holidays of a year that matter to the shop."""
    thanksgiving = next(d for n in range(22, 29) if (d := date(year, _NOVEMBER, n)).weekday() == _THURSDAY)
    found = [
        Holiday(date(year, 1, 1), "New Year", None, -0.35),
        Holiday(date(year, 2, 14), "Valentine's Day", None, 0.15),
        Holiday(thanksgiving + timedelta(days=1), "Black Friday", False, 0.8),
        Holiday(thanksgiving + timedelta(days=4), "Cyber Monday", False, 0.5),
        Holiday(date(year, 12, 25), "Christmas Day", False, -0.8),
        Holiday(date(year, 10, 1), "National Day", True, -0.2),
        Holiday(date(year, 6, 18), "618 Festival", True, 0.6),
        Holiday(date(year, 11, 11), "Singles' Day", True, 0.9),
    ]
    found += [Holiday(day, "Lunar New Year", True, -0.7) for day in _LUNAR_NEW_YEAR if day.year == year]
    return sorted(found, key=lambda holiday: (holiday.day, holiday.name))


def _draw_promotions(config: ShopConfig, chance: Chance, total_days: int) -> list[Promotion]:
    found: list[Promotion] = []
    day = 10 + int(chance.single("promotion", 0) * 20)
    number = 0
    while day < total_days:
        number += 1
        region = (
            -1
            if chance.single("promotion region", number) < 0.5
            else int(chance.single("promotion where", number) * len(REGIONS))
        )  # half are everywhere
        length = 3 + int(chance.single("promotion length", number) * 5)
        discount = round(0.1 + 0.05 * int(chance.single("promotion discount", number) * 4), 2)
        found.append(Promotion(f"Promotion {number}", day, length, region, discount))
        day += length + 14 + int(chance.single("promotion pause", number) * 35)
    return found if config.promotions else []


def _draw_crises(config: ShopConfig, chance: Chance, total_days: int) -> list[Crisis]:
    found: list[Crisis] = []
    day = 20 + int(chance.single("crisis", 0) * 50)
    number = 0
    while day < total_days:
        number += 1
        region = (
            -1
            if chance.single("crisis region", number) < 0.25
            else int(chance.single("crisis where", number) * len(REGIONS))
        )  # a quarter is everywhere
        cause = int(chance.single("crisis cause", number) * len(CAUSES))
        length = 7 + int(chance.single("crisis length", number) * 21)
        found.append(
            Crisis(
                cause=cause,
                first=day,
                days=length,
                region=-1 if CAUSES[cause] == "price" else region,  # the assortment has one price everywhere
                strength=0.8 + chance.single("crisis strength", number),
            )
        )
        day += length + 15 + int(chance.single("crisis pause", number) * 60)
    return found if config.crises else []


class World:
    """Everything about a day that does not depend on a customer; day 0 is the first day of the run.

    The arrays reach past the run by the longest horizon, so that the truth about the last day is known too.
    """

    def __init__(self, config: ShopConfig, chance: Chance) -> None:
        total = config.days + max(config.horizons_days) + 1
        self.first_day = config.first_day
        self.days = total
        self.promotions = _draw_promotions(config, chance, total)
        self.crises = _draw_crises(config, chance, total)
        self.holidays = [
            holiday
            for year in range(config.start.year, config.start.year + total // 365 + 2)
            for holiday in holidays(year)
            if 0 <= (holiday.day - config.start).days < total
        ]
        self.season: Floats = self._season(config, total)
        """Log of the factor on order and visit intensities, (region, day)."""
        self.discount: Floats = np.zeros((len(REGIONS), total))
        """Promotion discount in force, (region, day)."""
        for promotion in self.promotions:
            rows = slice(None) if promotion.region < 0 else promotion.region
            self.discount[rows, promotion.first : promotion.first + promotion.days] = promotion.discount
        self.trouble: Floats = np.zeros((len(REGIONS), len(CAUSES), total))
        """How far the experience with each cause is lowered, (region, cause, day)."""
        for crisis in self.crises:
            rows = slice(None) if crisis.region < 0 else crisis.region
            self.trouble[rows, crisis.cause, crisis.first : crisis.first + crisis.days] += crisis.strength
        self.price_level: Floats = np.ones(total)
        """Factor on all prices, by day: what a price crisis is about."""
        for crisis in self.crises:
            if CAUSES[crisis.cause] == "price":
                self.price_level[crisis.first : crisis.first + crisis.days] = round(1.0 + 0.1 * crisis.strength, 2)
        self.shift: Floats = self._shift(config, total)
        """How much of the structural change has happened, 0 to 1, by day."""

    @staticmethod
    def _season(config: ShopConfig, total: int) -> Floats:
        days = [config.start + timedelta(days=n) for n in range(total)]
        season: Floats = np.tile(_WEEK[[day.weekday() for day in days]], (len(REGIONS), 1))
        if config.drift is not Drift.SEASONAL:
            return season
        of_year = np.array([day.timetuple().tm_yday for day in days]) / 365.25
        # A broad high before Christmas and a low in summer; the Chinese calendar has its high in November and June.
        western = 0.12 * np.cos(2 * np.pi * of_year) + 0.45 * np.exp(-(((of_year - 0.925) / 0.045) ** 2))
        chinese = 0.08 * np.cos(2 * np.pi * (of_year - 0.45)) + 0.25 * np.exp(-(((of_year - 0.86) / 0.02) ** 2))
        for row, region in enumerate(REGIONS):
            season[row] += chinese if region.chinese_calendar else western
        for day_holiday in [h for year in range(days[0].year, days[-1].year + 1) for h in holidays(year)]:
            column = (day_holiday.day - config.start).days
            if 0 <= column < total:
                for row, region in enumerate(REGIONS):
                    if day_holiday.chinese is None or day_holiday.chinese == region.chinese_calendar:
                        season[row, column] += day_holiday.pull
        return season

    @staticmethod
    def _shift(config: ShopConfig, total: int) -> Floats:
        days = np.arange(total, dtype=np.float64)
        centre = config.drift_at * config.days
        if config.drift is Drift.ABRUPT:
            return (days >= centre).astype(np.float64)
        if config.drift is Drift.GRADUAL:
            return np.clip((days - centre) / (0.5 * config.days) + 0.5, 0.0, 1.0)
        return np.zeros(total)
