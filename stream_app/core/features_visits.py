"""Features of visits, carts and search, of what customers say, and of the season.

A customer without clicks (or reviews) has 0 in every one of them, and 0 in the `..._known` flag: 0 is the neutral value
throughout, which is why recency enters as freshness (1 just now, 0 never) and ratings and sentiment as signed
deviations.
"""

from collections.abc import Callable

import numpy as np

from stream_app.core.features_columns import Column, Columns, halved
from stream_app.core.features_types import Feature

_YEAR_DAYS = 365.2425
_NEUTRAL_RATING = 3.0
_NEUTRAL_SURVEY = 7.0


def _recent(name: str) -> Callable[[Columns], Column]:
    """Return the feature function ln(1 + decayed count) of a click column with half-life 30 days."""

    def function(c: Columns) -> Column:
        column: Column = np.log1p(c.raw(name) * c.fade_30d)
        return column

    return function


def _open_cart(c: Columns) -> Column:
    age = np.maximum(c.raw("cart_age"), 0.0)
    column: Column = halved(age, 14.0) * ((age < c.recency) | (c.orders == 0.0))
    return column


def _visit_trend(c: Columns) -> Column:
    recent = c.raw("sessions_7d") * c.fade_7d
    return c.raw("clicks_known") * np.log((recent / 10.1 + 0.01) / (c.sessions_30d / 43.3 + 0.01))


def _visits_since_order(c: Columns) -> Column:
    return c.raw("clicks_known") * (c.raw("click_recency") < c.recency)


def _sentiment(c: Columns) -> Column:
    return c.raw("sentiment_60d") * c.review_fade / (c.raw("weight_60d") * c.review_fade + 1.0)


def _rating(c: Columns) -> Column:
    weight = c.raw("rating_weight_60d") * c.review_fade
    return (c.raw("rating_60d") * c.review_fade - _NEUTRAL_RATING * weight) / (weight + 1.0)


def _survey(c: Columns) -> Column:
    score = c.raw("survey_score")
    return np.where(score >= 0.0, (score - _NEUTRAL_SURVEY) / 3.0, 0.0)


VISIT_FEATURES = (
    Feature("clicks_known", "0 or 1", "has ever visited", "visits", lambda c: c.raw("clicks_known")),
    Feature(
        "click_fresh",
        "share",
        "freshness of the last visit, half-life 14 d",
        "visits",
        lambda c: halved(np.maximum(c.raw("click_recency"), 0.0), 14.0),
    ),
    Feature(
        "clicks_7",
        "ln(1+clicks)",
        "clicks of late, half-life 7 d",
        "visits",
        lambda c: np.log1p(c.raw("clicks_7d") * c.fade_7d),
    ),
    Feature("clicks_30", "ln(1+clicks)", "clicks, half-life 30 d", "visits", _recent("clicks_30d")),
    Feature(
        "sessions_7",
        "ln(1+visits)",
        "visits of late, half-life 7 d",
        "visits",
        lambda c: np.log1p(c.raw("sessions_7d") * c.fade_7d),
    ),
    Feature("sessions_30", "ln(1+visits)", "visits, half-life 30 d", "visits", _recent("sessions_30d")),
    Feature("visit_trend", "ln ratio", "visits of late against visits before", "visit_trend", _visit_trend),
    Feature("visit_since_order", "0 or 1", "has visited since the last order", "visits", _visits_since_order),
    Feature("views_30", "ln(1+views)", "products looked at", "interest", _recent("product_views_30d")),
    Feature("cart_adds_30", "ln(1+items)", "goods put in the cart", "cart", _recent("cart_adds_30d")),
    Feature("cart_removes_30", "ln(1+items)", "goods taken out of the cart", "cart", _recent("cart_removes_30d")),
    Feature(
        "full_carts_30", "ln(1+visits)", "visits that ended with goods in the cart", "cart", _recent("full_carts_30d")
    ),
    Feature("cart_open", "share", "freshness of a cart that no order followed", "cart", _open_cart),
    Feature(
        "cart_rate",
        "share",
        "cart additions per product view",
        "cart",
        lambda c: np.minimum(c.cart_adds_30d / (c.views_30d + 1.0), 5.0),
    ),
    Feature("searches_30", "ln(1+searches)", "searches", "interest", _recent("searches_30d")),
    Feature("wishlist_30", "ln(1+items)", "wishes noted", "interest", _recent("wishlist_30d")),
    Feature("shares_30", "ln(1+shares)", "products shared", "interest", _recent("shares_30d")),
    Feature("promotions_30", "ln(1+clicks)", "promotions looked at", "discount", _recent("promotions_30d")),
    Feature("checkouts_30", "ln(1+steps)", "checkouts begun", "cart", _recent("checkouts_30d")),
    Feature(
        "app_share",
        "share",
        "part of clicks in the app",
        "channel",
        lambda c: c.raw("app_30d") * c.fade_30d / (c.clicks_30d + 1.0),
    ),
)

VOICE_FEATURES = (
    Feature("reviews_known", "0 or 1", "has ever said something", "voice", lambda c: c.raw("reviews_known")),
    Feature(
        "reviews_60",
        "ln(1+texts)",
        "reviews and messages, half-life 60 d",
        "voice",
        lambda c: np.log1p(c.raw("weight_60d") * c.review_fade),
    ),
    Feature("sentiment", "-1 to 1", "tone of what was said", "voice", _sentiment),
    Feature(
        "last_sentiment",
        "-1 to 1",
        "tone of the last text, fading",
        "voice",
        lambda c: c.raw("last_sentiment") * c.review_fade,
    ),
    Feature("rating", "stars from 3", "stars given, fading", "voice", _rating),
    Feature(
        "complaints_60",
        "ln(1+complaints)",
        "complaints, half-life 60 d",
        "trouble",
        lambda c: np.log1p(c.raw("complaints_60d") * c.review_fade),
    ),
    Feature(
        "complaint_fresh",
        "share",
        "freshness of the last complaint, half-life 14 d",
        "trouble",
        lambda c: halved(np.maximum(c.raw("complaint_age"), 0.0), 14.0),
    ),
    Feature("survey", "thirds from 7", "last survey answer", "voice", _survey),
)

SEASON_FEATURES = (
    Feature(
        "season_sin", "-1 to 1", "time of year", "season", lambda c: np.sin(c.raw("at") * (2.0 * np.pi / _YEAR_DAYS))
    ),
    Feature(
        "season_cos", "-1 to 1", "time of year", "season", lambda c: np.cos(c.raw("at") * (2.0 * np.pi / _YEAR_DAYS))
    ),
)
