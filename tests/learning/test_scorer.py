import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.features import FEATURE_INDEX, FEATURE_NAMES
from stream_app.core.state import CustomerState
from stream_app.learning.intervals import beta_intervals
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import PriorScorer, Scorer, SnapshotScorer, bounded_sigmoid
from stream_app.learning.snapshot import ModelSnapshot, SnapshotRefusedError, decode_snapshot, encode_snapshot
from stream_app.learning.zoo.kalman import KalmanModel
from stream_app.learning.zoo.registry import ADAGRAD, KALMAN, create
from tests.support.observed import HORIZON_DAYS, customers, examples_of, raw_rows, shop_rows

_FEATURES, _LABELS = shop_rows(600)


def _trained(model: str = KALMAN) -> ModelSnapshot:
    learner = Learner(HORIZON_DAYS, model, settling_days=0)
    learner.learn(examples_of(_FEATURES, _LABELS))
    return learner.snapshot()


_SNAPSHOTS = {model: _trained(model) for model in (KALMAN, ADAGRAD)}


def test_the_snapshot_scores_what_the_river_pipeline_predicts() -> None:
    pipeline = KalmanModel.pipeline()
    rows = [dict(zip(FEATURE_NAMES, row, strict=True)) for row in _FEATURES.tolist()]
    for row, label in zip(rows, _LABELS.tolist(), strict=True):
        pipeline.learn_one(row, label)

    scores = SnapshotScorer(decode_snapshot(encode_snapshot(_SNAPSHOTS[KALMAN]))).score(_FEATURES)

    assert scores == pytest.approx([pipeline.predict_proba_one(row)[True] for row in rows], abs=1e-9)


def test_the_adagrad_snapshot_scores_what_rivers_regression_predicts() -> None:
    model = create(ADAGRAD)
    model.learn(_FEATURES, _LABELS, np.ones(len(_LABELS)))
    scores = SnapshotScorer(_SNAPSHOTS[ADAGRAD]).score(_FEATURES)

    assert scores == pytest.approx(model.predict(_FEATURES), abs=1e-9)


@pytest.mark.parametrize("model", [KALMAN, ADAGRAD])
@given(st.lists(customers(), min_size=1, max_size=12), st.integers(1, 5))
def test_a_score_has_the_same_bits_in_whatever_block_it_stands(
    model: str, states: list[CustomerState], chunk: int
) -> None:
    scorer = SnapshotScorer(_SNAPSHOTS[model])
    features = scorer.featurize(raw_rows(states))

    whole = scorer.score(features)
    parts = [scorer.score(features[start : start + chunk]) for start in range(0, len(features), chunk)]

    assert whole.tobytes() == np.concatenate(parts).tobytes()
    assert ((whole > 0) & (whole < 1)).all()


@pytest.mark.parametrize("scorer", [*map(SnapshotScorer, _SNAPSHOTS.values()), PriorScorer(HORIZON_DAYS)])
@given(
    st.lists(st.tuples(customers(), st.sampled_from(["en", "zh"])), min_size=1, max_size=12),
    st.sampled_from([0, 1]),
    st.integers(1, 5),
)
def test_an_account_has_the_same_bits_in_whatever_block_its_row_stands(
    scorer: Scorer, rows: list[tuple[CustomerState, str]], kind: int, chunk: int
) -> None:
    features = scorer.featurize(raw_rows([state for state, _ in rows], kind))
    languages = [language for _, language in rows]

    whole = scorer.account(features, languages)

    starts = range(0, len(rows), chunk)
    parts = [scorer.account(features[start : start + chunk], languages[start : start + chunk]) for start in starts]
    assert whole == [account for part in parts for account in part]
    assert [interval for interval, _ in whole] == [scorer.interval(row) for row in features]
    alone = [scorer.explain(row, language) for row, language in zip(features, languages, strict=True)]
    assert [tuple(reason.as_contract() for reason in reasons) for _, reasons in whole] == alone


@given(customers())
def test_contributions_and_baseline_add_up_to_the_logit(state: CustomerState) -> None:
    scorer, snapshot = SnapshotScorer(_SNAPSHOTS[KALMAN]), _SNAPSHOTS[KALMAN]
    features = scorer.featurize(raw_rows([state]))

    total = sum(scorer.contributions(features[0]).values()) + snapshot.intercept + snapshot.offset_mean

    assert bounded_sigmoid(total) == pytest.approx(float(scorer.score(features)[0]), abs=1e-9)


@given(customers(), st.sampled_from(["en", "zh"]), st.integers(0, 5))
def test_reasons_are_ranked_and_no_more_than_asked(state: CustomerState, language: str, top: int) -> None:
    scorer = SnapshotScorer(_SNAPSHOTS[KALMAN])
    reasons = scorer.explain(scorer.featurize(raw_rows([state]))[0], language, top)

    sizes = [abs(reason.contribution) for reason in reasons]
    assert sizes == sorted(sizes, reverse=True)
    assert len(reasons) <= top
    assert len({reason.code for reason in reasons}) == len(reasons)


