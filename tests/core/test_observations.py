from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.observations import (
    AFTER_ORDER,
    MOST_PENDING,
    ON_CALENDAR,
    answer_observations,
    inclusion_probability,
    take_observation,
)
from stream_app.core.state import Observation
from stream_app.core.times import DAY_MS


@given(st.lists(st.integers(0, 10_000), unique=True))
def test_never_more_than_the_bound_wait_and_they_stay_in_time_order(times: list[int]) -> None:
    pending: list[Observation] = []

    for at_ms in times:
        take_observation(pending, "ada", at_ms, AFTER_ORDER, thin=True)

    assert len(pending) <= MOST_PENDING
    assert [known.at_ms for known in pending] == sorted(known.at_ms for known in pending)


def test_weights_make_up_for_what_was_thinned_away() -> None:
    taken = 0.0
    customers = 4_000
    for number in range(customers):
        pending = [Observation(at_ms=at_ms, kind=ON_CALENDAR) for at_ms in range(11)]
        observation = take_observation(pending, f"customer-{number}", 99, ON_CALENDAR, thin=True)
        taken += observation.weight if observation is not None else 0.0

    assert inclusion_probability(11) == 0.25
    assert abs(taken / customers - 1) < 0.1


def test_orders_of_one_instant_leave_one_observation() -> None:
    pending: list[Observation] = []

    take_observation(pending, "ada", 5, AFTER_ORDER, thin=True)
    take_observation(pending, "ada", 5, AFTER_ORDER, thin=True)
    take_observation(pending, "ada", 5, ON_CALENDAR, thin=True)

    assert len(pending) == 2


def test_only_an_order_within_the_horizon_answers() -> None:
    horizon_ms = 30 * DAY_MS
    answers = {}
    for order_ms in (100, 101, 100 + horizon_ms, 101 + horizon_ms):
        pending = [Observation(at_ms=100, kind=AFTER_ORDER)]
        answer_observations(pending, order_ms, horizon_ms)
        answers[order_ms - 100] = pending[0].retained

    assert answers == {0: False, 1: True, horizon_ms: True, horizon_ms + 1: False}
