from hypothesis import given
from hypothesis import strategies as st

from stream_app.dashboard.rates import HISTORY, WINDOW_SECONDS, RateMeter


@given(st.floats(0.2, 3.0), st.integers(0, 5_000), st.integers(2, 200))
def test_a_steady_flow_has_its_own_rate(step_seconds: float, per_step: int, readings: int) -> None:
    meter = RateMeter()
    rate = 0.0
    for index in range(readings):
        rate = meter.read(index * per_step, index * step_seconds)

    assert abs(rate - per_step / step_seconds) < 1e-6 * max(1, per_step)
    assert len(meter.history) == min(readings, HISTORY)


def test_a_burst_is_forgotten_after_the_window() -> None:
    meter = RateMeter()
    meter.read(0, 0.0)
    meter.read(10_000, 1.0)
    rates = [meter.read(10_000, 1.0 + second) for second in range(1, 8)]

    assert rates[0] > 0
    assert rates[-1] == 0.0
    assert WINDOW_SECONDS < 7


def test_a_count_that_falls_starts_anew() -> None:
    meter = RateMeter()
    meter.read(500, 0.0)

    assert meter.read(3, 1.0) == 0.0
    assert meter.read(13, 2.0) == 10.0
