"""How the engine is configured: frozen values that the shell makes from its settings."""

import msgspec

from stream_app.core.times import DAY_MS


class EnginePolicy(msgspec.Struct, frozen=True):
    """Everything that shapes states and outputs, apart from the model snapshot and the action catalogue.

    `calendar_common` puts all customers' calendar looks on the same dates (evaluation); otherwise each has its own
    phase.
    """

    event_clock: bool = True
    allowed_lateness_ms: int = 0
    future_tolerance_ms: int = DAY_MS
    max_jump_ms: int = 400 * DAY_MS
    horizon_days: int = 30
    look_days: int = 7
    """Days between the calendar's looks at an eligible customer; each look asks for a score."""
    observation_days: int = 14
    """A multiple of look_days: only these looks leave an observation to learn from."""
    eligible_days: int = 180
    calendar_common: bool = False
    calendar_origin_ms: int = 0
    default_currency: str = "EUR"
    exchange_rates: dict[str, float] = {}
    """Value of one unit of a foreign currency in the shop's; a currency without a rate counts one to one."""
    tier_thresholds: tuple[float, float, float] = (0.35, 0.6, 0.8)
    tier_margin: float = 0.02
    """A tier is left downwards only when the probability is below its threshold by this much (hysteresis)."""
    tier_losses: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Least expected loss of medium, high and critical, shop currency; 0 asks for none."""
    score_change: float = 0.02
    click_score_minutes: int = 5
    """A click asks for a score at the start of a visit and then at most once in this many minutes."""
    session_idle_minutes: int = 30
    sentiment_enabled: bool = True
    recommend_share: float = 1.0
    """Share of customers whose purchases product picks are made from: about 0.4 KB of memory each."""
    thin: bool = True
    """Thin the observations of busy customers to 16; evaluation scores all."""
    fairness_attributes: tuple[str, ...] = ()
    """Declared attributes that labels and outcomes carry along, for fairness reports; nothing else looks at them."""
