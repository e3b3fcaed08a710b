"""Order behaviour by preset: what was fitted to which real shop, in one table."""

import msgspec


class Preset(msgspec.Struct, frozen=True):
    """Where the distributions of customers sit. Medians are of the customer population, sigmas of its logarithm."""

    cadence_days: float
    """Median over customers of the typical days between orders."""
    cadence_sigma: float
    leave_per_day: float
    """Median daily probability of a satisfied buyer's true churn."""
    leave_after_first: float
    """Probability of true churn straight after the first order; a third of it after each later order."""
    regularity: float
    """Weibull shape of the days between orders: above 1 a rhythm, below 1 bursts."""
    basket_lines: float
    """Mean number of further lines in a basket."""
    price: float
    """Median price of a product in EUR."""
    price_sigma: float
    quantity_sigma: float
    """Log-spread of the pieces per line; 0: always one piece."""


PRESETS: dict[str, Preset] = {
    "shop": Preset(34.0, 0.75, 0.0016, 0.24, 1.25, 1.1, 22.0, 0.8, 0.35),
    "cdnow": Preset(80.0, 1.1, 0.0016, 0.40, 0.8, 0.9, 13.0, 0.3, 0.25),
    "online-retail": Preset(45.0, 0.8, 0.0012, 0.30, 0.9, 14.0, 3.4, 0.9, 1.1),
}


def preset_of(name: str) -> Preset:
    """Return a preset; raises ValueError with the names there are."""
    preset = PRESETS.get(name)
    if preset is None:
        raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return preset
