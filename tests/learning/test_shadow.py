from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.times import DAY_MS
from stream_app.learning import shadow
from stream_app.learning.shadow import SLACK_DAYS, FrozenCopy, FrozenWeights, Panel, WeightHistory
from stream_app.learning.zoo.registry import create
from tests.support.observed import HORIZON_DAYS, shop_rows

_HORIZON_MS = HORIZON_DAYS * DAY_MS
_ROWS, _LABELS = shop_rows(200)
_ONES = np.ones(len(_LABELS))


@given(
    throughs=st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True).map(sorted),
    age_days=st.integers(0, HORIZON_DAYS + SLACK_DAYS),
)
def test_what_stood_at_t_is_the_newest_that_learned_nothing_later(throughs: list[int], age_days: int) -> None:
    history = WeightHistory(_HORIZON_MS)
    for day in throughs:
        history.set_aside(day * DAY_MS, {})
    at_ms = (throughs[-1] - age_days) * DAY_MS

    entry = history.at(at_ms)

    allowed = [day * DAY_MS for day in throughs if day * DAY_MS <= at_ms]
    if allowed:
        assert history.entries[entry][0] == allowed[-1]
    else:
        assert entry == -1


def test_what_no_label_can_ask_for_is_let_go() -> None:
    history = WeightHistory(_HORIZON_MS)
    for day in range(1_000):
        history.set_aside(day * DAY_MS, {})

    assert len(history.entries) == HORIZON_DAYS + SLACK_DAYS + 1


def test_frozen_weights_say_what_the_model_said_however_it_learns_on() -> None:
    model = create("kalman")
    model.learn(_ROWS[:100], _LABELS[:100], _ONES[:100])
    then = model.predict(_ROWS)
    frozen = FrozenWeights.of(model.inputs, model.export())
    model.learn(_ROWS[100:], _LABELS[100:], _ONES[100:])

    assert np.abs(frozen.probability(_ROWS) - then).max() < 1e-5
    assert np.abs(model.predict(_ROWS) - then).max() > 1e-3


def test_weights_thaw_to_the_same_bits() -> None:
    model = create("adagrad")
    model.learn(_ROWS, _LABELS, _ONES)
    frozen = FrozenWeights.of(model.inputs, model.export())
    thawed = FrozenWeights(model.inputs, frozen.body, model.export().offset)

    assert (thawed.probability(_ROWS) == frozen.probability(_ROWS)).all()


def test_a_copy_says_what_the_model_said() -> None:
    model = create("kalman")
    model.learn(_ROWS, _LABELS, _ONES)
    copy = FrozenCopy(create("kalman"), FrozenCopy.body_of(model))

    assert (copy.probability(_ROWS) == model.predict(_ROWS)).all()


@given(
    looks=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 120)), max_size=200).map(
        lambda looks: sorted(looks, key=lambda look: look[1])
    )
)
def test_one_example_a_customer_and_horizon_enters(looks: list[tuple[int, int]]) -> None:
    panel = Panel(_HORIZON_MS)
    entered: dict[int, list[int]] = {}
    for customer, day in looks:
        if panel.admits(f"c{customer}", day * DAY_MS, (day + HORIZON_DAYS) * DAY_MS):
            entered.setdefault(customer, []).append(day)

    for days in entered.values():
        assert all(later - earlier >= HORIZON_DAYS for earlier, later in pairwise(days))
    # Who is there for two horizons is in.
    begun = looks[0][1] if looks else 0
    assert set(entered) >= {customer for customer, day in looks if day >= begun + HORIZON_DAYS}


def test_a_panel_of_any_number_of_customers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MOST_CUSTOMERS", 256)
    panel = Panel(_HORIZON_MS)
    panel.begun_ms = 0
    for number in range(5_000):
        panel.admits(f"c{number}", _HORIZON_MS, 2 * _HORIZON_MS)

    assert 32 < len(panel.last) <= 256
    assert panel.mask


def test_a_shrunken_panel_still_lets_nobody_in_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadow, "MOST_CUSTOMERS", 256)
    panel = Panel(_HORIZON_MS)
    panel.begun_ms = 0
    first = {number for number in range(2_000) if panel.admits(f"c{number}", _HORIZON_MS, 2 * _HORIZON_MS)}
    next_ms = _HORIZON_MS + DAY_MS
    again = {number for number in range(2_000) if panel.admits(f"c{number}", next_ms, next_ms + _HORIZON_MS)}

    assert not first & again


def test_customers_that_are_there_from_the_start_enter_one_after_the_other() -> None:
    panel = Panel(_HORIZON_MS)
    by_week = [0] * 12
    for day in range(84):
        for number in range(100):
            by_week[day // 7] += panel.admits(f"c{number}", day * DAY_MS, (day + HORIZON_DAYS) * DAY_MS)

    assert min(by_week) > 10
