import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.learning.learner import Learner
from stream_app.learning.scorer import SnapshotScorer
from stream_app.learning.selected import SelectedScorer, scorer_of
from stream_app.learning.selection import LEAST_WEEKS, SEGMENTS, segment_of, select
from stream_app.learning.snapshot import (
    Alternative,
    ModelSnapshot,
    SnapshotRefusedError,
    decode_snapshot,
    encode_snapshot,
    without_alternatives,
)
from stream_app.learning.weekly import Week
from stream_app.learning.zoo.registry import create
from tests.support.observed import HORIZON_DAYS, examples_of, shop_rows

_ROWS, _LABELS = shop_rows(300)


def _weeks(count: int, advantages: dict[str, list[float]], deviation: float = 0.01, seed: int = 3) -> list[Week]:
    """Return weeks in which a model loses so much less than the champion, by segment."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        losses = {"champion": [0.5 * 40] * len(SEGMENTS)}
        for model, advantage in advantages.items():
            noise = random.normal(0.0, deviation, len(SEGMENTS))
            losses[model] = [40 * (0.5 - mine + by) for mine, by in zip(advantage, noise.tolist(), strict=True)]
        seen = dict.fromkeys(losses, 240)
        found.append(Week(number, 240, [40.0] * len(SEGMENTS), losses, seen))
    return found


def _snapshot(selection: dict[str, str], model: str = "adagrad") -> ModelSnapshot:
    learner = Learner(HORIZON_DAYS)
    learner.learn(examples_of(_ROWS, _LABELS))
    other = create(model)
    other.learn(_ROWS, _LABELS, np.ones(len(_LABELS)))
    alternative = Alternative(model=model, inputs=other.inputs.names, learned=other.export())
    plain = learner.snapshot()
    return msgspec.structs.replace(plain, alternatives={model: alternative}, selection=selection)


def test_every_row_has_one_segment_and_all_occur() -> None:
    segments = segment_of(_ROWS)

    assert set(segments.tolist()) == set(range(len(SEGMENTS)))
    assert (segments == np.array([segment_of(row[None, :])[0] for row in _ROWS])).all()


def test_a_model_that_is_better_in_one_segment_serves_that_segment_alone() -> None:
    advantage = [-0.05] * len(SEGMENTS)
    advantage[2] = 0.05

    chosen = select(_weeks(40, {"other": advantage}), "champion", ["other"], "h30")

    assert chosen == {SEGMENTS[2]: "other"}


@given(salt=st.text(max_size=5), weeks=st.integers(0, LEAST_WEEKS - 1))
def test_the_champion_serves_all_until_enough_is_known(salt: str, weeks: int) -> None:
    assert select(_weeks(weeks, {"other": [0.2] * len(SEGMENTS)}), "champion", ["other"], salt) == {}


def test_equal_models_take_turns_rather_than_one_for_good() -> None:
    weeks = _weeks(60, {"other": [0.0] * len(SEGMENTS)})
    shares = [
        len(select(weeks[:count], "champion", ["other"], "h30")) / len(SEGMENTS) for count in range(LEAST_WEEKS, 61)
    ]

    assert 0.2 < sum(shares) / len(shares) < 0.8


def test_what_was_long_ago_fades() -> None:
    once = _weeks(60, {"other": [0.05] * len(SEGMENTS)}, seed=1)
    now = _weeks(60, {"other": [-0.05] * len(SEGMENTS)}, seed=2)
    for number, week in enumerate(now):
        week.number = 60 + number

    assert len(select(once, "champion", ["other"], "h30")) == len(SEGMENTS)
    assert select([*once, *now], "champion", ["other"], "h30") == {}


def test_a_replay_draws_the_same() -> None:
    weeks = _weeks(30, {"other": [0.001] * len(SEGMENTS)})

    assert select(weeks, "champion", ["other"], "h30") == select(weeks, "champion", ["other"], "h30")


@pytest.mark.parametrize("model", ["adagrad", "mlp"])
def test_each_row_is_scored_by_the_model_of_its_segment(model: str) -> None:
    snapshot = _snapshot({SEGMENTS[1]: model, SEGMENTS[5]: model}, model)
    scorer = scorer_of(decode_snapshot(encode_snapshot(snapshot)))
    champion = SnapshotScorer(without_alternatives(snapshot)).score(_ROWS)
    other = SnapshotScorer(without_alternatives(snapshot, model)).score(_ROWS)
    segments = segment_of(_ROWS)
    theirs = (segments == 1) | (segments == 5)

    assert isinstance(scorer, SelectedScorer)
    assert (scorer.score(_ROWS) == np.where(theirs, other, champion)).all()
    assert (scorer.score(_ROWS[:7]) == scorer.score(_ROWS)[:7]).all()
    assert scorer.interval(_ROWS[int(np.flatnonzero(theirs)[0])]) is None
    assert scorer.interval(_ROWS[int(np.flatnonzero(~theirs)[0])]) is not None
    assert scorer.explain(_ROWS[0])


@pytest.mark.parametrize("model", ["adagrad", "mlp"])
def test_the_account_of_a_block_is_that_of_its_rows(model: str) -> None:
    snapshot = _snapshot({SEGMENTS[1]: model, SEGMENTS[5]: model}, model)
    scorer = scorer_of(decode_snapshot(encode_snapshot(snapshot)))
    rows, languages = _ROWS[:60], ["en", "zh"] * 30

    accounts = scorer.account(rows, languages)

    assert [account.interval for account in accounts] == [scorer.interval(row) for row in rows]
    told = [tuple(reason.as_contract() for reason in account.reasons) for account in accounts]
    assert told == [scorer.explain(row, language) for row, language in zip(rows, languages, strict=True)]


def test_without_a_selection_nothing_is_paid() -> None:
    assert type(scorer_of(_snapshot({}))) is SnapshotScorer


def test_a_selection_of_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(SnapshotRefusedError, match="does not hold: lstm"):
        decode_snapshot(encode_snapshot(_snapshot({SEGMENTS[0]: "lstm"})))
