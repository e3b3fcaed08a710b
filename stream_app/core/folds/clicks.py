"""Fold of the clickstream: visits and decayed counts of what people do in them."""

from bisect import bisect_right
from collections.abc import Sequence
from math import exp2
from zlib import crc32

from stream_app.core.events import CART_ADD, CART_REMOVE, Click, ClickEvent
from stream_app.core.state import CLICK_STEPS, ClicksState
from stream_app.core.times import DAY_MS, MINUTE_MS

_RECENT_PRODUCTS = 5
_CART_TYPES = frozenset({CART_ADD, CART_REMOVE})
_PER_7D = 1 / (7 * DAY_MS)
_PER_30D = 1 / (30 * DAY_MS)
_COUNTER_OF_TYPE = {
    "product_view": "product_views_30d",
    "product_click": "product_views_30d",
    CART_ADD: "cart_adds_30d",
    CART_REMOVE: "cart_removes_30d",
    "search": "searches_30d",
    "add_to_wishlist": "wishlist_30d",
    "share": "shares_30d",
    "promotion_view": "promotions_30d",
    "promotion_click": "promotions_30d",
    "coupon_apply": "promotions_30d",
    "checkout_start": "checkouts_30d",
}


def fold_click(clicks: ClicksState, event: Click | ClickEvent, at_ms: int, idle_ms: int = 30 * MINUTE_MS) -> bool:
    """Apply one click; return whether it begins a visit.

    A visit begins when `session_id` changes or, without one, after `idle_ms` of silence. Decayed counts stand at
    `decayed_at_ms`, which follows the clicks a day at a time: a click after it weighs more than 1, one before it less,
    so that the counts of a visit need not be faded with every click. Weights are whole `CLICK_STEPS`.
    """
    starts_visit = _starts_visit(clicks, event, at_ms, idle_ms)
    stands_at_ms = clicks.decayed_at_ms
    if not stands_at_ms or at_ms - stands_at_ms > DAY_MS:
        if stands_at_ms:
            _fade(clicks, (at_ms - stands_at_ms) / DAY_MS)
        clicks.decayed_at_ms = at_ms
        weight_7d = weight_30d = CLICK_STEPS
    else:
        weight_7d, weight_30d = _weights(at_ms - stands_at_ms)
    if starts_visit:
        _start_visit(clicks, at_ms, weight_7d, weight_30d)
    clicks.last_ms = max(clicks.last_ms, at_ms)
    clicks.first_ms = min(clicks.first_ms or at_ms, at_ms)
    clicks.session_clicks += 1
    clicks.clicks_7d += weight_7d
    clicks.clicks_30d += weight_30d
    kind = event.event_type
    counter = _COUNTER_OF_TYPE.get(kind)
    if counter is not None:
        setattr(clicks, counter, getattr(clicks, counter) + weight_30d)
        if kind in _CART_TYPES:
            _note_cart(clicks, kind, at_ms)
    if event.channel == "app":
        clicks.app_30d += weight_30d
    product = event.product_id
    if product:
        seen = clicks.recent_products
        if product not in seen:
            clicks.recent_products = (product, *seen[: _RECENT_PRODUCTS - 1])
        elif seen[0] != product:
            clicks.recent_products = (product, *(other for other in seen if other != product))
    return starts_visit


def calm_end(
    clicks: ClicksState, events: Sequence[Click], times_ms: Sequence[int], first: int, until_ms: int, idle_ms: int
) -> int:
    """Return up to which index clicks go on with the visit under way, all before `until_ms`, within a day's fading.

    Parameters
    ----------
    events, times_ms
        Consecutive clicks with event times that never decrease.
    first
        The first of them that counts.
    until_ms
        Where to stop at the latest.
    idle_ms
        Silence after which a visit without an id ends.
    """
    stands_at_ms, begun_ms = clicks.decayed_at_ms, times_ms[first]
    if not clicks.sessions or not stands_at_ms:
        return first
    last_ms = min(until_ms - 1, stands_at_ms + DAY_MS, max(clicks.last_ms, begun_ms) + idle_ms)
    end = bisect_right(times_ms, last_ms, first)
    session_id = events[first].session_id
    if session_id and crc32(session_id.encode()) != clicks.session_hash:
        return first
    if not session_id and begun_ms - clicks.last_ms > idle_ms:
        return first
    for index in range(first + 1, end):
        if events[index].session_id != session_id:
            return index
    return end


