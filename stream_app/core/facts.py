"""What of a customer's state a decision may look at, captured at the point in time at which the decision arises.

Scores are computed in blocks, after later events of the same batch were folded. A decision must not see those: it gets
this snapshot instead of the live state. Immutable parts are held by reference, the rest are scalars.
"""

import msgspec

from stream_app.core.state import CustomerState, ProfileState
from stream_app.core.times import DAY_MS

VALUE_HORIZON_DAYS = 90.0
_HALF_LIFE_DAYS = 90.0
_MESSAGE_HALF_LIFE_DAYS = 30.0
_LN2 = 0.6931471805599453


class Facts(msgspec.Struct, frozen=True, gc=False):
    """Facts about one customer at one moment. Times are event times in milliseconds, 0 means never."""

    profile: ProfileState | None = None
    orders: int = 0
    """Completed orders."""
    last_order_ms: int = 0
    total_amount: float = 0.0
    discounted_orders: int = 0
    order_days_90d: float = 0.0
    """Decayed count of order days (half-life 90 days), as of `order_days_at_ms`."""
    order_days_at_ms: int = 0
    recent_bought: tuple[str, ...] = ()
    last_click_ms: int = 0
    session_started_ms: int = 0
    session_cart: int = 0
    """Goods in the cart of the newest visit, as far as clicks tell."""
    last_cart_ms: int = 0
    """Last addition to a cart; later than the last order, it is an open cart."""
    recent_seen: tuple[str, ...] = ()
    sentiment_sum: float = 0.0
    sentiment_weight: float = 0.0
    last_complaint_ms: int = 0
    last_survey_score: float = -1.0
    review_language: str = ""
    unsubscribed_ms: int = 0
    unsubscribed_channels: tuple[str, ...] = ()
    message_complaint_ms: int = 0
    """When the customer last complained about our messages (not about the shop)."""
    erased: bool = False
    redeemed_30d: float = 0.0
    """Decayed count of redemptions (half-life 30 days), as of `redeemed_at_ms`."""
    redeemed_at_ms: int = 0
    sent_30d: float = 0.0
    """Decayed count of messages sent, as of `redeemed_at_ms`; those that were clicked follow."""
    clicked_30d: float = 0.0
    opened: int = 0
    """Messages opened, clicked and answered so far."""
    clicked: int = 0
    responded: int = 0

    @property
    def mean_amount(self) -> float:
        """Mean value of a completed order in shop currency; 0 without orders."""
        return self.total_amount / self.orders if self.orders else 0.0

    @property
    def discount_share(self) -> float:
        """Share of completed orders that came with a discount."""
        return self.discounted_orders / self.orders if self.orders else 0.0

    @property
    def sentiment(self) -> float:
        """Decayed mean sentiment, -1 to 1; 0 where nothing was said."""
        return self.sentiment_sum / self.sentiment_weight if self.sentiment_weight > 0 else 0.0

    @property
    def language(self) -> str:
        """Language of the profile, else of the newest review, else empty."""
        if self.profile is not None and self.profile.language:
            return self.profile.language
        return self.review_language

    def messages_30d(self, at_ms: int) -> tuple[float, float]:
        """Return the counts of messages sent and clicked, decayed (half-life 30 days) to a moment."""
        if not self.sent_30d:
            return 0.0, 0.0
        elapsed_days = max(0, at_ms - self.redeemed_at_ms) / DAY_MS
        fade: float = 2.0 ** (-elapsed_days / _MESSAGE_HALF_LIFE_DAYS)
        return self.sent_30d * fade, self.clicked_30d * fade

    def value_at_stake(self, at_ms: int) -> float:
        """Return what is lost if the customer leaves, in shop currency.

        That is the mean order times the orders of a usual 90 days, at least one. A steady rate of r order days a day
        holds a decayed count of r * half-life / ln 2, which gives r back.
        """
        if not self.orders:
            return 0.0
        elapsed_days = max(0, at_ms - self.order_days_at_ms) / DAY_MS
        decayed: float = self.order_days_90d * 2.0 ** (-elapsed_days / _HALF_LIFE_DAYS)
        usual_orders = decayed * _LN2 / _HALF_LIFE_DAYS * VALUE_HORIZON_DAYS
        return self.mean_amount * max(1.0, usual_orders)


def facts_of(state: CustomerState) -> Facts:
    """Capture the facts of a customer as they are now; what changes later in `state` does not change them."""
    orders = state.orders
    clicks = state.clicks
    reviews = state.reviews
    contact = state.contact
    return Facts(
        state.profile,
        orders.completed if orders is not None else 0,
        orders.last_ms if orders is not None else 0,
        orders.total_amount if orders is not None else 0.0,
        orders.discounted if orders is not None else 0,
        orders.count_90d if orders is not None else 0.0,
        orders.decayed_at_ms if orders is not None else 0,
        orders.recent_products if orders is not None else (),
        clicks.last_ms if clicks is not None else 0,
        clicks.session_started_ms if clicks is not None else 0,
        clicks.session_cart if clicks is not None else 0,
        clicks.last_cart_ms if clicks is not None else 0,
        clicks.recent_products if clicks is not None else (),
        reviews.sentiment_60d if reviews is not None else 0.0,
        reviews.weight_60d if reviews is not None else 0.0,
        reviews.last_complaint_ms if reviews is not None else 0,
        reviews.last_survey_score if reviews is not None else -1.0,
        reviews.language if reviews is not None else "",
        contact.unsubscribed_ms if contact is not None else 0,
        contact.unsubscribed_channels if contact is not None else (),
        contact.complained_ms if contact is not None else 0,
        state.erased_ms > 0,
        contact.redeemed_30d if contact is not None else 0.0,
        contact.decayed_at_ms if contact is not None else 0,
        contact.sent_30d if contact is not None else 0.0,
        contact.clicked_30d if contact is not None else 0.0,
        contact.opened if contact is not None else 0,
        contact.clicked if contact is not None else 0,
        contact.responded if contact is not None else 0,
    )
