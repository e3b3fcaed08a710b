import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.evaluation.measures import auc, average_precision, calibration, confusion, difference_error, measures
from stream_app.learning.quality import QualityTally

_rows = st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=2, max_size=60).filter(
    lambda rows: len({churned for _, churned in rows}) == 2
)


def _arrays(rows: list[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in rows]), np.array([churned for _, churned in rows], dtype=np.bool_)


@given(_rows)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[float, bool]]) -> None:
    score, churned = _arrays(rows)
    pairs = [(a > b) + 0.5 * (a == b) for a in score[churned] for b in score[~churned]]

    assert auc(score, churned) == pytest.approx(sum(pairs) / len(pairs))


@given(_rows, st.integers(1, 10))
def test_the_tally_agrees_with_the_exact_measures_however_it_is_fed(rows: list[tuple[float, bool]], block: int) -> None:
    score, churned = _arrays(rows)
    tally = QualityTally()
    for start in range(0, len(score), block):
        stop = start + block
        tally.add(score[start:stop], churned[start:stop], np.ones(len(score[start:stop])))

    exact, live = measures(score, churned), tally.metrics()

    for name in ("brier", "log_loss", "ece", "churn_rate"):
        assert live[name] == pytest.approx(exact[name], abs=1e-9)
    width = 1 / 2000
    binned = np.floor(np.minimum(score, 1 - 1e-12) / width)
    assert live["auc"] == pytest.approx(auc(binned, churned), abs=0.02)


def test_the_tally_is_as_good_as_exact_on_many_scores() -> None:
    random = np.random.default_rng(2)
    score = random.beta(2, 3, 20_000)
    churned = random.random(20_000) < score
    tally = QualityTally()
    tally.add(score, churned, np.ones(20_000))

    assert tally.metrics()["auc"] == pytest.approx(auc(score, churned), abs=5e-4)


def test_a_fading_tally_forgets_and_survives_a_dump() -> None:
    tally = QualityTally(half_life=100.0)
    random = np.random.default_rng(3)
    good = random.random(2000)
    tally.add(good, good > 0.5, np.ones(2000))
    tally.add(good, good <= 0.5, np.ones(2000))
    copy = QualityTally(half_life=100.0)
    copy.load(tally.dump())

    assert tally.metrics()["auc"] < 0.01
    assert copy.metrics() == tally.metrics()


def test_weights_count_like_repetition() -> None:
    score, churned = np.array([0.2, 0.7, 0.6]), np.array([False, True, False])
    weighted, repeated = QualityTally(), QualityTally()
    weighted.add(score, churned, np.array([1.0, 3.0, 2.0]))
    repeated.add(score.repeat([1, 3, 2]), churned.repeat([1, 3, 2]), np.ones(6))

    assert weighted.metrics() | {"examples": 0} == pytest.approx(repeated.metrics() | {"examples": 0})


def test_average_precision_and_confusion_on_a_known_case() -> None:
    score, churned = np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False])

    assert average_precision(score, churned) == pytest.approx(0.5 * 1.0 + 0.5 * 2 / 3)
    matrix = confusion(score, churned, 0.75)
    assert (matrix["true_positive"], matrix["false_positive"], matrix["false_negative"]) == (1, 1, 1)
    assert matrix["f1"] == pytest.approx(0.5)


def test_a_calibrated_score_lies_on_the_diagonal() -> None:
    random = np.random.default_rng(4)
    score = random.random(50_000)

    for point in calibration(score, random.random(50_000) < score):
        assert point["score"] == pytest.approx(point["churn_rate"], abs=0.03)


def test_the_error_of_a_difference_knows_that_customers_repeat() -> None:
    random = np.random.default_rng(5)
    score = random.random(300)
    churned = random.random(300) < score
    other = np.clip(score + random.normal(0, 0.3, 300), 0, 1)

    once = difference_error(score, other, churned, np.arange(300))
    copied = difference_error(score.repeat(5), other.repeat(5), churned.repeat(5), np.arange(300).repeat(5))

    assert copied == pytest.approx(once, rel=0.35)
