import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.features import FEATURE_INDEX, FEATURES, featurize
from stream_app.core.outlook import LONGEST_DAYS, expected_value, next_order_window
from stream_app.core.population import Population
from stream_app.core.state import CustomerState
from tests.support.observed import customers, raw_rows


def _row(**values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    row = np.zeros(len(FEATURES), dtype=np.float32)
    for name, value in values.items():
        row[FEATURE_INDEX[name]] = value
    return row


@given(customers(), st.floats(1e-6, 1 - 1e-6), st.floats(0, 1e6))
def test_windows_and_values_are_in_order_and_never_negative(
    state: CustomerState, probability: float, mean_amount: float
) -> None:
    row = featurize(raw_rows([state]), Population(), 30)[0]

    window = next_order_window(row)
    value = expected_value(row, probability, 30, mean_amount)

    assert window is None or 0 <= window[0] <= window[1]
    assert value >= 0


def test_a_monthly_buyer_is_expected_about_a_month_after_the_last_order() -> None:
    row = _row(log_rec=0.0, lg_mu=np.log(30.0), lg_sd=0.3)

    window = next_order_window(row)

    assert window is not None
    assert window[0] == pytest.approx(30 * np.exp(-0.2023), rel=0.02)  # 25 % quantile of the lognormal
    assert window[1] == pytest.approx(30 * np.exp(0.2023), rel=0.02)


def test_silence_moves_the_window_and_a_lost_customer_has_none() -> None:
    def after(days: float) -> tuple[float, float] | None:
        return next_order_window(_row(log_rec=np.log1p(days), lg_mu=np.log(30.0), lg_sd=1.0))

    near, far = after(30.0), after(300.0)
    assert near is not None
    assert far is not None
    assert near[0] < far[0]
    assert next_order_window(_row(log_rec=8.0, lg_mu=np.log(2000.0), lg_sd=2.0)) is None
    assert LONGEST_DAYS == 365.0


def test_steady_spending_is_worth_its_pace() -> None:
    per_day, half_life = 3.0, 60.0
    row = _row(log_dec_amt=np.log1p(per_day * half_life / np.log(2.0)))
    orders_per_day = 0.1

    value = expected_value(row, float(np.exp(-orders_per_day * 30)), 30, mean_amount=30.0)

    assert value == pytest.approx(90 * per_day, rel=0.01)
