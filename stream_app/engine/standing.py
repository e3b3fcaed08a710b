"""What a customer's state says at once: whether it may be used, what others may learn from it, what was left behind."""

from stream_app.core.hashing import unit_draw
from stream_app.core.state import CustomerState


def opted_out(state: CustomerState) -> bool:
    """Say whether the customer refused profiling."""
    return state.profile is not None and state.profile.profiling is False


def left_a_cart(state: CustomerState) -> bool:
    """Say whether a visit ended with goods in the cart and no order since it began."""
    clicks, orders = state.clicks, state.orders
    if clicks is None or not clicks.session_cart:
        return False
    return orders is None or orders.last_ms < clicks.session_started_ms


def listed_purchases(customer_id: str, state: CustomerState, share: float) -> tuple[str, ...]:
    """Return the purchases that product picks for others may be made from: those of a share of all customers."""
    if state.orders is None or opted_out(state):
        return ()
    if share < 1 and unit_draw("picks", customer_id) >= share:
        return ()
    return state.orders.recent_products
