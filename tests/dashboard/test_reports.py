"""The page shows the trainer's newest reports as they are published, and a broken one changes nothing."""

import orjson
import pytest

from stream_app.core.topics import Topic
from stream_app.dashboard.board import Board
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.worker.fairness_pupil import FairnessPupil
from stream_app.worker.lift_pupil import LiftPupil
from stream_app.worker.pupils import Pupil
from tests.support.decision_shop import CATALOGUE, HOLDOUT, outcomes

COUNT = 2_000


def told_by(pupil: Pupil, board: Board) -> None:
    """Teach a pupil a shop's outcomes, and give what it publishes to the board."""
    matured = [
        each.model_copy(update={"groups": {"gender": "ab"[number % 2]}, "offer": 5.0 + 5 * (number % 2)})
        for number, each in enumerate(outcomes(prior_snapshot(CATALOGUE), COUNT, 1))
    ]
    pupil.learn(Topic.OUTCOMES, matured)
    for record in pupil.publication().records:
        board.apply(Topic.SNAPSHOTS, record.key, record.value, (), 0)


def test_the_lift_tile_is_the_whole_shops_comparison() -> None:
    board = Board()
    assert board.summary()["lift"] is None
    told_by(LiftPupil.kind(Settings(holdout_share=HOLDOUT)).fresh(), board)
    told = board.summary()["lift"]
    assert isinstance(told, dict)
    assert told["low"] < told["estimate"] < told["high"]
    assert told["held_share"] == pytest.approx(HOLDOUT, abs=0.03)
    assert told["lopsided"] == []
    assert (board.snapshots, board.unreadable) == (0, 0)


def test_lopsided_arms_are_said_and_without_a_holdout_there_is_no_difference() -> None:
    board = Board()
    told_by(LiftPupil.kind(Settings(holdout_share=0.5)).fresh(), board)
    lopsided = board.summary()["lift"]
    assert isinstance(lopsided, dict)
    assert lopsided["lopsided"] == ["first triggers"]
    told_by(LiftPupil.kind(Settings(holdout_share=0.0)).fresh(), board)
    alone = board.summary()["lift"]
    assert isinstance(alone, dict)
    assert "estimate" not in alone


def test_the_fairness_lines_name_groups_bounds_and_alarms() -> None:
    board = Board()
    told_by(FairnessPupil.kind(Settings(fairness_attributes=("gender",))).fresh(), board)
    told = board.summary()["fairness"]
    assert isinstance(told, dict)
    (attribute,) = told["attributes"]
    by_measure = {each["measure"]: each for each in attribute["comparisons"]}
    offers = by_measure["offer_value"]
    assert (attribute["attribute"], offers["lower"], offers["higher"], offers["alarm"]) == ("gender", "a", "b", True)
    assert by_measure["contact_rate"]["estimate"] is None


def test_a_report_that_is_none_changes_nothing_and_a_tombstone_takes_it_back() -> None:
    board = Board()
    told_by(LiftPupil.kind(Settings(holdout_share=HOLDOUT)).fresh(), board)
    before = board.summary()["lift"]
    for value in (b"{", b"{}", b"[]", orjson.dumps({"slices": 3}), orjson.dumps({"slices": [{"name": "all"}]})):
        board.apply(Topic.SNAPSHOTS, b"report/lift", value, (), 0)
        board.apply(Topic.SNAPSHOTS, b"report/fairness", value, (), 0)
    assert (board.summary()["lift"], board.summary()["fairness"], board.unreadable) == (before, None, 10)
    board.apply(Topic.SNAPSHOTS, b"report/lift", None, (), 0)
    assert board.summary()["lift"] is None
