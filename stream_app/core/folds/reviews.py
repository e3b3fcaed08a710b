"""Fold of what customers say: decayed sentiment, ratings and complaints."""

from math import exp2

from stream_app.core.events import ReviewEvent
from stream_app.core.state import ReviewsState
from stream_app.core.times import DAY_MS

HALF_LIFE_DAYS = 60


def fold_review(reviews: ReviewsState, event: ReviewEvent, at_ms: int, polarity: float | None) -> None:
    """Apply one review, feedback, complaint, chat or survey answer.

    Parameters
    ----------
    reviews
        Changed in place.
    event
        What was said.
    at_ms
        Its event time.
    polarity
        Sentiment of its text, -1 to 1, or None where there is no text.
    """
    days = (at_ms - reviews.decayed_at_ms) / DAY_MS if reviews.count else 0.0
    weight = 1.0
    if days >= 0:
        fade = exp2(-days / HALF_LIFE_DAYS)
        reviews.weight_60d *= fade
        reviews.sentiment_60d *= fade
        reviews.rating_weight_60d *= fade
        reviews.rating_60d *= fade
        reviews.complaints_60d *= fade
        reviews.decayed_at_ms = at_ms
    else:
        weight = exp2(days / HALF_LIFE_DAYS)
    if polarity is not None:
        reviews.weight_60d += weight
        reviews.sentiment_60d += weight * polarity
        reviews.last_sentiment = polarity
    if event.rating is not None:
        reviews.rating_weight_60d += weight
        reviews.rating_60d += weight * event.rating
    if event.kind == "complaint":
        reviews.complaints_60d += weight
        reviews.last_complaint_ms = max(reviews.last_complaint_ms, at_ms)
    if event.score is not None:
        reviews.last_survey_score = event.score
    reviews.first_ms = min(reviews.first_ms or at_ms, at_ms)
    reviews.last_ms = max(reviews.last_ms, at_ms)
    reviews.count += 1
    if event.language:
        reviews.language = event.language
