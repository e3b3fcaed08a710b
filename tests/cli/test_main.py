"""The program: lazy commands, one line for every failure, exit codes that mean something."""

import subprocess
import sys
from importlib import import_module

import pytest
import typer
from kafka.errors import KafkaTimeoutError

from stream_app import __version__
from stream_app.adapters.broker import BrokerError
from stream_app.adapters.event_files import EventFileError
from stream_app.adapters.topics_admin import TopicsError
from stream_app.cli.errors import CommandError, ExitCode, explain
from stream_app.cli.main import COMMANDS, Entry, build_app, main


def run(*arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_the_help_page_names_every_command_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run("--help", capsys=capsys)

    assert code == 0
    assert all(f"  {name} " in out for name in COMMANDS)
    assert "stream-app replay orders.jsonl.gz --json" in out
    assert "Exit status" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(name, "--help", capsys=capsys)

    assert code == 0, err
    assert f"Usage: stream-app {name}" in out
    assert "\\b" not in out


@pytest.mark.parametrize("arguments", [["feed"], ["replay"], ["topics", "create"], ["schemas", "check"]])
def test_examples_keep_their_lines(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(*arguments, "--help", capsys=capsys)

    assert any(line.strip().startswith(("stream-app", "STREAM_APP_")) for line in out.splitlines())
    assert "\\b" not in out


def test_the_help_page_imports_no_command() -> None:
    script = (
        "import sys; from stream_app.cli.main import build_app; build_app(None);"
        f"loaded = [name for name in {sorted({entry.module for entry in COMMANDS.values()})!r} "
        "if f'stream_app.cli.{name}' in sys.modules]; sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_the_table_names_things_that_can_be_mounted() -> None:
    for entry in COMMANDS.values():
        target = getattr(import_module(f"stream_app.cli.{entry.module}"), entry.attribute)
        assert isinstance(target, typer.Typer) if entry.attribute == "app" else callable(target)


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version", capsys=capsys) == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    "arguments", [["nope"], ["feed"], ["topics", "destroy"], ["replay", "--no-such-option"], ["settings", "surplus"]]
)
def test_bad_usage_exits_2_without_a_trace(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(*arguments, capsys=capsys)

    assert code == ExitCode.USAGE
    assert "Traceback" not in err


def test_a_bad_setting_is_one_line_with_the_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_APP_PARTITIONS", "many")

    assert run("settings", capsys=capsys) == (
        ExitCode.USAGE,
        "",
        "stream-app: STREAM_APP_PARTITIONS: input should be a valid integer, unable to parse string as an integer\n",
    )


FAILURES: list[tuple[BaseException, ExitCode, str]] = [
    (CommandError("found three", ExitCode.FINDING), ExitCode.FINDING, "found three"),
    (TopicsError("no broker"), ExitCode.ENVIRONMENT, "no broker"),
    (BrokerError("port taken"), ExitCode.ENVIRONMENT, "port taken"),
    (EventFileError("x.gz: damaged"), ExitCode.ENVIRONMENT, "x.gz: damaged"),
    (KafkaTimeoutError("late"), ExitCode.ENVIRONMENT, "STREAM_APP_BOOTSTRAP"),
    (PermissionError(13, "Permission denied", "orders.jsonl"), ExitCode.ENVIRONMENT, "orders.jsonl: Permission denied"),
    (KeyboardInterrupt(), ExitCode.INTERRUPTED, "interrupted"),
    (ZeroDivisionError("division by zero"), ExitCode.DEFECT, "--debug"),
]


@pytest.mark.parametrize(("failure", "code", "text"), FAILURES, ids=[type(case[0]).__name__ for case in FAILURES])
def test_failures_have_an_exit_code_and_a_sentence(failure: BaseException, code: ExitCode, text: str) -> None:
    message, actual = explain(failure)

    assert actual is code
    assert text in message


@pytest.mark.parametrize("debug_at", [None, 0, 1])
def test_a_stack_trace_is_shown_only_on_request(
    debug_at: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setitem(COMMANDS, "broken", Entry("settings", "broken", "Fails."))
    monkeypatch.setattr(import_module("stream_app.cli.settings"), "broken", broken, raising=False)
    arguments = ["broken"]
    if debug_at is not None:
        arguments.insert(debug_at, "--debug")
    code, _, err = run(*arguments, capsys=capsys)

    assert code == ExitCode.DEFECT
    assert ("Traceback" in err) is (debug_at is not None)
    assert "stream-app: an error in stream-app itself: ZeroDivisionError" in err


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m stream_app settings | head -1", shell=True, check=False, capture_output=True, text=True
    )

    assert done.stdout.startswith("STREAM_APP_BOOTSTRAP=")
    assert done.stderr == ""


def test_build_app_mounts_only_what_was_called() -> None:
    app = build_app("topics")

    assert [group.name for group in app.registered_groups] == ["topics"]
    assert len(app.registered_commands) == len(COMMANDS) - 1
