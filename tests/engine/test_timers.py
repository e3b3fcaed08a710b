from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.times import HOUR_MS
from stream_app.engine.timers import TimerIndex

_DUES = st.integers(min_value=1, max_value=40 * HOUR_MS)
_CHANGES = st.lists(st.tuples(st.sampled_from("abcdef"), _DUES), max_size=40)


@given(changes=_CHANGES, stops=st.lists(_DUES, max_size=6))
def test_index_equals_a_scan_when_due_times_change(changes: list[tuple[str, int]], stops: list[int]) -> None:
    due: dict[str, int] = {}
    index = TimerIndex(lambda customer: due.get(customer, 0))
    fired = []
    expected = []
    pending = list(changes)
    for stop in [*sorted(stops), 41 * HOUR_MS]:
        for customer, due_ms in pending[: max(1, len(changes) // (len(stops) + 1))]:
            due[customer] = due_ms
            index.schedule(due_ms, customer)
        del pending[: max(1, len(changes) // (len(stops) + 1))]
        scan = sorted((due_ms, customer) for customer, due_ms in due.items() if due_ms <= stop)
        expected += scan
        while (entry := index.pop(stop)) is not None:
            fired.append(entry)
            del due[entry[1]]
        assert not [customer for customer in due if due[customer] <= stop]

    assert fired == expected


def test_hint_is_never_later_than_what_is_due() -> None:
    due = {"a": 5 * HOUR_MS + 7}
    index = TimerIndex(lambda customer: due.get(customer, 0))
    assert index.earliest_hint_ms() is None

    index.schedule(due["a"], "a")

    hint_ms = index.earliest_hint_ms()
    assert hint_ms is not None
    assert hint_ms <= due["a"]
    assert index.pop(due["a"] - 1) is None
    assert index.pop(due["a"]) == (due["a"], "a")
