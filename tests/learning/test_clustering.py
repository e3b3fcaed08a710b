import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.learning.clustering import MOST_CUSTOMERS, CustomerClusters

HORIZON_MS = 30


def _names(count: int) -> list[str]:
    return [f"customer {number}" for number in range(count)]


def _add(
    clusters: CustomerClusters,
    names: list[str],
    at_ms: int,
    probability: NDArray[np.float64],
    churned: NDArray[np.bool_],
) -> None:
    clusters.add(names, [at_ms] * len(names), probability, churned, np.ones(len(names)), HORIZON_MS)


def test_independent_observations_need_no_widening() -> None:
    random = np.random.default_rng(1)
    clusters = CustomerClusters()
    for _ in range(5):
        probability = random.uniform(0.1, 0.9, 1000)
        _add(clusters, _names(1000), 0, probability, random.random(1000) < probability)

    assert clusters.design_effect() == pytest.approx(1.0, abs=0.15)


def test_an_observation_told_five_times_counts_once() -> None:
    random = np.random.default_rng(2)
    clusters = CustomerClusters()
    probability = random.uniform(0.1, 0.9, 1000)
    churned = random.random(1000) < probability
    for _ in range(5):
        _add(clusters, _names(1000), 0, probability, churned)

    assert clusters.design_effect() == pytest.approx(5.0)


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.5])
def test_the_spread_between_customers_is_found(spread: float) -> None:
    random = np.random.default_rng(3)
    score = random.uniform(0.2, 0.8, 4000)
    precision = 1.0 / spread - 1.0
    own = random.beta(score * precision, (1.0 - score) * precision)
    clusters = CustomerClusters()
    for step in range(14):
        _add(clusters, _names(4000), step * HORIZON_MS, score, random.random(4000) < own)

    assert clusters.spread() == pytest.approx(spread, abs=0.03)


def test_labels_that_share_days_are_not_taken_for_a_spread() -> None:
    random = np.random.default_rng(6)
    orders = random.random((4000, 300)) < 0.03
    clusters = CustomerClusters()
    for day in range(0, 270, 6):
        silent = np.asarray(~orders[:, day : day + HORIZON_MS].any(axis=1), dtype=np.bool_)
        _add(clusters, _names(4000), day, np.full(4000, 0.97**HORIZON_MS), silent)

    assert clusters.spread() < 0.04


def test_customers_who_are_all_alike_have_no_spread() -> None:
    random = np.random.default_rng(5)
    clusters = CustomerClusters()
    for step in range(12):
        probability = random.uniform(0.1, 0.9, 2000)
        _add(clusters, _names(2000), step * HORIZON_MS, probability, random.random(2000) < probability)

    # The second label is set against the first score; where scores are drawn anew, that is noise around nothing.
    assert clusters.spread() < 0.04


def test_before_there_are_pairs_the_belief_is_cautious() -> None:
    clusters = CustomerClusters()
    _add(clusters, _names(40), 0, np.full(40, 0.5), np.ones(40, dtype=np.bool_))

    assert clusters.design_effect() == 1.0
    assert clusters.spread() == 0.2


def test_memory_is_bounded_and_the_sample_stays_whole() -> None:
    random = np.random.default_rng(4)
    names = _names(20_000)
    clusters = CustomerClusters()
    for step in range(3):
        probability = np.full(len(names), 0.4)
        _add(clusters, names, step, probability, random.random(len(names)) < probability)

    assert len(clusters.sums) <= MOST_CUSTOMERS
    assert clusters.waiting.keys() == clusters.sums.keys()
    assert {len(waiting) for waiting in clusters.waiting.values()} == {3}
