"""A shop with known truth: latent churn, seasons, texts and treatment effects, seeded. Start reading at `shop`."""

from stream_app.simulation.config import Dirt, Drift, ShopConfig
from stream_app.simulation.events import SimulatedEvent
from stream_app.simulation.shop import Shop, simulate_shop

__all__ = ["Dirt", "Drift", "Shop", "ShopConfig", "SimulatedEvent", "simulate_shop"]
