"""The truth about a shop: what the customers are, what they would do, and what each message would change.

One row per customer and time, at the start of a day of the run. Probabilities are exact given the latent state, under
no further contact; potential outcomes are what the shop's own chance has in store, drawn once: the outcome of the
action that is taken is the one that happens.
"""

from pathlib import Path

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from stream_app.core.times import DAY_MS, iso
from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.dynamics import (
    age,
    contact,
    leave_probability,
    no_order_probability,
    order_intensity,
)
from stream_app.simulation.files import open_for_writing
from stream_app.simulation.messages import BOUNCE
from stream_app.simulation.people import COHORT_NAMES, KIND_NAMES
from stream_app.simulation.places import REGIONS, Indexes
from stream_app.simulation.randomness import Floats
from stream_app.simulation.shop import Shop
from stream_app.simulation.world import CAUSES

_DIGITS = 6


def silence_probability(shop: Shop, who: Indexes, horizon_days: int, action: int | None = None) -> Floats:
    """Return P(no order in the next `horizon_days`) of some customers as the next day begins.

    Parameters
    ----------
    shop
        A shop under way.
    who
        Customers who have arrived before the next day.
    horizon_days
        H.
    action
        Index into `ACTION_KINDS` of one message sent just before; None: no contact at all.
    """
    people, state = shop.people.rows(who), shop.state.rows(who)
    untreated = no_order_probability(people, shop.world, state, shop.day, horizon_days)
    if action is None or not shop.config.effects:
        return untreated
    reached = no_order_probability(people, shop.world, state, shop.day, horizon_days, action)
    return BOUNCE * untreated + (1.0 - BOUNCE) * reached


def potential_orders(shop: Shop, who: Indexes, horizon_days: int, action: int | None = None) -> NDArray[np.bool_]:
    """Return who will order in the next `horizon_days` if sent this message just before the next day, and none after.

    The draws are the shop's own: for the action that is really taken, and no later contact, this is what happens.
    """
    people, state = shop.people.rows(who), shop.state.rows(who)
    if action is not None and shop.config.effects:
        reached = shop.chance.uniforms("bounce", people.key, shop.day) >= BOUNCE
        treated = state.copy()
        leaving = contact(people, treated, action)
        treated.alive &= ~(shop.chance.uniforms("driven away", people.key, shop.day) < leaving)
        for name in ("alive", "mood", "boost", "fatigue", "coupon_days", "wait"):
            column = getattr(state, name)
            column[reached] = getattr(treated, name)[reached]
    ordered = np.zeros(len(who), dtype=np.bool_)
    for day in range(shop.day, shop.day + horizon_days):
        leaving = leave_probability(people, shop.world, state, day)
        state.alive &= ~(shop.chance.uniforms("leave", people.key, day) < leaving)
        probability = -np.expm1(-order_intensity(people, shop.world, state, day))
        ordered |= shop.chance.uniforms("order", people.key, day) < probability
        age(people, state)
    return ordered


class TruthWriter:
    """Writes the truth file of a run: hand `at_daybreak` to `Shop.events`.

    The first line describes the shop (configuration, promotions, crises, structural change); every other line is one
    customer at one time.

    Parameters
    ----------
    path
        File to write; .gz is compressed.
    every_days
        Days between the times.
    share
        Share of the customers to write about: a million of them need not all be known.
    effects
        Also P(no order) and the outcome under each action, for ten times the work.
    """

    def __init__(self, path: Path, every_days: int = 14, share: float = 1.0, *, effects: bool = True) -> None:
        if every_days < 1 or not 0.0 < share <= 1.0:
            raise ValueError(
                f"truth every {every_days} days for a share of {share}: give at least 1 day and 0 < share <= 1"
            )
        self.every_days = every_days
        self.share = share
        self.effects = effects
        self.rows = 0
        self._file = open_for_writing(path)

    def at_daybreak(self, shop: Shop) -> None:
        """Write all rows of a day on which truth is due; the first is `every_days` into the run."""
        if shop.day == 0:
            self._write([_about(shop)])
        elif shop.day % self.every_days == 0:
            who = np.arange(shop.present(shop.day - 1))
            chosen = shop.chance.uniforms("truth share", shop.people.key[who]) < self.share
            rows = truth_rows(shop, who[chosen], effects=self.effects)
            self._write(rows)
            self.rows += len(rows)

    def _write(self, rows: list[dict[str, object]]) -> None:
        self._file.write(b"".join(orjson.dumps(row) + b"\n" for row in rows))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def truth_rows(shop: Shop, who: Indexes, *, effects: bool = True) -> list[dict[str, object]]:
    """Return the truth about some customers as the next day begins, as the truth file has it.

    `effects` of an action is by how much the message lowers P(no order) over the first horizon: positive is good.
    """
    day = shop.day
    people, state = shop.people.rows(who), shop.state.rows(who)
    intensity = order_intensity(people, shop.world, state, day)
    leaving = np.where(state.alive, leave_probability(people, shop.world, state, day), 0.0)
    horizons = shop.config.horizons_days
    silence = {horizon: silence_probability(shop, who, horizon) for horizon in horizons}
    gains = {}
    outcomes = {"nothing": potential_orders(shop, who, horizons[0])}
    if effects:
        for action, name in enumerate(ACTION_KINDS):
            gains[name] = silence[horizons[0]] - silence_probability(shop, who, horizons[0], action)
            outcomes[name] = potential_orders(shop, who, horizons[0], action)
    at = iso((shop.config.first_day + day) * DAY_MS)
    rows: list[dict[str, object]] = []
    for row, number in enumerate(who.tolist()):
        line: dict[str, object] = {
            "customer_id": shop.names[number],
            "at": at,
            "kind": KIND_NAMES[int(people.kind[row])],
            "cohort": COHORT_NAMES[int(people.cohort[row])],
            "buyer": bool(people.buyer[row]),
            "alive": bool(state.alive[row]),
            "orders": int(state.orders[row]),
            "mood": round(float(state.mood[row]), _DIGITS),
            "intensity_per_day": round(float(intensity[row]), _DIGITS),
            "leave_per_day": round(float(leaving[row]), _DIGITS),
            "p_no_order": {str(horizon): round(float(column[row]), _DIGITS) for horizon, column in silence.items()},
            "orders_if": {name: bool(column[row]) for name, column in outcomes.items()},
        }
        if effects:
            line["effects"] = {name: round(float(column[row]), _DIGITS) for name, column in gains.items()}
        rows.append(line)
    return rows


def _about(shop: Shop) -> dict[str, object]:
    config = msgspec.to_builtins(shop.config)
    return {
        "shop": config,
        "actions": list(ACTION_KINDS),
        "effects_horizon_days": shop.config.horizons_days[0],
        "promotions": [
            {"first_day": p.first, "days": p.days, "region": _region(p.region), "discount": p.discount}
            for p in shop.world.promotions
        ],
        "crises": [
            {
                "cause": CAUSES[c.cause],
                "first_day": c.first,
                "days": c.days,
                "region": _region(c.region),
                "strength": c.strength,
            }
            for c in shop.world.crises
        ],
        "structural_change": {str(day): round(float(share), 4) for day, share in enumerate(shop.world.shift) if share},
    }


def _region(number: int) -> str | None:
    return None if number < 0 else REGIONS[number].name
