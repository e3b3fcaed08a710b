"""What `stream-app champion` says when the trainer answers, refuses, or is silent."""

import json
from typing import Any

import pytest

from stream_app.cli import champion
from stream_app.cli.main import main


async def _sent(*_: Any) -> None:
    """Stands for the topic: what is sent goes nowhere, as when no trainer runs."""


@pytest.fixture(autouse=True)
def _no_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(champion, "send_request", _sent)
    monkeypatch.setattr(champion, "_answer", lambda *_: None)


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["champion", *arguments])
    return int(str(ended.value.code or 0))


@pytest.mark.parametrize("wish", [["promote", "adagrad"], ["approve"], ["decline"], ["rollback"]])
def test_no_answer_in_time_is_no_success(wish: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(*wish, "--by", "ada", "--wait", "0.1") == 3
    assert "not answered within 0.1 s" in capsys.readouterr().err

    assert _run(*wish, "--by", "ada", "--wait", "0.1", "--json") == 3
    assert json.loads(capsys.readouterr().out)["answer"] is None


def test_who_does_not_wait_is_told_where_to_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("promote", "adagrad", "--by", "ada", "--wait", "0") == 0
    assert "champion history" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *(["champion", name] for name in ("show", "history", "promote", "approve", "decline", "rollback", "prove")),
        ["report"],
        ["policy", "prove"],
        ["trainer"],
    ],
)
def test_the_help_of_a_command_has_examples_of_it(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])

    _, _, examples = capsys.readouterr().out.partition("Example")
    assert f"stream-app {' '.join(command)}" in examples
