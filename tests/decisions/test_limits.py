"""Budget shares and the breaker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS, HOUR_MS, MINUTE_MS
from stream_app.decisions.catalogue import Breaker, Budget
from stream_app.decisions.limits import count_for_breaker, reserve_budget, share_of

BREAKER = Breaker(window_minutes=60, factor=3, minimum=10)
START_MS = 20_000 * DAY_MS


@given(st.integers(1, 100), st.integers(0, 10_000))
def test_the_shares_of_all_partitions_never_exceed_the_whole(partitions: int, count: int) -> None:
    if 0 < count < partitions:
        with pytest.raises(ValueError, match="raise it to at least"):
            share_of(Budget(count_per_day=count), partitions)
    else:
        assert share_of(Budget(count_per_day=count), partitions).count * partitions <= count


def test_a_new_day_has_a_new_budget_and_a_late_point_does_not_reopen_the_old_one() -> None:
    memory = PartitionState()
    share = share_of(Budget(money_per_day=10), 1)
    assert reserve_budget(memory, share, 10, START_MS) is None
    assert "does not cover" in (reserve_budget(memory, share, 0.01, START_MS + DAY_MS - 1) or "")
    assert reserve_budget(memory, share, 10, START_MS + DAY_MS) is None
    assert reserve_budget(memory, share, 1, START_MS) is not None


def test_what_does_not_fit_takes_nothing() -> None:
    memory = PartitionState()
    share = share_of(Budget(money_per_day=10), 1)
    assert reserve_budget(memory, share, 11, START_MS) is not None
    assert (memory.budget_spent, memory.budget_count) == (0.0, 0)
    assert reserve_budget(memory, share, 9, START_MS) is None


def burst(memory: PartitionState, count: int, at_ms: int) -> int:
    """Return how many of `count` interventions were let through."""
    return sum(count_for_breaker(memory, BREAKER, at_ms + i) is None for i in range(count))


def test_the_breaker_lets_the_usual_through_and_stops_a_jump() -> None:
    memory = PartitionState()
    for hour in range(100):
        assert burst(memory, 8, START_MS + hour * HOUR_MS) == 8
    assert burst(memory, 1000, START_MS + 100 * HOUR_MS) <= 24
    assert memory.breaker_count == 1000
    assert burst(memory, 8, START_MS + 101 * HOUR_MS) == 8


def test_a_flood_that_lasts_becomes_the_usual_only_slowly() -> None:
    memory = PartitionState()
    through = [burst(memory, 1000, START_MS + hour * HOUR_MS) for hour in range(5)]
    assert through[0] == BREAKER.minimum
    assert max(through) < 3 * BREAKER.minimum


def test_quiet_windows_let_the_baseline_fade() -> None:
    memory = PartitionState()
    for hour in range(50):
        burst(memory, 10, START_MS + hour * HOUR_MS)
    busy = memory.breaker_baseline
    burst(memory, 1, START_MS + 20 * DAY_MS)
    assert memory.breaker_baseline < busy / 1000


def test_the_window_is_by_event_time() -> None:
    memory = PartitionState()
    assert burst(memory, 10, START_MS + 59 * MINUTE_MS) == 10
    assert burst(memory, 1, START_MS + 59 * MINUTE_MS + 30) == 0
    assert burst(memory, 1, START_MS + 60 * MINUTE_MS) == 1
