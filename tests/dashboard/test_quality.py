from hypothesis import given
from hypothesis import strategies as st

from stream_app.dashboard.quality import BINS, CURVE_POINTS, BinnedAuc, QualityCurve

outcomes = st.lists(
    st.tuples(st.integers(0, BINS - 1), st.booleans(), st.integers(1, 4)), min_size=2, max_size=60
).filter(lambda rows: len({churned for _, churned, _ in rows}) == 2)


def exact_auc(rows: list[tuple[int, bool, int]]) -> float:
    """Weighted share of (churned, stayed) pairs in the right order, ties one half: the definition, in two loops."""
    right = pairs = 0.0
    for p, churned, weight in rows:
        for q, also_churned, other in rows:
            if churned and not also_churned:
                pairs += weight * other
                right += weight * other * (1.0 if p > q else 0.5 if p == q else 0.0)
    return right / pairs


@given(outcomes)
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool, int]]) -> None:
    auc = BinnedAuc()
    for index, churned, weight in rows:
        auc.add((index + 0.5) / BINS, churned=churned, weight=weight)

    value = auc.value()

    assert value is not None
    assert abs(value - exact_auc(rows)) < 1e-9


def test_there_is_no_auc_while_only_one_outcome_was_seen() -> None:
    auc = BinnedAuc()
    auc.add(0.3, churned=True, weight=1.0)

    assert auc.value() is None


@given(st.integers(1, 40_000))
def test_the_curve_stays_short_however_many_examples(count: int) -> None:
    curve = QualityCurve()
    curve.auc.add(0.9, churned=True, weight=1.0)
    curve.auc.add(0.1, churned=False, weight=1.0)
    curve.auc.value = lambda: 0.5  # type: ignore[method-assign]  # the value is not what is tested, and costs most
    for index in range(count):
        curve.add(0.5, churned=index % 2 == 0, weight=1.0, contacts=0, due_ms=index)

    assert len(curve.points) < CURVE_POINTS
    assert [point[0] for point in curve.points] == sorted({point[0] for point in curve.points})
    assert curve.examples - (curve.points[-1][0] if curve.points else 0) <= max(25, curve.examples // 2)


def test_contacted_customers_are_no_part_of_the_quality() -> None:
    curve = QualityCurve()
    curve.add(0.9, churned=True, weight=1.0, contacts=1, due_ms=1)

    assert (curve.examples, curve.censored) == (0, 1)
    assert curve.summary()["predicted"] is None


def test_predicted_and_observed_shares_are_weighted_means() -> None:
    curve = QualityCurve()
    curve.add(0.8, churned=True, weight=3.0, contacts=0, due_ms=1)
    curve.add(0.4, churned=False, weight=1.0, contacts=0, due_ms=2)

    summary = curve.summary()

    assert summary["predicted"] == 0.7
    assert summary["observed"] == 0.75
    assert summary["auc"] == 1.0