@given(customers())
def test_the_interval_holds_the_score(state: CustomerState) -> None:
    scorer = SnapshotScorer(_SNAPSHOTS[KALMAN])
    features = scorer.featurize(raw_rows([state]))

    interval = scorer.interval(features[0])

    assert interval is not None
    score = float(scorer.score(features)[0])
    assert 0.0 <= interval[0] <= score * (1.0 + 1e-12)
    assert score * (1.0 - 1e-12) <= interval[1] <= 1.0


def test_the_interval_narrows_with_experience() -> None:
    def width(snapshot: ModelSnapshot) -> float:
        interval = SnapshotScorer(snapshot).interval(_FEATURES[0])
        assert interval is not None
        return interval[1] - interval[0]

    learner = Learner(HORIZON_DAYS)
    learner.learn(examples_of(_FEATURES[:40], _LABELS[:40]))

    assert width(_SNAPSHOTS[KALMAN]) < width(learner.snapshot())


def test_before_anything_is_learned_the_score_is_the_prior_and_says_so() -> None:
    snapshot = Learner(HORIZON_DAYS).snapshot()
    scorer, prior = SnapshotScorer(snapshot), PriorScorer(HORIZON_DAYS)

    assert scorer.cold_start
    assert prior.cold_start
    assert scorer.score(_FEATURES).tobytes() == prior.score(_FEATURES).tobytes()
    assert scorer.interval(_FEATURES[0]) is None
    assert not SnapshotScorer(_SNAPSHOTS[KALMAN]).cold_start


def test_the_prior_gives_its_reason() -> None:
    reasons = PriorScorer(HORIZON_DAYS).explain(_FEATURES[0])

    assert [reason.code for reason in reasons] == ["silence"]
    assert "ago" in reasons[0].text or "just ordered" in reasons[0].text


class TestSnapshots:
    def test_survive_encoding_with_and_without_a_signature(self) -> None:
        snapshot = _SNAPSHOTS[KALMAN]

        assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
        assert decode_snapshot(encode_snapshot(snapshot, b"key"), b"key") == snapshot

    @pytest.mark.parametrize("sent_with", [b"", b"other"])
    def test_with_a_wrong_signature_are_refused(self, sent_with: bytes) -> None:
        with pytest.raises(SnapshotRefusedError, match="STREAM_APP_MODEL_KEY"):
            decode_snapshot(encode_snapshot(_SNAPSHOTS[KALMAN], sent_with), b"key")

    def test_changed_after_signing_are_refused(self) -> None:
        data = encode_snapshot(_SNAPSHOTS[KALMAN], b"key").replace(b'"horizon_days":30', b'"horizon_days":60')

        with pytest.raises(SnapshotRefusedError, match="signature"):
            decode_snapshot(data, b"key")

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"format": 99}, "format"),
            ({"weights": (1.0,)}, "arrays"),
            ({"covariance": (1.0,)}, "covariance"),
            ({"features_hash": "0" * 16}, "feature list"),
            ({"offset": "no_such_feature"}, "no_such_feature"),
            ({"clip": 0.0}, "positive"),
        ],
    )
    def test_that_do_not_fit_are_refused_with_the_reason(self, changes: dict[str, object], reason: str) -> None:
        snapshot = msgspec.structs.replace(_SNAPSHOTS[KALMAN], **changes)

        with pytest.raises(SnapshotRefusedError, match=reason):
            decode_snapshot(encode_snapshot(snapshot))

    @pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b'{"snapshot":{}}', b'{"snapshot":{"version":1}}'])
    def test_that_are_none_are_refused(self, data: bytes) -> None:
        with pytest.raises(SnapshotRefusedError, match="not a model snapshot"):
            decode_snapshot(data)

    def test_hold_numbers_of_the_named_offset(self) -> None:
        assert _SNAPSHOTS[KALMAN].offset in FEATURE_INDEX


@pytest.mark.parametrize("spread", [0.05, 0.2, 0.5])
def test_the_interval_holds_nine_in_ten_of_what_differs_by_the_spread(spread: float) -> None:
    random = np.random.default_rng(9)
    score = random.uniform(0.05, 0.95, 20_000)
    precision = 1.0 / spread - 1.0
    true = random.beta(score * precision, (1.0 - score) * precision)
    low, high = beta_intervals(score, spread, np.zeros_like(score))

    covered = (low <= true) & (true <= high)

    assert covered.mean() == pytest.approx(0.9, abs=0.02)
    _, (doubtful, plain) = beta_intervals(np.array([0.4, 0.4]), spread, np.array([2.0, 0.0]))
    assert doubtful > plain


def test_an_interval_without_any_doubt_is_the_score() -> None:
    low, high = beta_intervals(np.array([0.4, 0.4]), 0.0, np.array([0.0, 0.1]))

    assert (low[0], high[0]) == (0.4, 0.4)
    assert low[1] < 0.4 < high[1]
