"""Apply one event to one customer: which fold it goes to, and whether it asks for a score."""

from collections.abc import Sequence
from typing import Literal

from stream_app.core.events import (
    Click,
    ClickEvent,
    CustomerEntry,
    CustomerProfile,
    FeedbackEvent,
    OrderEvent,
    ReviewEvent,
)
from stream_app.core.folds.clicks import calm_end, fold_calm, fold_click
from stream_app.core.folds.orders import fold_order
from stream_app.core.folds.people import fold_feedback, profile_of
from stream_app.core.folds.reviews import fold_review
from stream_app.core.horizons import answer_further
from stream_app.core.observations import answer_observations
from stream_app.core.state import ClicksState, ContactState, CustomerState, OrdersState, ReviewsState
from stream_app.core.times import DAY_MS, MINUTE_MS
from stream_app.engine.calendar import cart_due_ms
from stream_app.engine.policy import EnginePolicy
from stream_app.sentiment.protocol import Sentiment

Trigger = Literal["click", "order", "review", "feedback"]


class Applier:
    """Knows how events of each kind change a customer. Holds no state of its own."""

    def __init__(self, policy: EnginePolicy, sentiment: Sentiment) -> None:
        self._policy = policy
        self._sentiment = sentiment
        self._horizon_ms = policy.horizon_days * DAY_MS
        self._click_score_ms = policy.click_score_minutes * MINUTE_MS
        self._idle_ms = policy.session_idle_minutes * MINUTE_MS

    def apply(self, state: CustomerState, event: CustomerEntry, at_ms: int) -> Trigger | None:
        """Fold the event in; return what it is as a reason for a new score, or None if it is none."""
        match event:
            case Click() | ClickEvent():
                return self.click(state, event, at_ms)
            case OrderEvent():
                return self._order(state, event, at_ms)
            case ReviewEvent():
                return self._review(state, event, at_ms)
            case FeedbackEvent():
                if state.contact is None:
                    state.contact = ContactState()
                fold_feedback(state.contact, event, at_ms)
                return "feedback"
            case CustomerProfile():
                if state.profile is None or at_ms >= state.profile.at_ms:
                    state.profile = profile_of(event, at_ms)
                    if state.profile.profiling is False:
                        state.pending, state.further = [], None
                return None

    def click(self, state: CustomerState, event: Click | ClickEvent, at_ms: int) -> Trigger | None:
        """Fold a click in; as `apply`."""
        clicks = state.clicks
        if clicks is None:
            clicks = state.clicks = ClicksState()
        starts_visit = fold_click(clicks, event, at_ms, self._idle_ms)
        self._note_cart_due(state, clicks)
        if starts_visit or at_ms - clicks.scored_ms >= self._click_score_ms:
            clicks.scored_ms = at_ms
            return "click"
        return None

    def calm_end(self, state: CustomerState, events: Sequence[Click], times_ms: Sequence[int], first: int) -> int:
        """Return up to which index clicks of a run neither begin a visit nor ask for a score; `first` if none."""
        clicks = state.clicks
        if clicks is None:
            return first
        return calm_end(clicks, events, times_ms, first, clicks.scored_ms + self._click_score_ms, self._idle_ms)

    def calm_clicks(
        self, state: CustomerState, events: Sequence[Click], times_ms: Sequence[int], first: int, end: int
    ) -> None:
        """Fold the clicks in that `calm_end` told of."""
        clicks = state.clicks
        assert clicks is not None
        fold_calm(clicks, events, times_ms, first, end)
        self._note_cart_due(state, clicks)

    def _note_cart_due(self, state: CustomerState, clicks: ClicksState) -> None:
        if clicks.session_cart:
            state.cart_due_ms = cart_due_ms(clicks.last_ms, self._policy.session_idle_minutes)
        elif state.cart_due_ms:
            state.cart_due_ms = 0

    def _order(self, state: CustomerState, event: OrderEvent, at_ms: int) -> Trigger:
        if state.orders is None:
            state.orders = OrdersState()
        if fold_order(state.orders, event, at_ms, self._shop_amount(event)):
            answer_observations(state.pending, at_ms, self._horizon_ms)
            if state.further:
                answer_further(state.further, at_ms)
        return "order"

    def _review(self, state: CustomerState, event: ReviewEvent, at_ms: int) -> Trigger:
        if state.reviews is None:
            state.reviews = ReviewsState()
        polarity = None
        if event.text and self._policy.sentiment_enabled:
            polarity = self._sentiment.polarity(event.text, event.language)
        fold_review(state.reviews, event, at_ms, polarity)
        return "review"

    def _shop_amount(self, event: OrderEvent) -> float:
        if event.currency is None or event.currency == self._policy.default_currency:
            return event.amount
        return event.amount * self._policy.exchange_rates.get(event.currency, 1.0)
