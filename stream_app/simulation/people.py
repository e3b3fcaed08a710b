"""Who the customers are: what never changes about each, drawn once from the seed."""

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from stream_app.simulation.config import ShopConfig
from stream_app.simulation.places import CATEGORIES, REGIONS
from stream_app.simulation.presets import Preset
from stream_app.simulation.randomness import Chance, Floats, Keys, customer_keys

Small = NDArray[np.int16]
Flags = NDArray[np.bool_]
Rows = slice | NDArray[np.int64] | NDArray[np.bool_]


class Kind(IntEnum):
    """How a customer answers to being contacted."""

    PERSUADABLE = 0
    """Buys more, and leaves less, when contacted well."""
    SURE_THING = 1
    """Buys anyway; a message changes nothing."""
    LOST_CAUSE = 2
    """Is leaving; a message changes nothing."""
    SLEEPING_DOG = 3
    """Is reminded by contact that one could leave."""
    COUPON_LOVER = 4
    """Would have bought anyway, takes every coupon, and learns to wait for the next."""


class Cohort(IntEnum):
    """How a customer came to the shop."""

    EXISTING = 0
    ORGANIC = 1
    CAMPAIGN = 2
    """Came in one of a few bursts, attracted by discounts; leaves sooner."""
    REFERRAL = 3


KIND_NAMES = tuple(kind.name.lower() for kind in Kind)
COHORT_NAMES = tuple(cohort.name.lower() for cohort in Cohort)

# One column per kind, in the order of Kind.
_KIND_SHARES = np.array([0.30, 0.25, 0.15, 0.10, 0.20])
_CADENCE = np.array([1.1, 0.7, 1.6, 1.3, 1.0])
_LEAVING = np.array([1.3, 0.4, 4.0, 0.9, 1.0])
_FIRST_LEAVING = np.array([1.1, 0.4, 2.0, 0.9, 0.9])
_MOOD = np.array([0.1, 0.5, -0.6, 0.15, 0.1])
_PROMOTION = np.array([0.5, 0.2, 0.1, 0.0, 1.3])
_BROWSING = np.array([1.0, 1.1, 0.6, 0.5, 1.4])
_COHORT_LEAVING = np.array([0.6, 1.0, 1.8, 0.8])


