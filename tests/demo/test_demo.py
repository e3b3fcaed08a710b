"""The whole demo as a person runs it: started, watched through its page, interrupted, killed and started again."""

import contextlib
import gzip
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

READY = re.compile(r"live page: (\S+)")


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start a demo in a folder; it is killed at the end if the test has not ended it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stream_app", "demo", "--folder", str(folder), *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def url_of(process: subprocess.Popen[str]) -> str:
    """Wait until the demo says that it is ready."""
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if found := READY.search(line):
            return found[1]
    raise AssertionError("".join(told))


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of everything that belongs to any run in this folder, the run's folder gone or not."""
    listed = subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/run-" in line]


@pytest.fixture(scope="module", autouse=True)
def _tools() -> None:
    if shutil.which("ps") is None:
        pytest.skip("ps is not installed: it cannot be seen what is left behind")


def test_it_ends_by_itself_with_interventions_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, "--seconds", "20") as process:
        output, said = process.communicate(timeout=150)

    summary = json.loads(output.splitlines()[-1])
    assert process.returncode == 0, said
    assert summary["interventions"] > 0
    assert summary["first_intervention_seconds"] < 60
    assert summary["events"] > 500
    assert summary["dead_letters"] == 0
    assert sum(summary["tiers"].values()) == summary["customers"] > 0
    assert said.count("curl ") == 2
    assert processes_of(tmp_path) == []


def test_a_file_of_events_is_fed_instead_and_taken_ports_are_named(tmp_path: Path) -> None:
    orders = tmp_path / "orders.jsonl"
    program = [sys.executable, "-m", "stream_app", "simulate", "--days", "40", "--customers", "60"]
    subprocess.run([*program, "--out-dir", str(tmp_path / "shop")], cwd=tmp_path, check=True, capture_output=True)
    orders.write_bytes(gzip.decompress((tmp_path / "shop" / "orders.jsonl.gz").read_bytes()))
    with socket.socket() as holder:
        with contextlib.suppress(OSError):  # where another program has the port already, it is taken all the same
            holder.bind(("127.0.0.1", 8080))
            holder.listen()
        with demo(tmp_path, "--data", str(orders), "--seconds", "25", "--days-per-second", "2") as process:
            output, said = process.communicate(timeout=150)

    summary = json.loads(output.splitlines()[-1])
    assert process.returncode == 0, said
    assert "port 8080 is taken by another program: the dashboard uses" in said
    assert 0 < summary["events"] <= len(orders.read_text().splitlines())
    assert summary["interventions"] > 0


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_when_asked_to(tmp_path: Path, how: signal.Signals) -> None:
    with demo(tmp_path) as process:
        page = urllib.request.urlopen(url_of(process), timeout=10).read().decode()
        process.send_signal(how)
        output, said = process.communicate(timeout=90)

    assert "<title>stream-app" in page
    assert process.returncode == 0, said
    assert json.loads(output.splitlines()[-1])["ready_seconds"] > 0
    assert processes_of(tmp_path) == []


def test_after_a_kill_the_next_demo_starts_and_ends_what_was_left(tmp_path: Path) -> None:
    with demo(tmp_path) as killed:
        url_of(killed)
        killed.kill()
        killed.wait()
        orphans = processes_of(tmp_path)
        with demo(tmp_path, "--seconds", "20") as process:
            output, said = process.communicate(timeout=150)

    assert orphans != [], "the test must find something to clear away"
    assert process.returncode == 0, said
    assert json.loads(output.splitlines()[-1])["interventions"] > 0
    assert processes_of(tmp_path) == []
    assert len(list(tmp_path.glob("run-*"))) == 1
