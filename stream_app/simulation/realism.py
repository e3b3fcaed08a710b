"""How close a simulated shop is to real ones: the same samples taken from both, compared by quantiles.

Real data are event files in the contract's form: CDNOW and Online Retail for orders, one morning of REES46 for visits.
Each preset is held against the shop it was fitted to.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import numpy as np

from stream_app.core.times import DAY_MS, to_ms
from stream_app.core.topics import Topic
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.randomness import Floats
from stream_app.simulation.shop import simulate_shop

QUANTILES: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_HUNDREDTHS = np.arange(1, 100) / 100


class _Order(msgspec.Struct):
    customer_id: str
    timestamp: datetime
    amount: float
    status: str = "completed"


class _Click(msgspec.Struct):
    timestamp: datetime
    session_id: str


class OrderSamples(msgspec.Struct):
    """What is compared of orders; one number an observation."""

    gap_days: Floats
    """Days between consecutive orders of a customer, days with several orders counted once."""
    orders: Floats
    """Orders per customer who ordered at all."""
    amount: Floats
    """Value of an order in units of the median order: shops differ in scale, presets are judged by shape."""


class VisitSamples(msgspec.Struct):
    """What is compared of visits."""

    clicks: Floats
    """Clicks per visit."""
    duration_seconds: Floats
    """From first to last click, of visits with more than one."""
    click_gap_seconds: Floats


class Comparison(msgspec.Struct, frozen=True):
    """One sample of a simulated shop against the same of a real one."""

    what: str
    real_name: str
    unit: str
    real: tuple[float, ...]
    """At `QUANTILES`."""
    simulated: tuple[float, ...]
    real_count: int
    simulated_count: int
    distance: float
    """Kolmogorov-Smirnov: the largest difference of the distribution functions, 0 to 1."""
    log_error: float
    """Mean over `QUANTILES` of |log((simulated + 1) / (real + 1))|: 0.1 is about ten per cent off."""
    curve: tuple[tuple[float, float], ...]
    """(real, simulated) at every hundredth: on the diagonal where the distributions agree."""


def order_samples(lines: Iterable[bytes]) -> OrderSamples:
    """Take the samples of orders from JSON lines; cancelled and returned orders are left out."""
    decode = msgspec.json.Decoder(_Order).decode
    days: dict[str, set[int]] = defaultdict(set)
    amounts = []
    for line in lines:
        order = decode(line)
        if order.status == "completed":
            days[order.customer_id].add(to_ms(order.timestamp) // DAY_MS)
            amounts.append(order.amount)
    gaps = [np.diff(sorted(found)) for found in days.values() if len(found) > 1]
    amount = np.array([value for value in amounts if value > 0], dtype=np.float64)
    return OrderSamples(
        gap_days=np.concatenate(gaps).astype(np.float64) if gaps else np.empty(0),
        orders=np.array([len(found) for found in days.values()], dtype=np.float64),
        amount=amount / np.median(amount) if len(amount) else amount,
    )


def visit_samples(lines: Iterable[bytes]) -> VisitSamples:
    """Take the samples of visits from JSON lines of clicks; a visit is a `session_id`."""
    decode = msgspec.json.Decoder(_Click).decode
    visits: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        click = decode(line)
        visits[click.session_id].append(to_ms(click.timestamp) / 1000.0)
    times = [np.sort(np.array(found)) for found in visits.values()]
    gaps = [np.diff(found) for found in times if len(found) > 1]
    return VisitSamples(
        clicks=np.array([len(found) for found in times], dtype=np.float64),
        duration_seconds=np.array([found[-1] - found[0] for found in times if len(found) > 1]),
        click_gap_seconds=np.concatenate(gaps) if gaps else np.empty(0),
    )


def compare(what: str, real_name: str, unit: str, real: Floats, simulated: Floats) -> Comparison:
    """Compare two samples; raises ValueError when one is empty."""
    if not len(real) or not len(simulated):
        raise ValueError(f"{what} of {real_name}: nothing to compare ({len(real)} real, {len(simulated)} simulated)")
    at = np.concatenate([real, simulated])
    below_real = np.searchsorted(np.sort(real), at, side="right") / len(real)
    below_simulated = np.searchsorted(np.sort(simulated), at, side="right") / len(simulated)
    of_real, of_simulated = np.quantile(real, QUANTILES), np.quantile(simulated, QUANTILES)
    return Comparison(
        what=what,
        real_name=real_name,
        unit=unit,
        real=tuple(of_real.tolist()),
        simulated=tuple(of_simulated.tolist()),
        real_count=len(real),
        simulated_count=len(simulated),
        distance=float(np.abs(below_real - below_simulated).max()),
        log_error=float(np.abs(np.log((of_simulated + 1.0) / (of_real + 1.0))).mean()),
        curve=tuple(
            zip(np.quantile(real, _HUNDREDTHS).tolist(), np.quantile(simulated, _HUNDREDTHS).tolist(), strict=True)
        ),
    )


CDNOW = ShopConfig(
    customers=6000,
    days=545,
    preset="cdnow",
    existing_share=0.0,
    acquisition_share=0.155,
    browser_share=0.0,
    texts=False,
)
"""CDNOW is a cohort: everybody's first order falls into its first twelve weeks, and the file ends after 78."""
ONLINE_RETAIL = ShopConfig(customers=4000, days=374, preset="online-retail", browser_share=0.0, texts=False)
MORNING = ShopConfig(customers=20_000, days=3, texts=False)


def _lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from file


def _simulated(config: ShopConfig, topic: Topic) -> Iterator[bytes]:
    return (event.value for event in simulate_shop(config) if event.topic is topic)


def compare_with_real(folder: Path) -> list[Comparison]:
    """Simulate the three shops and compare them with the real ones, some seconds each.

    Parameters
    ----------
    folder
        Holds cdnow/orders.jsonl.gz, online_retail/orders.jsonl.gz and rees46_sample/clickstream.jsonl.gz.

    Raises
    ------
    OSError
        When a file is missing.
    """
    found = []
    for name, path, config in (
        ("CDNOW", "cdnow/orders.jsonl.gz", CDNOW),
        ("Online Retail", "online_retail/orders.jsonl.gz", ONLINE_RETAIL),
    ):
        real = order_samples(_lines(folder / path))
        simulated = order_samples(_simulated(config, Topic.ORDERS))
        found += [
            compare("Days between orders", name, "days", real.gap_days, simulated.gap_days),
            compare("Orders per customer", name, "orders", real.orders, simulated.orders),
            compare("Value of an order", name, "medians", real.amount, simulated.amount),
        ]
    morning = visit_samples(_lines(folder / "rees46_sample/clickstream.jsonl.gz"))
    visits = visit_samples(_simulated(MORNING, Topic.CLICKSTREAM))
    found += [
        compare("Clicks per visit", "REES46", "clicks", morning.clicks, visits.clicks),
        compare("Length of a visit", "REES46", "seconds", morning.duration_seconds, visits.duration_seconds),
        compare("Time between clicks", "REES46", "seconds", morning.click_gap_seconds, visits.click_gap_seconds),
    ]
    return found