@dataclass(slots=True)
class People:
    """Columns over customers, in the order in which they arrive (so that those present are a prefix)."""

    key: Keys
    kind: Small
    cohort: Small
    region: Small
    arrival: NDArray[np.int32]
    """Day of the run on which the customer is first seen."""
    buyer: Flags
    cadence_days: Floats
    regularity: Floats
    leave_per_day: Floats
    leave_after_first: Floats
    mood: Floats
    """The satisfaction to which a customer returns."""
    promotion_pull: Floats
    visits_per_day: Floats
    spend: Floats
    """Multiplier of pieces and lines: heavy-tailed."""
    favourite: Small
    second: Small
    hour: Floats
    """Favourite local hour of the day."""
    voice: Floats
    """How readily the customer speaks up; mean 1, heavy-tailed."""
    channel: Small
    """0: web, 1: app, 2: mobile web."""
    initial_gap: Floats
    """Days since the last order when the customer is first seen."""
    favourite_action: Small
    """The action kind (see `actions`) that works best with this customer."""
    persuasion: Floats
    """Multiplier of the effect of actions; mean 1."""

    def rows(self, index: Rows) -> "People":
        """Return some customers: views for a slice, copies for indexes."""
        return People(*(getattr(self, field.name)[index] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.key)


def _arrivals(config: ShopConfig, chance: Chance, keys: Keys) -> tuple[NDArray[np.int32], Small]:
    """Return day and cohort of acquisition: a base from the first day, a steady flow, and four bursts."""
    unit = chance.uniforms("arrival", keys)
    cohort_unit = chance.uniforms("cohort", keys)
    cohort = np.where(
        cohort_unit < 0.5, Cohort.ORGANIC, np.where(cohort_unit < 0.8, Cohort.CAMPAIGN, Cohort.REFERRAL)
    )  # shares
    span = config.days * config.acquisition_share
    steady = unit * span
    burst = np.floor(unit * 4)
    burst_start = (burst + 0.5) * span / 4
    burst_days = min(10.0, span / 8)
    in_burst = burst_start + (unit * 4 - burst) * burst_days
    day = np.where(cohort == Cohort.CAMPAIGN, in_burst, steady)
    existing = chance.uniforms("existing", keys) < config.existing_share
    day = np.where(existing, 0.0, np.clip(day, 0.0, config.days - 1))
    return day.astype(np.int32), np.where(existing, Cohort.EXISTING, cohort).astype(np.int16)


def draw_people(config: ShopConfig, preset: Preset, chance: Chance, action_kinds: int) -> People:
    """Draw all customers of a shop; customer numbers follow the order of arrival."""
    keys = customer_keys(config.seed, config.customers)
    arrival, cohort = _arrivals(config, chance, keys)
    order = np.argsort(arrival, kind="stable")
    keys, arrival, cohort = keys[order], arrival[order], cohort[order]

    def unit(purpose: str) -> Floats:
        return chance.uniforms(purpose, keys)

    def log_normal(purpose: str, sigma: float) -> Floats:
        drawn: Floats = np.exp(sigma * chance.normals(purpose, keys))
        return drawn

    kind = np.searchsorted(np.cumsum(_KIND_SHARES)[:-1], unit("kind"), side="right").astype(np.int16)
    shares = np.cumsum([region.share for region in REGIONS])
    cadence = np.clip(preset.cadence_days * _CADENCE[kind] * log_normal("cadence", preset.cadence_sigma), 2.0, 720.0)
    regularity = np.clip(preset.regularity * log_normal("regularity", 0.25), 0.6, 3.0)
    leaving = preset.leave_per_day * _LEAVING[kind] * _COHORT_LEAVING[cohort] * log_normal("leaving", 0.5)
    first_leaving = preset.leave_after_first * _FIRST_LEAVING[kind] * np.where(cohort == Cohort.CAMPAIGN, 1.3, 1.0)
    engagement = _BROWSING[kind] * log_normal("engagement", 0.5)
    favourite = (unit("favourite") * len(CATEGORIES)).astype(np.int16)
    promotion = (
        _PROMOTION[kind] + np.where(cohort == Cohort.CAMPAIGN, 0.4, 0.0) + 0.15 * chance.normals("promotion", keys)
    )
    return People(
        key=keys,
        kind=kind,
        cohort=cohort,
        region=np.searchsorted(shares[:-1] / shares[-1], unit("region"), side="right").astype(np.int16),
        arrival=arrival,
        buyer=unit("buyer") >= config.browser_share,
        cadence_days=cadence,
        regularity=regularity,
        leave_per_day=np.clip(leaving, 0.0, 0.2),
        leave_after_first=np.clip(first_leaving, 0.0, 0.9),
        mood=_MOOD[kind] + 0.3 * chance.normals("mood", keys),
        promotion_pull=np.clip(promotion, 0.0, 2.0),
        visits_per_day=np.clip(
            config.visits_per_order / np.sqrt(cadence * preset.cadence_days) * engagement, 0.002, 3.0
        ),
        spend=log_normal("spend", 0.6),
        favourite=favourite,
        second=((favourite + 1 + unit("second") * (len(CATEGORIES) - 1)).astype(np.int16) % len(CATEGORIES)).astype(
            np.int16
        ),
        hour=(np.where(unit("evening") < 0.6, 20.0, 11.5) + 2.0 * chance.normals("hour", keys)) % 24.0,  # a share
        voice=log_normal("voice", 0.8) * np.exp(-0.32),
        channel=np.searchsorted([0.5, 0.8], unit("channel"), side="right").astype(np.int16),
        initial_gap=np.floor(cadence * unit("initial gap") * 1.2),
        favourite_action=(unit("favourite action") * action_kinds).astype(np.int16),
        persuasion=log_normal("persuasion", 0.4) * np.exp(-0.08),
    )
