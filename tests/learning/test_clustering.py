import numpy as np
import pytest

from stream_app.learning.clustering import MOST_CUSTOMERS, DesignEffect


def _names(count: int) -> list[str]:
    return [f"customer {number}" for number in range(count)]


def test_independent_observations_need_no_widening() -> None:
    random = np.random.default_rng(1)
    effect = DesignEffect()
    for _ in range(5):
        probability = random.uniform(0.1, 0.9, 1000)
        effect.add(_names(1000), probability, random.random(1000) < probability)

    assert effect.value() == pytest.approx(1.0, abs=0.15)


def test_an_observation_told_five_times_counts_once() -> None:
    random = np.random.default_rng(2)
    effect = DesignEffect()
    probability = random.uniform(0.1, 0.9, 1000)
    churned = random.random(1000) < probability
    for _ in range(5):
        effect.add(_names(1000), probability, churned)

    assert effect.value() == pytest.approx(5.0)


def test_it_is_one_until_enough_customers_are_known() -> None:
    effect = DesignEffect()
    effect.add(["a"] * 100, np.full(100, 0.5), np.ones(100, dtype=np.bool_))

    assert effect.value() == 1.0


def test_memory_is_bounded_and_the_sample_stays_whole() -> None:
    random = np.random.default_rng(3)
    names = _names(20_000)
    effect = DesignEffect()
    for _ in range(3):
        probability = np.full(len(names), 0.4)
        effect.add(names, probability, random.random(len(names)) < probability)

    squares = [each for _, each in effect.sums.values()]
    assert len(effect.sums) <= MOST_CUSTOMERS
    assert effect.value() == pytest.approx(1.0, abs=0.15)
    assert min(squares) > 2.9 * min(0.4 / 0.6, 0.6 / 0.4)  # each kept customer has all of its three
