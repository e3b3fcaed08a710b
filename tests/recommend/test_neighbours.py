"""Product picks: a function of what customers own now, whatever the way there."""

from hypothesis import given
from hypothesis import strategies as st

from stream_app.recommend.neighbours import ItemNeighbours

PRODUCTS = [f"p{i}" for i in range(12)]
baskets = st.lists(st.sampled_from(PRODUCTS), max_size=5).map(tuple)
histories = st.lists(st.tuples(st.integers(0, 5), baskets), max_size=40)


def observed(history: list[tuple[int, tuple[str, ...]]]) -> tuple[ItemNeighbours, dict[int, tuple[str, ...]]]:
    neighbours, lists = ItemNeighbours(), dict[int, tuple[str, ...]]()
    for customer, after in history:
        neighbours.observe(lists.get(customer, ()), after)
        lists[customer] = after
    return neighbours, lists


@given(histories, baskets, st.integers(0, 12))
def test_a_rebuild_from_the_present_lists_gives_the_same_picks(
    history: list[tuple[int, tuple[str, ...]]], bought: tuple[str, ...], count: int
) -> None:
    lived, lists = observed(history)
    rebuilt = ItemNeighbours()
    for own in reversed(lists.values()):
        rebuilt.observe((), own)
    assert lived.pick(bought, count) == rebuilt.pick(bought, count)


@given(histories, histories, baskets)
def test_a_pick_does_not_see_what_came_after_its_mark(
    earlier: list[tuple[int, tuple[str, ...]]], later: list[tuple[int, tuple[str, ...]]], bought: tuple[str, ...]
) -> None:
    knowing, lists = observed(earlier)
    mark = knowing.mark
    for customer, after in later:
        knowing.observe(lists.get(customer, ()), after)
        lists[customer] = after
    assert knowing.pick(bought, 5, mark) == observed(earlier)[0].pick(bought, 5)
    assert knowing.pick(bought, 5) == observed([*earlier, *later])[0].pick(bought, 5)


@given(histories, baskets, st.integers(0, 12))
def test_picks_are_distinct_and_not_what_was_just_bought(
    history: list[tuple[int, tuple[str, ...]]], bought: tuple[str, ...], count: int
) -> None:
    neighbours, lists = observed(history)
    picks = neighbours.pick(bought, count)
    known = {product for own in lists.values() for product in own}
    assert len(picks) == len(set(picks)) == min(count, len(known - set(bought)))
    assert set(picks) <= known - set(bought)


def test_what_is_bought_together_comes_before_what_is_popular() -> None:
    neighbours = ItemNeighbours()
    for _ in range(3):
        neighbours.observe((), ("tea", "pot"))
    for _ in range(20):
        neighbours.observe((), ("bag",))
    assert neighbours.pick(("tea",), 2) == ("pot", "bag")
    assert neighbours.pick((), 3) == ("bag", "pot", "tea")


def test_forgotten_customers_leave_nothing_behind() -> None:
    neighbours = ItemNeighbours()
    neighbours.observe((), ("tea", "pot"))
    neighbours.observe(("tea", "pot"), ())
    assert neighbours.pick((), 5) == ()
    assert not neighbours._owners
    assert not neighbours._together
