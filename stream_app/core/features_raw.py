"""First stage of the features: one plain row of numbers per customer, taken from the state at a time.

It runs for every scored event, so it only reads and subtracts; decays, logarithms and everything else happen for whole
blocks in `stream_app.core.features`. Ages are in days, counts of clicks in the steps of `core.state.CLICK_STEPS`. A
sub-state that a customer does not have gives zeros.
"""

from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS

ORDER_COLUMNS = (
    "recency",
    "tenure",
    "orders",
    "days",
    "gaps",
    "sum_ln_gap",
    "sum_ln_gap_squared",
    "ewma_ln_gap",
    "last_gap",
    "max_gap",
    "orders_age",
    "count_14d",
    "count_30d",
    "count_90d",
    "repeat_60d",
    "amount_60d",
    "sum_ln_amount",
    "last_ln_amount",
    "sum_ln_lines",
    "cancelled",
    "returned",
    "discounted",
    "cancelled_age",
)
CLICK_COLUMNS = (
    "clicks_known",
    "click_recency",
    "clicks_age",
    "clicks_7d",
    "clicks_30d",
    "sessions_7d",
    "sessions_30d",
    "product_views_30d",
    "cart_adds_30d",
    "cart_removes_30d",
    "searches_30d",
    "wishlist_30d",
    "shares_30d",
    "promotions_30d",
    "checkouts_30d",
    "app_30d",
    "full_carts_30d",
    "cart_age",
)
REVIEW_COLUMNS = (
    "reviews_known",
    "reviews_age",
    "reviews",
    "weight_60d",
    "sentiment_60d",
    "rating_weight_60d",
    "rating_60d",
    "complaints_60d",
    "last_sentiment",
    "complaint_age",
    "survey_score",
)
RAW_COLUMNS = ("calendar", "at", *ORDER_COLUMNS, *CLICK_COLUMNS, *REVIEW_COLUMNS)
"""Names of a raw row's numbers. `calendar` is the kind of the point: 0 after an order, 1 on the calendar or at any
other time."""
RAW_WIDTH = len(RAW_COLUMNS)

NEVER_DAYS = 1e6
"""Age of what never happened: everything decayed by it is zero."""

_DAYS = 1.0 / DAY_MS
_NO_ORDERS: list[float] = [*[0.0] * (len(ORDER_COLUMNS) - 1), NEVER_DAYS]
_NO_CLICKS: list[float] = [0.0, NEVER_DAYS, *[0.0] * (len(CLICK_COLUMNS) - 3), NEVER_DAYS]
_NO_REVIEWS: list[float] = [*[0.0] * (len(REVIEW_COLUMNS) - 2), NEVER_DAYS, -1.0]


def raw_row(state: CustomerState, at_ms: int, kind: int) -> list[float]:
    """Return the numbers of `RAW_COLUMNS` for a customer at an event time.

    A customer whose orders were all cancelled stands like one without orders, but for the cancellations.
    """
    row: list[float] = [float(kind), at_ms * _DAYS]
    orders = state.orders
    if orders is None:
        row += _NO_ORDERS
    else:
        bought = orders.completed > 0
        row += (
            (at_ms - orders.last_ms) * _DAYS if bought else 0.0,
            (at_ms - orders.first_ms) * _DAYS if bought else 0.0,
            orders.completed,
            orders.days,
            orders.gaps,
            orders.sum_ln_gap,
            orders.sum_ln_gap_squared,
            orders.ewma_ln_gap,
            orders.last_gap_days,
            orders.max_gap_days,
            (at_ms - orders.decayed_at_ms) * _DAYS,
            orders.count_14d,
            orders.count_30d,
            orders.count_90d,
            orders.repeat_60d,
            orders.amount_60d,
            orders.sum_ln_amount,
            orders.last_ln_amount,
            orders.sum_ln_lines,
            orders.cancelled,
            orders.returned,
            orders.discounted,
            (at_ms - orders.last_cancelled_ms) * _DAYS if orders.last_cancelled_ms else NEVER_DAYS,
        )
    clicks = state.clicks
    if clicks is None:
        row += _NO_CLICKS
    else:
        row += (
            1.0,
            (at_ms - clicks.last_ms) * _DAYS,
            (at_ms - clicks.decayed_at_ms) * _DAYS,
            clicks.clicks_7d,
            clicks.clicks_30d,
            clicks.sessions_7d,
            clicks.sessions_30d,
            clicks.product_views_30d,
            clicks.cart_adds_30d,
            clicks.cart_removes_30d,
            clicks.searches_30d,
            clicks.wishlist_30d,
            clicks.shares_30d,
            clicks.promotions_30d,
            clicks.checkouts_30d,
            clicks.app_30d,
            clicks.full_carts_30d,
            (at_ms - clicks.last_cart_ms) * _DAYS if clicks.last_cart_ms else NEVER_DAYS,
        )
    reviews = state.reviews
    if reviews is None:
        row += _NO_REVIEWS
    else:
        row += (
            1.0,
            (at_ms - reviews.decayed_at_ms) * _DAYS,
            reviews.count,
            reviews.weight_60d,
            reviews.sentiment_60d,
            reviews.rating_weight_60d,
            reviews.rating_60d,
            reviews.complaints_60d,
            reviews.last_sentiment,
            (at_ms - reviews.last_complaint_ms) * _DAYS if reviews.last_complaint_ms else NEVER_DAYS,
            reviews.last_survey_score,
        )
    return row
