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


def sleep_as(run: Path, started: list[subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
    """Start what looks like a child of a run."""
    process = subprocess.Popen([sys.executable, "-X", f"stream_app_demo={run}", "-c", "input()"], stdin=subprocess.PIPE)
    started.append(process)
    return process


def left_behind(roof: Path, owner: int) -> Path:
    """Make the folder of a run that did not end properly."""
    folder = roof / f"run-20260101-000000-{owner}"
    (folder / "broker").mkdir(parents=True)
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
    folder = left_behind(tmp_path, a_pid_that_is_free())
    orphan = sleep_as(folder, sleeper)

    RunFolder(tmp_path)

    assert orphan.wait(10) == -9
    assert not folder.exists()


def test_an_orphan_whose_folder_is_gone_is_ended_too(tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]) -> None:
    orphan = sleep_as(tmp_path / f"run-20260101-000000-{a_pid_that_is_free()}", sleeper)

    RunFolder(tmp_path)

    assert orphan.wait(10) == -9


def test_processes_of_another_roof_are_left_alone(tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]) -> None:
    stranger = sleep_as(left_behind(tmp_path / "elsewhere", a_pid_that_is_free()), sleeper)

    RunFolder(tmp_path / "here")

    assert stranger.poll() is None


def test_who_only_reads_a_log_there_is_left_alone(tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]) -> None:
    folder = left_behind(tmp_path, a_pid_that_is_free())
    reader = subprocess.Popen([sys.executable, "-c", "input()", str(folder / "worker.log")], stdin=subprocess.PIPE)
    sleeper.append(reader)

    RunFolder(tmp_path)

    assert reader.poll() is None


def test_a_demo_that_still_lives_keeps_its_children_and_its_folder(
    tmp_path: Path, sleeper: list[subprocess.Popen[bytes]]
) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "input()", "demo"], stdin=subprocess.PIPE)
    sleeper.append(owner)
    folder = left_behind(tmp_path, owner.pid)
    child = sleep_as(folder, sleeper)

    RunFolder(tmp_path)

    assert child.poll() is None
    assert folder.exists()


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
