"""`stream-app worker` on the command line: what it refuses, and what a supervisor does not load."""

import socket
import subprocess
import sys

import pytest

from stream_app.cli.errors import ExitCode
from stream_app.cli.main import main


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["worker", *arguments])
    assert ended.value.code == ExitCode.USAGE
    return capsys.readouterr().err


def test_more_processes_than_partitions_are_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert "STREAM_APP_PROCESSES (13) must not be more than" in refused(capsys, "--processes", "13")


def test_a_process_of_nobody_is_bad_usage() -> None:
    command = [sys.executable, "-m", "stream_app", "worker", "--processes", "2", "--process", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.USAGE
    assert "--process is for processes that a worker starts" in done.stderr


def test_addresses_are_looked_at_before_anything_is_started(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAM_APP_API_ADVERTISED_URL", "https://shop.example")
    assert "names no port" in refused(capsys, "--processes", "2")
    monkeypatch.delenv("STREAM_APP_API_ADVERTISED_URL")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("STREAM_APP_METRICS_HOST", "127.0.0.1")
        monkeypatch.setenv("STREAM_APP_METRICS_PORT", str(taken.getsockname()[1]))
        assert "STREAM_APP_METRICS_PORT" in refused(capsys, "--processes", "2")


def test_a_supervisor_loads_no_stream_library() -> None:
    code = (
        "import sys, stream_app.cli.worker; print(sorted({'faust', 'aiokafka', 'numpy', 'river'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"[]\n"
