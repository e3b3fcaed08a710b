"""The promise of the watch over groups, and that its proof can fail."""

import json

import msgspec
import pytest

from stream_app.cli import prove
from stream_app.cli.main import main
from stream_app.decisions.fairness_report import MEASURES
from stream_app.simulation.fairness_proof import prove_fairness


def test_hardly_any_shop_alarms_for_nothing_and_differences_are_found() -> None:
    found = prove_fairness(10, seed=1, customers=6_000)
    assert found.false_alike + found.false_at_bound <= 1
    assert set(found.found) == set(MEASURES)
    for each in found.found.values():
        assert each.share >= 0.5
        assert each.others == 0


def prove_by(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        main(["prove", "fairness", "--shops", "2", "--customers", "600", *arguments])
    return int(str(end.value.code or 0)), capsys.readouterr().out


def test_the_command_tells_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = prove_by(capsys, "--json")
    told = json.loads(printed)
    assert (code, told["shops"], told["looks"], told["false_alike"]) == (0, 2, 6, 0)
    code, printed = prove_by(capsys)
    assert (code, "false alarms: 0 with groups alike" in printed) == (0, True)


def test_more_false_alarms_than_promised_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = msgspec.structs.replace(prove_fairness(2, seed=1, customers=300), false_at_bound=2)
    monkeypatch.setattr(prove, "prove_fairness", lambda *_: bad)
    assert prove_by(capsys)[0] == 1
