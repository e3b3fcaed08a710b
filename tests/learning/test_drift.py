import numpy as np
import pytest
from numpy.typing import NDArray

from stream_app.learning.drift import AGEING, CUSTOMERS, WATCHED, WEEK_MS, DriftWatch

SETTLED_WEEKS = 26
A_WEEK = 200
STEADY, MOVING, OTHER, THIRD = WATCHED[:4]

Weeks = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]


def weeks(random: np.random.Generator, count: int, width: int = 1, first: int = 0, a_week: int = A_WEEK) -> Weeks:
    """Return features, residuals of well calibrated scores and times of `count` weeks."""
    rows = count * a_week
    score = random.uniform(0.1, 0.9, rows)
    residuals = (random.random(rows) < score) - score
    at_ms = (first + np.arange(rows) / a_week) * WEEK_MS
    return random.normal(5.0, 2.0, size=(rows, width)), residuals, at_ms.astype(np.int64)


def feed(watch: DriftWatch, log: Weeks, block: int = 64) -> dict[str, int]:
    """Return by alarm in which week of the log it was raised first."""
    features, residuals, at_ms = log
    raised: dict[str, int] = {}
    for start in range(0, len(at_ms), block):
        part = slice(start, start + block)
        for name in watch.update(features[part], residuals[part], at_ms[part]):
            raised.setdefault(name, int(at_ms[part][-1] // WEEK_MS))
    return raised


def test_stationary_streams_raise_next_to_no_alarm() -> None:
    random = np.random.default_rng(6)
    alarms = 0
    for _ in range(10):
        watch = DriftWatch(WATCHED)
        feed(watch, weeks(random, 104, len(WATCHED)), block=5000)
        alarms += sum(watch.alarms.values())

    assert alarms <= 2  # in twenty years of forty features and the quality


@pytest.mark.parametrize(("shift", "most_weeks"), [(1.0, 7), (0.4, 10)])
def test_a_shift_is_seen_soon_and_named(shift: float, most_weeks: int) -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(7), 60, 2)
    features[at_ms >= 40 * WEEK_MS, 1] += shift * 2.0

    raised = feed(DriftWatch((STEADY, MOVING)), (features, residuals, at_ms))

    assert set(raised) == {MOVING}
    assert 40 <= raised[MOVING] <= 40 + most_weeks


def test_one_odd_week_is_no_drift() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(8), 60)
    features[at_ms // WEEK_MS == 40] += 20.0

    assert feed(DriftWatch((MOVING,)), (features, residuals, at_ms)) == {}


def test_a_season_that_comes_back_is_no_drift() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(9), 210)
    features += 1.5 * np.sin(at_ms / WEEK_MS * (2.0 * np.pi / 52.0))[:, np.newaxis]
    first, later = at_ms < 75 * WEEK_MS, at_ms >= 75 * WEEK_MS
    watch = DriftWatch((MOVING,))

    assert set(feed(watch, (features[first], residuals[first], at_ms[first]))) == {MOVING}  # it is news once
    assert feed(watch, (features[later], residuals[later], at_ms[later])) == {}


def test_what_grows_by_nature_is_not_watched() -> None:
    assert "log_tenure" in AGEING
    watch = DriftWatch(("log_tenure", "lo_bgnbd"))
    features, residuals, at_ms = weeks(np.random.default_rng(10), 60, 2)

    assert feed(watch, (features + at_ms[:, np.newaxis] / WEEK_MS, residuals, at_ms)) == {}


def test_three_features_together_are_a_drift_of_customers() -> None:
    random = np.random.default_rng(11)
    features, residuals, at_ms = weeks(random, 60, 4)
    after = at_ms >= 40 * WEEK_MS
    features[after, 1:3] += 1.5
    two = feed(DriftWatch((STEADY, MOVING, OTHER, THIRD)), (features, residuals, at_ms))
    features[after, 3] += 1.5
    three = feed(DriftWatch((STEADY, MOVING, OTHER, THIRD)), (features, residuals, at_ms))

    assert CUSTOMERS not in two
    assert three[CUSTOMERS] >= max(three[MOVING], three[OTHER], three[THIRD]) - 1


def test_scores_that_come_off_raise_both_quality_alarms() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(12), 60)
    residuals[at_ms >= 40 * WEEK_MS] += 0.12

    raised = feed(DriftWatch((STEADY,)), (features, residuals, at_ms))

    assert set(raised) == {"quality_page_hinkley", "quality_adwin"}
    assert max(raised.values()) <= 48


def test_scores_that_come_right_again_are_no_alarm_of_adwin() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(13), 60)
    residuals[at_ms < 40 * WEEK_MS] += 0.12

    assert "quality_adwin" not in feed(DriftWatch((STEADY,)), (features, residuals, at_ms))


def test_a_small_shop_is_not_judged_by_handfuls() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(14), 80, a_week=20)

    assert feed(DriftWatch((MOVING,)), (features + 50.0 * (at_ms[:, np.newaxis] > 0), residuals, at_ms)) == {}


@pytest.mark.parametrize("cut", [0, 1, 5_003, 8_200])
def test_a_watch_goes_on_from_a_checkpoint_and_blocks_leave_no_trace(cut: int) -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(15), 60, 3)
    features[:, 2] = 0.0
    features[at_ms >= 40 * WEEK_MS, 1] += 2.0
    residuals[at_ms >= 40 * WEEK_MS] += 0.2
    names = (STEADY, MOVING, OTHER)
    whole = DriftWatch(names)
    feed(whole, (features, residuals, at_ms), block=100_000)
    first, second = DriftWatch(names), DriftWatch(names)
    feed(first, (features[:cut], residuals[:cut], at_ms[:cut]), block=977)
    second.load(first.save())
    feed(second, (features[cut:], residuals[cut:], at_ms[cut:]), block=41)

    assert whole.alarms.keys() == {MOVING, "quality_page_hinkley", "quality_adwin"}
    assert second.alarms == whole.alarms
    assert second.latest[MOVING] == whole.latest[MOVING]


def test_partitions_may_be_a_week_apart() -> None:
    features, residuals, at_ms = weeks(np.random.default_rng(16), 60, 2)
    features[at_ms >= 40 * WEEK_MS, 1] += 2.0
    behind = A_WEEK // 2 * 6 // 7
    half = len(at_ms) // 2
    ahead, late = np.arange(half) * 2, np.arange(half) * 2 + 1
    mixed = np.stack([ahead[behind:], late[: half - behind]], axis=1).ravel()
    order = np.concatenate([ahead[:behind], mixed, late[half - behind :]])

    raised = feed(DriftWatch((STEADY, MOVING)), (features[order], residuals[order], at_ms[order]))

    assert set(raised) == {MOVING}
