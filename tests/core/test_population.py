from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.effects import PopulationDay
from stream_app.core.events import OrderEvent
from stream_app.core.folds.orders import fold_order
from stream_app.core.population import (
    CELLS_A_LEVEL,
    NO_ORDERS,
    PopulationTotals,
    mark_orders,
    observe_order,
    sample_level,
)
from stream_app.core.state import OrdersState
from stream_app.core.times import DAY_MS, day_of, from_ms

Order = tuple[int, int, int]
"""Customer, hour, partition salt."""

_orders = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 24 * 60)), max_size=40)


def _days(sums: dict[tuple[int, int], dict[str, float]]) -> list[list[PopulationDay]]:
    """Return each partition's days in the order in which it tells of them; the last one closes the latest of all."""
    last = max((day for _, day in sums), default=0)
    lanes = []
    for partition in (0, 1):
        days = sorted({day for place, day in sums if place == partition} | {last})
        lanes.append(
            [
                PopulationDay(partition, day, number, sums.get((partition, day), {}))
                for number, day in enumerate(days, start=1)
            ]
        )
    return lanes


def _sums(orders: list[tuple[int, int]]) -> tuple[dict[tuple[int, int], dict[str, float]], dict[int, OrdersState]]:
    """Return sums by (partition, day), and the states, of orders by customer and hour; partitions are customers modulo
    2."""
    states: dict[int, OrdersState] = {}
    sums: dict[tuple[int, int], dict[str, float]] = {}
    for number, (customer, hour) in enumerate(sorted(orders, key=lambda order: order[1])):
        at_ms = hour * DAY_MS // 24 + DAY_MS
        before = mark_orders(states.get(customer))
        state = states.setdefault(customer, OrdersState())
        event = OrderEvent(
            customer_id=str(customer), timestamp=from_ms(at_ms), event_id=str(number), order_id=str(number), amount=1.0
        )
        fold_order(state, event, at_ms, 1.0)
        observe_order(sums.setdefault((customer % 2, day_of(at_ms)), {}), str(customer), before, state)
    return sums, states


