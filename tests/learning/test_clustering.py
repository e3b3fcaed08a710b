import numpy as np
import pytest

from stream_app.learning.clustering import MOST_CUSTOMERS, CustomerClusters


def _names(count: int) -> list[str]:
    return [f"customer {number}" for number in range(count)]


def test_independent_observations_need_no_widening() -> None:
    random = np.random.default_rng(1)
    clusters = CustomerClusters()
    for _ in range(5):
        probability = random.uniform(0.1, 0.9, 1000)
        clusters.add(_names(1000), probability, random.random(1000) < probability)

    assert clusters.design_effect() == pytest.approx(1.0, abs=0.15)
    assert clusters.customer_variance() == pytest.approx(0.0, abs=0.2)


def test_an_observation_told_five_times_counts_once() -> None:
    random = np.random.default_rng(2)
    clusters = CustomerClusters()
    probability = random.uniform(0.1, 0.9, 1000)
    churned = random.random(1000) < probability
    for _ in range(5):
        clusters.add(_names(1000), probability, churned)

    assert clusters.design_effect() == pytest.approx(5.0)


@pytest.mark.parametrize("variance", [0.1, 0.4])
def test_the_variance_between_customers_is_found(variance: float) -> None:
    random = np.random.default_rng(3)
    own = random.normal(0.0, variance**0.5, 3000)
    clusters = CustomerClusters()
    for _ in range(10):
        logit = random.normal(0.0, 0.5, 3000)
        churned = random.random(3000) < 1 / (1 + np.exp(-logit - own))
        clusters.add(_names(3000), 1 / (1 + np.exp(-logit)), churned)

    assert clusters.customer_variance() == pytest.approx(variance, rel=0.3)


def test_nothing_is_said_until_enough_customers_are_known() -> None:
    clusters = CustomerClusters()
    clusters.add(["a"] * 100, np.full(100, 0.5), np.ones(100, dtype=np.bool_))

    assert clusters.design_effect() == 1.0
    assert clusters.customer_variance() == 0.0


def test_memory_is_bounded_and_the_sample_stays_whole() -> None:
    random = np.random.default_rng(4)
    names = _names(20_000)
    clusters = CustomerClusters()
    for _ in range(3):
        probability = np.full(len(names), 0.4)
        clusters.add(names, probability, random.random(len(names)) < probability)

    assert len(clusters.sums) <= MOST_CUSTOMERS
    assert clusters.design_effect() == pytest.approx(1.0, abs=0.15)
    assert {round(each[3] / 0.24) for each in clusters.sums.values()} == {3}  # each kept customer has all of its three