def fold_calm(clicks: ClicksState, events: Sequence[Click], times_ms: Sequence[int], first: int, end: int) -> None:
    """Apply the clicks from index `first` up to `end`, of which `calm_end` said that they go on with the visit.

    What follows is what `fold_click` leads to, one by one (law: tests/engine/test_bursts.py). Weights grow with time
    in whole steps, one in a quarter of an hour: where the first and the last click weigh the same, all do.
    """
    weights = weight_7d, weight_30d = _weights(times_ms[first] - clicks.decayed_at_ms)
    if weights != _weights(times_ms[end - 1] - clicks.decayed_at_ms):
        middle = (first + end) // 2
        fold_calm(clicks, events, times_ms, first, middle)
        fold_calm(clicks, events, times_ms, middle, end)
        return
    tally: dict[str, int] = {}
    in_app = 0
    products: list[str] = []
    for index in range(first, end):
        event = events[index]
        kind = event.event_type
        counter = _COUNTER_OF_TYPE.get(kind)
        if counter is not None:
            tally[counter] = tally.get(counter, 0) + 1
            if kind in _CART_TYPES:
                _note_cart(clicks, kind, times_ms[index])
        if event.channel == "app":
            in_app += 1
        if event.product_id:
            products.append(event.product_id)
    for counter, count in tally.items():
        setattr(clicks, counter, getattr(clicks, counter) + count * weight_30d)
    clicks.clicks_7d += (end - first) * weight_7d
    clicks.clicks_30d += (end - first) * weight_30d
    clicks.app_30d += in_app * weight_30d
    if products:
        # In the order in which they were last seen: what falls out of the list in between does not come back.
        newest_first = dict.fromkeys([*reversed(products), *clicks.recent_products])
        clicks.recent_products = tuple(newest_first)[:_RECENT_PRODUCTS]
    clicks.session_clicks += end - first
    clicks.last_ms = max(clicks.last_ms, times_ms[end - 1])
    clicks.first_ms = min(clicks.first_ms, times_ms[first])


def _weights(since_ms: int) -> tuple[int, int]:
    """Return what a click weighs in counts with half-lives of 7 and 30 days, in whole steps."""
    return int(exp2(since_ms * _PER_7D) * CLICK_STEPS + 0.5), int(exp2(since_ms * _PER_30D) * CLICK_STEPS + 0.5)


def _note_cart(clicks: ClicksState, kind: str, at_ms: int) -> None:
    if kind == CART_ADD:
        clicks.session_cart += 1
        clicks.last_cart_ms = max(clicks.last_cart_ms, at_ms)
    elif clicks.session_cart:
        clicks.session_cart -= 1


def _starts_visit(clicks: ClicksState, event: Click | ClickEvent, at_ms: int, idle_ms: int) -> bool:
    session_id = event.session_id
    if session_id:
        identity = crc32(session_id.encode())
        if identity == clicks.session_hash and clicks.sessions:
            return False
        clicks.session_hash = identity
        return True
    return clicks.sessions == 0 or at_ms - clicks.last_ms > idle_ms


def _start_visit(clicks: ClicksState, at_ms: int, weight_7d: int, weight_30d: int) -> None:
    if clicks.session_cart:
        clicks.full_carts_30d += weight_30d
    clicks.sessions += 1
    clicks.sessions_7d += weight_7d
    clicks.sessions_30d += weight_30d
    clicks.session_started_ms = at_ms
    clicks.session_clicks = 0
    clicks.session_cart = 0


def _fade(clicks: ClicksState, days: float) -> None:
    """Fade all counts, rounding down: to the nearest, a small one of a daily visitor would never end."""
    fade_7d, fade_30d = exp2(-days / 7), exp2(-days / 30)
    clicks.clicks_7d = int(clicks.clicks_7d * fade_7d)
    clicks.sessions_7d = int(clicks.sessions_7d * fade_7d)
    clicks.clicks_30d = int(clicks.clicks_30d * fade_30d)
    clicks.sessions_30d = int(clicks.sessions_30d * fade_30d)
    clicks.product_views_30d = int(clicks.product_views_30d * fade_30d)
    clicks.cart_adds_30d = int(clicks.cart_adds_30d * fade_30d)
    clicks.cart_removes_30d = int(clicks.cart_removes_30d * fade_30d)
    clicks.searches_30d = int(clicks.searches_30d * fade_30d)
    clicks.wishlist_30d = int(clicks.wishlist_30d * fade_30d)
    clicks.shares_30d = int(clicks.shares_30d * fade_30d)
    clicks.promotions_30d = int(clicks.promotions_30d * fade_30d)
    clicks.checkouts_30d = int(clicks.checkouts_30d * fade_30d)
    clicks.app_30d = int(clicks.app_30d * fade_30d)
    clicks.full_carts_30d = int(clicks.full_carts_30d * fade_30d)
