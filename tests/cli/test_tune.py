import json
import sys
from pathlib import Path

import pytest

from stream_app.cli.main import main
from stream_app.cli.tune import env_file, labels_to_try
from stream_app.evaluation.tuning import LabelSettings
from stream_app.settings import Settings
from tests.support.small_shop import write_orders


def _run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["tune", *arguments])
    return ended.value.code


def test_without_optuna_the_remedy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)

    assert _run(str(write_orders(tmp_path / "orders.jsonl"))) == 3
    assert "stream-app[bench]" in capsys.readouterr().err


def test_an_unknown_model_is_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(write_orders(tmp_path / "orders.jsonl")), "--model", "oracle") == 2
    assert "kalman" in capsys.readouterr().err


def test_settings_that_the_trainer_would_refuse_are_told_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.cli.tune._optuna", lambda: None)
    monkeypatch.setenv("STREAM_APP_CHALLENGERS", json.dumps(["kalman"]))

    assert _run(str(write_orders(tmp_path / "orders.jsonl"))) == 2
    assert "name each model once" in capsys.readouterr().err


def test_the_configured_model_is_what_is_to_be_beaten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.cli.tune._optuna", lambda: None)
    monkeypatch.setattr("stream_app.cli.tune._search", lambda *_: [])
    monkeypatch.setenv("STREAM_APP_MODEL", "adagrad")
    out, report = tmp_path / "t.env", tmp_path / "t.md"
    options = ("--horizon-days", "20", "--no-label-settings", "--out", str(out), "--report", str(report), "--json")

    assert _run(str(write_orders(tmp_path / "orders.jsonl")), *options) == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["now"], found["best"], found["beaten"], found["settings"]) == ("adagrad", "adagrad", False, {})
    assert found["test"]["now"] == found["test"]["best"]


def test_label_settings_fall_on_days_that_are_scored() -> None:
    assert labels_to_try(LabelSettings(14, 180), 7) == [
        LabelSettings(14, 180),
        LabelSettings(7, 180),
        LabelSettings(14, 360),
    ]
    assert LabelSettings(7, 180) not in labels_to_try(LabelSettings(14, 180), 14)


def test_the_settings_are_read_as_they_are_written(tmp_path: Path) -> None:
    spec = "adagrad:crossed=0,rate=0.1"
    settings = {"STREAM_APP_CHALLENGERS": json.dumps([spec]), "STREAM_APP_OBSERVATION_DAYS": "7"}
    out = tmp_path / "tuned.env"
    out.write_text(
        env_file({"trials": 3, "files": ["o.jsonl"], "seed": 7, "beaten": True, "settings": settings}), encoding="utf-8"
    )

    found = Settings(_env_file=out)

    assert found.challengers == (spec,)
    assert found.observation_days == 7


def test_a_search_writes_settings_and_a_report_and_repeats_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna", reason="tuning needs the extra 'bench'")
    files, out, report = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "t.env", tmp_path / "t.md"
    options = ("--trials", "5", "--horizon-days", "20", "--out", str(out), "--report", str(report), "--json")

    assert _run(files, *options) == 0
    first = json.loads(capsys.readouterr().out)
    assert _run(files, *options) == 0
    assert json.loads(capsys.readouterr().out) == first

    assert len(first["tried"]) == 6
    assert first["best"] in report.read_text(encoding="utf-8")
    assert all(f"{name}={value}" in out.read_text(encoding="utf-8") for name, value in first["settings"].items())


def test_a_population_is_halved_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("optuna", reason="tuning needs the extra 'bench'")
    files, out, report = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "t.env", tmp_path / "t.md"
    options = ("--trials", "6", "--horizon-days", "20", "--out", str(out), "--report", str(report), "--json")

    assert _run(files, "--halving", *options) == 0

    found = json.loads(capsys.readouterr().out)
    assert [len(losses) for losses in found["rounds"]][:1] == [7]
    assert len(found["tried"]) <= 1 + 4
    assert "## Round 1, 4 weeks" in report.read_text(encoding="utf-8")
