import json
from typing import Any

import pytest

from stream_app.cli.main import main
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.learner import Learner
from stream_app.learning.promotion import PromotionRules
from stream_app.settings import Settings
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.rehearsal import rehearse_shop


def _rehearse(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, int]:
    with pytest.raises(SystemExit) as end:
        main(["champion", "rehearse", *arguments])
    out, err = capsys.readouterr()
    return (json.loads(out) if out and "--json" in arguments else out or err), int(str(end.value.code or 0))


def test_a_promotion_and_a_rollback_in_a_shop_under_drift(capsys: pytest.CaptureFixture[str]) -> None:
    shop = ["--days", "170", "--customers", "220", "--drift", "abrupt"]
    wishes = ["--challenger", "adagrad", "--promotion", "off", "--promote", "110:adagrad", "--rollback", "140"]

    report, code = _rehearse(capsys, *shop, *wishes, "--json")

    assert code == 0
    assert [(event["kind"], event["by"]) for event in report["events"]] == [
        ("promoted", "person"),
        ("rolled_back", "person"),
    ]
    assert [(reign["champion"], reign["from_day"], reign["to_day"]) for reign in report["reigns"]] == [
        ("kalman-orders", 0, 110),
        ("adagrad", 110, 140),
        ("kalman-orders", 140, 170),
    ]
    assert report["examples"] > 500


def test_the_promoted_model_is_the_one_that_serves(capsys: pytest.CaptureFixture[str]) -> None:
    text, code = _rehearse(capsys, "--days", "120", "--customers", "100", "--promote", "90:kalman")

    assert code == 0
    assert "kalman-orders served" in text
    assert "day   90  promoted" in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--challenger", "oracle"], "unknown model 'oracle'"),
        (["--promote", "kalman"], "write DAY:MODEL"),
        (["--promotion", "maybe"], "choose auto, ask or off"),
        (["--drift", "sideways"], "sideways"),
    ],
)
def test_bad_wishes_are_refused_before_anything_runs(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    text, code = _rehearse(capsys, *arguments)

    assert code == 2
    assert complaint in text


def test_the_wall_clock_is_refused() -> None:
    learner = ChallengedLearner(Learner(30), {}, PromotionRules())

    with pytest.raises(ValueError, match="event clock"):
        rehearse_shop(ShopConfig(customers=10, days=10, drift=Drift.NONE), Settings(clock="wall"), learner)
