"""Customers, feature rows and training examples as tests need them: plausible, seeded, and in any number."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURES_HASH, featurize, raw_row
from stream_app.core.packing import pack
from stream_app.core.population import Population
from stream_app.core.state import CLICK_STEPS, ClicksState, CustomerState, OrdersState, ReviewsState, new_state
from stream_app.core.times import DAY_MS

AT_MS = 20_000 * DAY_MS
HORIZON_DAYS = 30

_days = st.floats(0.0, 700.0, allow_nan=False)
_counts = st.floats(0.0, 50.0, allow_nan=False)
_click_counts = _counts.map(lambda count: int(count * CLICK_STEPS))


@st.composite
def customers(draw: st.DrawFn) -> CustomerState:
    state = new_state()
    if draw(st.booleans()):
        tenure = draw(_days)
        recency = draw(st.floats(0.0, 1.0)) * tenure
        days = draw(st.integers(0, 40))
        gaps = max(days - 1, 0)
        gap = draw(st.floats(0.5, 200.0))
        state.orders = OrdersState(
            first_ms=AT_MS - int(tenure * DAY_MS),
            last_ms=AT_MS - int(recency * DAY_MS),
            completed=days + draw(st.integers(0, 3)) if days else 0,
            days=days,
            gaps=gaps,
            sum_ln_gap=gaps * float(np.log(gap)),
            sum_ln_gap_squared=gaps * float(np.log(gap)) ** 2,
            ewma_ln_gap=float(np.log(gap)) if gaps else 0.0,
            last_gap_days=gap if gaps else 0.0,
            max_gap_days=gap if gaps else 0.0,
            decayed_at_ms=AT_MS - int(recency * DAY_MS),
            count_14d=draw(_counts),
            count_30d=draw(_counts),
            count_90d=draw(_counts),
            repeat_60d=draw(_counts),
            amount_60d=draw(st.floats(0.0, 1e9)),
            sum_ln_amount=draw(_counts),
            last_ln_amount=draw(st.floats(0.0, 20.0)),
            sum_ln_lines=draw(_counts),
            cancelled=draw(st.integers(0, 9)),
            returned=draw(st.integers(0, 9)),
        )
    if draw(st.booleans()):
        age = int(draw(_days) * DAY_MS)
        state.clicks = ClicksState(
            last_ms=AT_MS - age,
            decayed_at_ms=AT_MS - age,
            clicks_7d=draw(_click_counts),
            clicks_30d=draw(_click_counts),
            sessions_30d=draw(_click_counts),
            cart_adds_30d=draw(_click_counts),
            last_cart_ms=AT_MS - age if draw(st.booleans()) else 0,
        )
    if draw(st.booleans()):
        weight = draw(_counts)
        state.reviews = ReviewsState(
            decayed_at_ms=AT_MS - int(draw(_days) * DAY_MS),
            count=3,
            weight_60d=weight,
            sentiment_60d=weight * draw(st.floats(-1.0, 1.0)),
            last_sentiment=draw(st.floats(-1.0, 1.0)),
        )
    return state


def raw_rows(states: Sequence[CustomerState], kind: int = 1) -> NDArray[np.float64]:
    return np.array([raw_row(state, AT_MS, kind) for state in states], dtype=np.float64)


def shop_rows(count: int, seed: int = 1) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return features of a shop's customers at random times, and labels that depend on silence and on the count of
    orders."""
    random = np.random.default_rng(seed)
    rows: list[list[float]] = []
    logits: list[float] = []
    for _ in range(count):
        days = int(random.integers(1, 12))
        recency, gap = float(random.exponential(40.0)), float(random.uniform(3.0, 60.0))
        tenure = recency + gap * (days - 1)
        state = new_state()
        state.orders = OrdersState(
            first_ms=AT_MS - int(tenure * DAY_MS),
            last_ms=AT_MS - int(recency * DAY_MS),
            completed=days,
            days=days,
            gaps=days - 1,
            sum_ln_gap=(days - 1) * float(np.log(gap)),
            sum_ln_gap_squared=(days - 1) * float(np.log(gap)) ** 2,
            ewma_ln_gap=(1.0 - 0.7 ** (days - 1)) * float(np.log(gap)),
            last_gap_days=gap if days > 1 else 0.0,
            max_gap_days=gap if days > 1 else 0.0,
            decayed_at_ms=AT_MS - int(recency * DAY_MS),
            count_14d=1.0,
            count_30d=min(days, 3),
            count_90d=min(days, 5),
            repeat_60d=min(days - 1, 4),
            amount_60d=50.0 * days,
            sum_ln_amount=4.0 * days,
            last_ln_amount=4.0,
            sum_ln_lines=1.0 * days,
        )
        rows.append(raw_row(state, AT_MS, int(random.integers(0, 2))))
        logits.append(0.05 * (recency - gap) - 0.2 * days + 0.5)
    labels = random.random(count) < 1.0 / (1.0 + np.exp(-np.array(logits)))
    return featurize(np.array(rows, dtype=np.float64), Population(), HORIZON_DAYS), labels


def examples_of(
    rows: NDArray[np.float32],
    labels: NDArray[np.bool_],
    probabilities: Sequence[float] | None = None,
    first_sequence: int = 1,
    **changes: Any,
) -> list[TrainingExample]:
    result = []
    for index, (row, churned) in enumerate(zip(rows, labels.tolist(), strict=True)):
        fields: dict[str, Any] = {
            "example_id": f"e{first_sequence + index}",
            "customer_id": f"c{index}",
            "partition": 0,
            "sequence": first_sequence + index,
            "at_ms": AT_MS + index,
            "due_ms": AT_MS + index + HORIZON_DAYS * DAY_MS,
            "horizon_days": HORIZON_DAYS,
            "kind": int(row[-1]),
            "churned": churned,
            "weight": 1.0,
            "features": pack(row),
            "features_hash": FEATURES_HASH,
            "probability": 0.5 if probabilities is None else probabilities[index],
            "model_version": "prior",
        }
        result.append(TrainingExample(**(fields | changes)))
    return result
