"""A model whose optional dependency is not installed: told at once, with the remedy, and as no defect."""

import json
import sys
from pathlib import Path

import pytest

from stream_app.cli.main import main
from tests.support.small_shop import write_orders


@pytest.fixture(autouse=True)
def _without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deep_river.classification", None)
    monkeypatch.delitem(sys.modules, "stream_app.learning.zoo.lstm", raising=False)


def _refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 3
    assert "stream-app[deep]" in capsys.readouterr().err


def test_a_rehearsal_names_the_extra(capsys: pytest.CaptureFixture[str]) -> None:
    _refused(capsys, "champion", "rehearse", "--challenger", "lstm")


def test_the_trainer_names_the_extra(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_CHALLENGERS", json.dumps(["lstm"]))

    _refused(capsys, "trainer")


def test_a_search_names_the_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream_app.cli.tune._optuna", lambda: None)

    _refused(capsys, "tune", str(write_orders(tmp_path / "orders.jsonl")), "--model", "lstm")
