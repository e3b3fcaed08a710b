import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.tiers import tier_index, tier_name, tier_within_loss

THRESHOLDS = (0.35, 0.6, 0.8)


@pytest.mark.parametrize(
    ("probability", "expected"), [(0.0, "low"), (0.35, "medium"), (0.59, "medium"), (0.6, "high"), (0.8, "critical")]
)
def test_a_threshold_counts_as_soon_as_it_is_reached(probability: float, expected: str) -> None:
    assert tier_name(tier_index(probability, THRESHOLDS)) == expected


def test_a_tier_is_left_downwards_only_with_the_margin() -> None:
    assert tier_index(0.59, THRESHOLDS, previous=2, margin=0.02) == 2
    assert tier_index(0.57, THRESHOLDS, previous=2, margin=0.02) == 1
    assert tier_index(0.59, THRESHOLDS, previous=1, margin=0.02) == 1


@given(st.floats(0, 1), st.integers(-1, 3), st.floats(0, 0.1))
def test_hysteresis_never_lowers_a_tier_nor_raises_it_above_the_previous(
    probability: float, previous: int, margin: float
) -> None:
    plain = tier_index(probability, THRESHOLDS)

    held = tier_index(probability, THRESHOLDS, previous, margin)

    assert plain <= held <= max(plain, previous)


def test_a_tier_is_reached_by_probability_and_by_loss() -> None:
    losses = (10.0, 50.0, 200.0)
    assert tier_within_loss(3, 250.0, losses) == 3
    assert tier_within_loss(3, 60.0, losses) == 2
    assert tier_within_loss(1, 250.0, losses) == 1
    assert tier_within_loss(3, 5.0, losses) == 0
    assert tier_within_loss(3, 0.0, (0.0, 0.0, 0.0)) == 3


def test_a_tier_is_held_while_the_loss_is_only_a_little_below() -> None:
    losses = (10.0, 50.0, 200.0)
    assert tier_within_loss(3, 195.0, losses, previous=3) == 3
    assert tier_within_loss(3, 195.0, losses, previous=2) == 2
    assert tier_within_loss(3, 49.0, losses, previous=2) == 2
    assert tier_within_loss(3, 185.0, losses, previous=3) == 2