@given(_orders, st.lists(st.booleans(), max_size=60), st.sets(st.integers(0, 60)))
def test_merged_sums_are_the_statistics_of_all_customers_however_partitions_interleave(
    orders: list[tuple[int, int]], turns: list[bool], repeated: set[int]
) -> None:
    sums, states = _sums(orders)
    lanes = _days(sums)
    told = [lanes[turn].pop(0) for turn in [*turns, *[False] * 60, *[True] * 60] if lanes[turn]]
    days = sorted({day for _, day in sums})
    totals, straight = PopulationTotals(), PopulationTotals()
    for number, day in enumerate(told):
        assert totals.add(day)
        if number in repeated:
            assert not totals.add(told[number // 2])
    for day in sorted(told, key=lambda one: one.day):
        straight.add(day)

    population = totals.population()

    known = list(states.values())
    gaps, ln_gaps = sum(state.gaps for state in known), sum(state.sum_ln_gap for state in known)
    assert population.customers == len(known)
    assert population.gap_mean == pytest.approx((5 * log(30.0) + ln_gaps) / (5 + gaps))
    if days:
        end = totals.through_day + 1
        tenures = sum(end - state.first_ms / DAY_MS for state in known)
        repeats = sum(state.days - 1 for state in known)
        assert population.repeat_rate == pytest.approx((repeats + 1) / (tenures + 60))
        assert totals.through_day == days[-1]
    assert sum(totals.orders_by_day.values()) == len(orders)
    assert totals.waiting == []
    assert population.customers == straight.population().customers


@given(_orders)
def test_sampled_cells_count_each_sampled_customer_once_where_it_stands(orders: list[tuple[int, int]]) -> None:
    sums, states = _sums(orders)
    totals = PopulationTotals()
    for day in [day for lane in _days(sums) for day in lane]:
        totals.add(day)

    rows = totals.rows(100)

    expected = {
        (state.days - 1, day_of(state.last_ms) - day_of(state.first_ms), 100 - day_of(state.first_ms))
        for state in states.values()
    }
    assert {row[:3] for row in rows} <= {tuple(map(float, row)) for row in expected}
    assert sum(row[3] for row in rows) <= len(states)
    assert all(row[3] > 0 for row in rows)


def test_a_day_waits_until_every_partition_has_closed_it() -> None:
    totals = PopulationTotals()
    totals.add(PopulationDay(0, 10, 1, {"customers": 1.0}))
    totals.add(PopulationDay(1, 9, 1, {"customers": 2.0}))
    totals.add(PopulationDay(0, 12, 2, {"customers": 4.0}))
    # Nobody knew of partition 1 when partition 0 closed day 10; since then, both are waited for.
    assert (totals.through_day, totals.population().customers) == (10, 3.0)

    totals.add(PopulationDay(1, 11, 2, {}))
    assert (totals.through_day, totals.population().customers) == (11, 3.0)
    totals.add(PopulationDay(1, 12, 3, {"customers": 8.0}))
    assert (totals.through_day, totals.population().customers) == (12, 15.0)


def test_a_partition_that_fell_silent_holds_nobody_up_and_still_counts_when_it_comes_back() -> None:
    totals = PopulationTotals()
    totals.add(PopulationDay(1, 10, 1, {"customers": 2.0}))
    for revision, day in enumerate(range(10, 200), start=1):
        totals.add(PopulationDay(0, day, revision, {"customers": 1.0}))
    assert totals.through_day == 199 - 7
    behind = totals.population().customers

    assert totals.add(PopulationDay(1, 11, 2, {"customers": 100.0}))

    assert totals.population().customers == behind + 100.0


def test_a_day_that_was_told_before_changes_nothing() -> None:
    totals = PopulationTotals()
    totals.add(PopulationDay(0, 10, 1, {"customers": 1.0}))
    totals.add(PopulationDay(0, 11, 2, {"customers": 5.0}))

    assert not totals.add(PopulationDay(0, 10, 1, {"customers": 1.0}))
    assert not totals.add(PopulationDay(0, 11, 2, {"customers": 5.0}))
    assert totals.population().customers == 6.0


def test_a_cancelled_order_adds_nothing() -> None:
    sums: dict[str, float] = {}
    observe_order(sums, "c", NO_ORDERS, OrdersState(cancelled=1))

    assert sums == {}


def test_a_shop_that_slows_down_shows_in_the_trend() -> None:
    totals = PopulationTotals()
    for day in range(200):
        totals.add(PopulationDay(0, day, day + 1, {"orders": 100.0 if day < 170 else 20.0}))

    assert totals.population().order_trend < -0.5


def test_a_huge_day_stays_small_and_what_is_left_of_the_sample_is_whole() -> None:
    totals, count = PopulationTotals(), 60_000
    for day, days in ((100, 1), (130, 2)):
        sums: dict[str, float] = {}
        for number in range(count):
            # A first order at a time of its own, so that hardly any two customers share a cell.
            first_ms = (100 * DAY_MS) - (number % 5000) * DAY_MS
            before = NO_ORDERS if days == 1 else (1, first_ms, first_ms, 1, 0, 0.0, 0.0)
            last_ms = first_ms if days == 1 else first_ms + 30 * DAY_MS
            after = OrdersState(first_ms=first_ms, last_ms=last_ms, completed=days, days=days, gaps=days - 1)
            observe_order(sums, f"customer {number}", before, after)
        assert len(sums) < 6 * CELLS_A_LEVEL
        totals.add(PopulationDay(0, day, day, sums))

    rows = totals.rows(200)

    followed = sum(row[3] for row in rows)
    assert {row[0] for row in rows} == {1.0}
    assert 100 < followed < count / 2


def test_levels_halve_the_customers() -> None:
    levels = [sample_level(f"customer {number}") for number in range(20_000)]

    for level in range(5):
        assert sum(each >= level for each in levels) == pytest.approx(20_000 / 2**level, rel=0.1)
