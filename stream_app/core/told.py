"""Scores and warnings as the engine puts them out: structs with the fields of their contracts, in the same order.

The contracts are the pydantic models `ChurnScore`, `ChurnWarning`, `Reason` and `HorizonRisk`. These here are what most
points lead to, and a pydantic model takes several times as long to make and to encode. The bytes are the same (law:
tests/wire/test_told.py).
"""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from stream_app.core.outputs import Reason, Tier


class ReasonTold(msgspec.Struct, frozen=True, gc=False):
    """As `Reason`."""

    code: str
    text: str
    contribution: float

    def as_contract(self) -> Reason:
        """Return the same as the contract's model, for outputs that carry it."""
        return Reason(code=self.code, text=self.text, contribution=self.contribution)


class RiskTold(msgspec.Struct, frozen=True, gc=False):
    """As `HorizonRisk`."""

    horizon_days: int
    probability: float
    model_version: str


class ScoreTold(msgspec.Struct, gc=False):
    """As `ChurnScore`. What the model says of the row is filled in when its whole block was concluded."""

    customer_id: str
    event_time: datetime
    probability: float
    interval: tuple[float, float] | None
    horizon_days: int
    tier: Tier
    velocity_7d: float | None
    reasons: tuple[ReasonTold, ...]
    expected_loss: float | None
    value_90d: float | None
    next_order_days: tuple[float, float] | None
    cold_start: bool
    model_version: str
    further_horizons: tuple[RiskTold, ...] | UnsetType = UNSET
    """Unset where none are configured: the record says nothing of them then."""


class WarningTold(msgspec.Struct, gc=False):
    """As `ChurnWarning`; its reasons are filled in when its whole block was concluded."""

    warning_id: str
    customer_id: str
    event_time: datetime
    previous_tier: Tier
    tier: Tier
    probability: float
    reasons: tuple[ReasonTold, ...]
    model_version: str
