from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.simulation.realism import compare, compare_with_real, order_samples, visit_samples
from stream_app.simulation.realism_page import realism_page

samples = st.lists(st.floats(0, 1e4), min_size=1, max_size=50).map(np.array)


@given(samples)
def test_a_sample_does_not_differ_from_itself(sample: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    same = compare("x", "y", "z", sample, sample)

    assert (same.distance, same.log_error) == (0.0, 0.0)


@given(samples, samples)
def test_the_distance_is_symmetric_and_between_zero_and_one(
    first: np.ndarray[tuple[int], np.dtype[np.float64]], second: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    there, back = compare("x", "y", "z", first, second), compare("x", "y", "z", second, first)

    assert there.distance == pytest.approx(back.distance)
    assert 0.0 <= there.distance <= 1.0


def test_samples_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare("gaps", "CDNOW", "days", np.empty(0), np.ones(3))


def test_order_samples_count_days_once_and_leave_out_what_was_cancelled() -> None:
    lines = [
        b'{"customer_id":"a","timestamp":"2025-01-01T00:00:00Z","amount":10}',
        b'{"customer_id":"a","timestamp":"2025-01-01T12:00:00Z","amount":30}',
        b'{"customer_id":"a","timestamp":"2025-01-05T00:00:00Z","amount":20}',
        b'{"customer_id":"b","timestamp":"2025-01-05T00:00:00Z","amount":20}',
        b'{"customer_id":"b","timestamp":"2025-01-09T00:00:00Z","amount":90,"status":"cancelled"}',
    ]
    found = order_samples(lines)

    assert found.gap_days.tolist() == [4.0]
    assert sorted(found.orders.tolist()) == [1.0, 2.0]
    assert sorted(found.amount.tolist()) == [0.5, 1.0, 1.0, 1.5]


def test_visit_samples_group_clicks_by_session() -> None:
    lines = [
        b'{"timestamp":"2025-01-01T00:00:00Z","session_id":"s"}',
        b'{"timestamp":"2025-01-01T00:00:30Z","session_id":"s"}',
        b'{"timestamp":"2025-01-01T00:00:10Z","session_id":"t"}',
    ]
    found = visit_samples(lines)

    assert sorted(found.clicks.tolist()) == [1.0, 2.0]
    assert found.duration_seconds.tolist() == found.click_gap_seconds.tolist() == [30.0]


@pytest.mark.data
@pytest.mark.slow
def test_the_presets_resemble_their_namesakes(data_dir: Path) -> None:
    comparisons = compare_with_real(data_dir)
    distances = {(found.what, found.real_name): found.distance for found in comparisons}

    assert distances["Days between orders", "CDNOW"] < 0.06
    assert distances["Orders per customer", "CDNOW"] < 0.05
    assert distances["Value of an order", "CDNOW"] < 0.16  # CDNOW's prices cluster, ours are spread
    assert distances["Days between orders", "Online Retail"] < 0.08
    assert distances["Orders per customer", "Online Retail"] < 0.06
    assert distances["Value of an order", "Online Retail"] < 0.14
    assert distances["Time between clicks", "REES46"] < 0.1
    assert distances["Length of a visit", "REES46"] < 0.15
    assert distances["Clicks per visit", "REES46"] < 0.25
    page = realism_page(comparisons)
    assert page.count("<svg") == len(comparisons) == 9
    assert "http" not in page
