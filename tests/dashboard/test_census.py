from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.outputs import TIERS
from stream_app.dashboard.census import TierCensus

steps = st.lists(st.tuples(st.integers(0, 12), st.sampled_from([*TIERS, None])), max_size=80)


@given(steps)
def test_counts_are_those_of_the_latest_tiers(moves: list[tuple[int, str | None]]) -> None:
    census = TierCensus()
    latest: dict[int, str] = {}
    for number, tier in moves:
        if tier is None:
            census.remove(f"c{number}")
            latest.pop(number, None)
        else:
            census.put(f"c{number}", tier)
            latest[number] = tier

    assert census.counts() == {tier: list(latest.values()).count(tier) for tier in TIERS}


def test_memory_is_bounded_and_the_estimate_is_close() -> None:
    census = TierCensus(capacity=2_000)
    for number in range(40_000):
        census.put(f"c{number}", TIERS[number % 4])

    counts = census.counts()

    assert census.sampling >= 20
    assert all(abs(count - 10_000) < 1_500 for count in counts.values())  # about five standard deviations


def test_an_unknown_tier_is_not_counted_and_replaces_the_known_one() -> None:
    census = TierCensus()
    census.put("c1", "high")
    census.put("c1", "extreme")

    assert sum(census.counts().values()) == 0
