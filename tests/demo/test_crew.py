import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.cli.demo_crew import LOOPBACK, Child, RunFolder, choose_port


@pytest.fixture
def sleeper() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes that would never end by themselves; whatever is left of them is ended."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def sleep_as(mark: str, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-X", f"stream_app_demo={mark}", "-c", "input()"], stdin=subprocess.PIPE
    )
    started.append(process)
    return process


def left_behind(roof: Path, *, owner: int, children: list[int]) -> Path:
    """Make the folder of a run that did not end properly."""
    folder = roof / "run-20260101-000000-1"
    (folder / "broker").mkdir(parents=True)
    (folder / "processes.json").write_text(json.dumps({"demo": owner, "children": children}))
    return folder


def a_pid_that_is_free() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_free_port_is_kept_and_a_taken_one_replaced() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]

        other, preferred = choose_port(port)

        assert not preferred
        assert other != port
    assert choose_port(port) == (port, True)


def test_what_a_killed_demo_left_is_ended_and_removed(tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]) -> None:
    orphan = sleep_as("run-20260101-000000-1", sleeper)
    folder = left_behind(tmp_path, owner=a_pid_that_is_free(), children=[orphan.pid])

    RunFolder(tmp_path)

    assert orphan.wait(10) == -9
    assert not folder.exists()


def test_a_process_that_only_has_the_same_number_is_left_alone(
    tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]
) -> None:
    stranger = sleep_as("another-run", sleeper)
    folder = left_behind(tmp_path, owner=a_pid_that_is_free(), children=[stranger.pid])

    RunFolder(tmp_path)

    assert stranger.poll() is None
    assert not folder.exists()


def test_a_demo_that_still_lives_keeps_its_children_and_its_folder(
    tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]
) -> None:
    child = sleep_as("run-20260101-000000-1", sleeper)
    owner = subprocess.Popen([sys.executable, "-c", "input()", "demo"], stdin=subprocess.PIPE)
    sleeper.append(owner)
    folder = left_behind(tmp_path, owner=owner.pid, children=[child.pid])

    RunFolder(tmp_path)

    assert child.poll() is None
    assert folder.exists()


def test_a_damaged_note_is_no_obstacle(tmp_path: Path) -> None:
    folder = left_behind(tmp_path, owner=1, children=[])
    (folder / "processes.json").write_text('{"demo": ')

    RunFolder(tmp_path)

    assert not folder.exists()


def test_logs_outlive_the_run_and_data_do_not(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    (run.path / "broker").mkdir()
    (run.path / "worker.log").write_text("said")

    run.forget()

    assert not (run.path / "broker").exists()
    assert (run.path / "worker.log").read_text() == "said"


def test_a_child_that_fails_can_be_asked_why(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    child = Child("settings", ["settings"], run.path, {**os.environ, "STREAM_APP_PARTITIONS": "none"})

    assert child.wait(60) != 0
    assert "STREAM_APP_PARTITIONS" in child.log_tail()
