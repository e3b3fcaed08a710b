"""What the shop says about itself: profiles of customers, products and the calendar, as contract JSON."""

from datetime import date, timedelta

import numpy as np
import orjson

from stream_app.core.times import DAY_MS, MINUTE_MS, iso
from stream_app.core.topics import Topic
from stream_app.simulation.clock_text import date_text, time_text
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.people import COHORT_NAMES, People
from stream_app.simulation.places import BRANDS, CATEGORIES, REGIONS, Assortment, Indexes
from stream_app.simulation.randomness import Chance, Floats
from stream_app.simulation.world import World

CURRENCY = "EUR"
_NOTICE_DAYS = 7
_EPOCH = date(1970, 1, 1)
_CONSENT_SHARES = {"email": 0.82, "sms": 0.4, "push": 0.55, "phone": 0.3, "onsite": 0.92}


def _moment(at_ms: int) -> str:
    return time_text(date_text(at_ms // DAY_MS), at_ms % DAY_MS)


def profile_values(
    people: People, chance: Chance, first_day: int, who: Indexes, names: list[str]
) -> tuple[Indexes, list[bytes]]:
    """Return times (ms since the epoch) and JSON of the first profiles of some customers, on their day of arrival."""
    keys = people.key[who]
    day_ms = (first_day + people.arrival[who].astype(np.int64)) * DAY_MS
    at_ms = day_ms + (chance.uniforms("profile", keys) * MINUTE_MS).astype(np.int64)
    marketing = chance.uniforms("marketing", keys) < 0.88  # a share
    profiling_refused = chance.uniforms("profiling", keys) < 0.01  # a share
    zone_known = chance.uniforms("zone", keys) < 0.97  # a share
    born = np.clip(40 + 13 * chance.normals("age", keys), 18, 90)
    birthday_known = chance.uniforms("birthday", keys) < 0.75  # a share
    consents = {name: chance.uniforms(f"consent {name}", keys) < share for name, share in _CONSENT_SHARES.items()}
    tenure = (chance.uniforms("tenure", keys) * 900).astype(np.int64)
    values = []
    for row, number in enumerate(who.tolist()):
        region = REGIONS[int(people.region[number])]
        signed_up = int(at_ms[row]) - (int(tenure[row]) * DAY_MS if people.arrival[number] == 0 else 0)
        birthday = _EPOCH + timedelta(days=first_day - int(born[row] * 365.25))
        consent: dict[str, bool] = {"marketing": bool(marketing[row])}
        consent |= {name: bool(given[row]) for name, given in consents.items()}
        if profiling_refused[row]:
            consent["profiling"] = False
        profile: dict[str, object] = {
            "customer_id": names[number],
            "timestamp": _moment(int(at_ms[row])),
            "event_id": f"{names[number]}-profile",
            "consent": consent,
            "language": region.language,
            "region": region.name,
            "signed_up_at": _moment(signed_up),
            "loyalty_tier": ("basic", "silver", "gold")[
                int(people.spend[number] > 1.2) + int(people.spend[number] > 2.2)
            ],  # tiers by spend
            "attributes": {
                "cohort": COHORT_NAMES[int(people.cohort[number])],
                "age_band": "18-29" if born[row] < 30 else "30-49" if born[row] < 50 else "50+",  # ages
            },
        }
        if birthday_known[row]:
            profile["birthday"] = birthday.isoformat()
        if zone_known[row]:
            profile["time_zone"] = region.time_zone
        values.append(orjson.dumps(profile))
    return at_ms, values


def product_events(assortment: Assortment, prices: Floats, at_ms: int) -> list[SimulatedEvent]:
    """Return the assortment at some prices, one record a product, all said at `at_ms`."""
    found = []
    for number, product in enumerate(assortment.ids):
        value = {
            "product_id": product,
            "timestamp": iso(at_ms),
            "name": assortment.names[number],
            "category": CATEGORIES[int(assortment.category[number])],
            "brand": BRANDS[int(assortment.brand[number])],
            "price": round(float(prices[number]), 2),
            "currency": CURRENCY,
            "stock": 50 + number % 450,
        }
        found.append(SimulatedEvent(Topic.PRODUCTS, "", at_ms, orjson.dumps(value), product))
    return found


def calendar_events(world: World, days: int) -> dict[int, list[SimulatedEvent]]:
    """Return what is announced on each day of the run: holidays and promotions, a week ahead or as the run begins."""
    said: dict[int, list[SimulatedEvent]] = {}

    def say(day: int, kind: str, name: str, region: str | None) -> None:
        told = max(0, day - _NOTICE_DAYS)
        if told >= days:
            return
        on = (_EPOCH + timedelta(days=world.first_day + day)).isoformat()
        at_ms = (world.first_day + told) * DAY_MS
        value: dict[str, object] = {"date": on, "timestamp": iso(at_ms), "kind": kind, "name": name}
        key = f"{on}/{kind}"
        if region is not None:
            value["region"] = region
            key += f"/{region}"
        said.setdefault(told, []).append(SimulatedEvent(Topic.CALENDAR, "", at_ms, orjson.dumps(value), key))

    for holiday in world.holidays:
        day = (holiday.day - _EPOCH).days - world.first_day
        if holiday.chinese is None:
            say(day, "holiday", holiday.name, None)
            continue
        for region in REGIONS:
            if region.chinese_calendar == holiday.chinese:
                say(day, "holiday", holiday.name, region.name)
    for promotion in world.promotions:
        for day in range(promotion.first, promotion.first + promotion.days):
            say(day, "promotion", promotion.name, None if promotion.region < 0 else REGIONS[promotion.region].name)
    return said
