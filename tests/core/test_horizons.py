import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.horizons import answer_further, label_due_ms, pop_observation, take_further
from stream_app.core.observations import AFTER_ORDER, MOST_PENDING, ON_CALENDAR, take_observation
from stream_app.core.state import CustomerState, Observation, new_state
from stream_app.core.times import DAY_MS


def _taken(state: CustomerState, at_ms: int, days: int, name: str = "ada", weight: float = 1.0) -> None:
    observation = Observation(at_ms=at_ms, kind=ON_CALENDAR, weight=weight)
    take_further(state, name, observation, days, 0, thin=True)


def test_thinning_is_made_up_for_by_weights() -> None:
    total = 0.0
    for number in range(400):
        state = new_state()
        for look in range(40):
            _taken(state, look * DAY_MS, 90, f"customer-{number}")
        assert len(state.further or []) <= MOST_PENDING
        total += sum(one.weight for one in state.further or [])

    assert total / 400 == pytest.approx(40, rel=0.05)


def test_an_observation_of_the_same_moment_is_replaced_and_keeps_its_weight() -> None:
    state = new_state()
    _taken(state, DAY_MS, 60, weight=4.0)
    answer_further(state.further or [], 2 * DAY_MS)
    _taken(state, DAY_MS, 60, weight=1.0)

    (only,) = state.further or []
    assert (only.weight, only.retained) == (4.0, False)


@given(
    moments=st.lists(st.integers(1, 100), min_size=1, max_size=12),
    horizons=st.lists(st.sampled_from([40, 60, 90]), unique=True, max_size=3),
    lateness=st.sampled_from([0, 5]),
)
def test_labels_leave_in_the_order_in_which_they_are_due(
    moments: list[int], horizons: list[int], lateness: int
) -> None:
    state = new_state()
    delay = 30 + lateness
    for moment in sorted(moments):
        taken = take_observation(state.pending, "ada", moment, AFTER_ORDER, thin=True)
        if taken is not None:
            for days in horizons:
                take_further(state, "ada", taken, days, lateness, thin=False)
    waiting = len(state.pending) + len(state.further or [])

    due = []
    while moment := label_due_ms(state, delay):
        pop_observation(state, delay)
        due.append(moment)

    assert len(due) == waiting
    assert due == sorted(due)
    assert state.further is None


def test_there_is_no_label_of_a_customer_without_observations() -> None:
    assert label_due_ms(new_state(), 30) == 0
    with pytest.raises(AssertionError, match="a label is due"):
        pop_observation(new_state(), 30)
