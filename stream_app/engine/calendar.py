"""What comes due for a customer, and when: the calendar's looks, labels, carts left behind, outcomes of draws."""

from stream_app.core.hashing import unit_draw
from stream_app.core.state import CustomerState
from stream_app.core.times import DAY_MS, MINUTE_MS
from stream_app.decisions.outcomes import WINDOW_MS
from stream_app.engine.policy import EnginePolicy

_CART_GRID_MS = 5 * MINUTE_MS


def next_due_ms(state: CustomerState, label_delay_ms: int) -> int:
    """Return when the customer is due next, 0 for never; `label_delay_ms` is horizon plus allowed lateness.

    All due times are in event time as the partition reaches it, so labels wait for late orders as well.
    """
    due_ms = state.next_look_ms
    if state.cart_due_ms and (not due_ms or state.cart_due_ms < due_ms):
        due_ms = state.cart_due_ms
    oldest_ms = state.oldest_pending_ms
    if oldest_ms and (not due_ms or oldest_ms + label_delay_ms < due_ms):
        due_ms = oldest_ms + label_delay_ms
    if state.further and (not due_ms or state.further[0].handed_ms < due_ms):
        due_ms = state.further[0].handed_ms
    drawn_ms = state.oldest_draw_ms
    if drawn_ms and (not due_ms or drawn_ms + WINDOW_MS < due_ms):
        due_ms = drawn_ms + WINDOW_MS
    retry_ms = state.retry_at_ms
    if retry_ms and (not due_ms or retry_ms < due_ms):
        due_ms = retry_ms
    return due_ms


def take_retry(state: CustomerState, due_ms: int) -> bool:
    """Say whether a decision that quiet hours stopped is due to be tried again, and forget that it is."""
    if not 0 < state.retry_at_ms <= due_ms or state.ledger is None:
        return False
    state.ledger.retry_at_ms = 0
    return True


def look_after(customer_id: str, after_ms: int, policy: EnginePolicy) -> int:
    """Return the first look of the calendar at a customer later than `after_ms`.

    Each customer has its own phase within the observation period by a hash, so that the work spreads evenly; with
    `calendar_common` all share the phase of `calendar_origin_ms`.
    """
    step_ms = policy.look_days * DAY_MS
    phase_ms = _phase_ms(customer_id, policy)
    return after_ms + step_ms - (after_ms - phase_ms) % step_ms


def leaves_observation(customer_id: str, look_ms: int, policy: EnginePolicy) -> bool:
    """Say whether a look is one of those that leave an observation to learn from."""
    return (look_ms - _phase_ms(customer_id, policy)) % (policy.observation_days * DAY_MS) == 0


def is_eligible(state: CustomerState, at_ms: int, policy: EnginePolicy) -> bool:
    """Say whether a customer is looked at: it has ordered, not too long ago, and did not opt out of profiling."""
    orders = state.orders
    if orders is None or not orders.completed:
        return False
    if state.profile is not None and state.profile.profiling is False:
        return False
    return at_ms - orders.last_ms <= policy.eligible_days * DAY_MS


def cart_due_ms(last_click_ms: int, idle_minutes: int) -> int:
    """Return when a visit counts as left, on a five-minute grid so that a busy visit does not set a timer a click."""
    left_ms = last_click_ms + idle_minutes * MINUTE_MS
    return left_ms + (-left_ms) % _CART_GRID_MS


def _phase_ms(customer_id: str, policy: EnginePolicy) -> int:
    if policy.calendar_common:
        return policy.calendar_origin_ms
    period_minutes = policy.observation_days * DAY_MS // MINUTE_MS
    return int(unit_draw("calendar", customer_id) * period_minutes) * MINUTE_MS
