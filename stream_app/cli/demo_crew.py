"""The demo's child processes: started with logs of their own, watched, ended in order, never left behind."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

LOOPBACK = "127.0.0.1"
LOG_TAIL_LINES = 15
GRACE_SECONDS = 12.0
_MARK = "stream_app_demo"
"""Name of the -X option by which a process of the demo is known in the process list; Python ignores foreign ones."""


def choose_port(preferred: int) -> tuple[int, bool]:
    """Return a free port on loopback, and whether it is the preferred one."""
    for candidate in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, candidate))
            except OSError:
                continue
            port: int = probe.getsockname()[1]
            return port, port == preferred
    raise OSError(f"no free port on {LOOPBACK}")


class Child:
    """One child process; its output goes to a file.

    Parameters
    ----------
    name
        What people call it.
    arguments
        Of the `stream-app` program.
    run_dir
        Working directory, and where the log is written. There is no `.env` there, so that none is read.
    environment
        The whole environment.
    """

    def __init__(self, name: str, arguments: list[str], run_dir: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log_file = run_dir / f"{name}.log"
        # A session of its own: Ctrl-C must reach only the demo, which ends everything in order.
        with self.log_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                [sys.executable, "-X", f"{_MARK}={run_dir}", "-m", "stream_app", *arguments],
                cwd=run_dir,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the child lives."""
        return self._process.poll()

    def log_tail(self) -> str:
        """Return the end of what the child said."""
        lines = self.log_file.read_text("utf-8", "replace").splitlines() if self.log_file.exists() else []
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def wait(self, seconds: float) -> int:
        """Wait until the child has ended by itself, and return its exit code; raises TimeoutExpired."""
        return self._process.wait(seconds)

    def stop(self) -> None:
        """Ask the child to end, and end it where it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class RunFolder:
    """A folder of its own for each run, under one roof.

    A demo that was killed with -9 leaves its children and its folder: the next run ends and removes both, but touches
    no run whose demo still lives. Children are found by the folder in their command lines, so that none is missed that
    was started a moment before the kill.
    """

    def __init__(self, roof: Path) -> None:
        roof = roof.absolute()
        roof.mkdir(parents=True, exist_ok=True)
        _clear(roof)
        self.path = roof / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
        self.path.mkdir()

    def forget(self) -> None:
        """Keep the logs of this run and drop its data: they are of no use without the processes."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)


def _clear(roof: Path) -> None:
    """End what killed demos left, and remove the folders of all runs that are over."""
    running = _command_lines()
    # Only our own programs: someone may be reading a log of that folder in an editor.
    ours = re.compile(rf"(?:{_MARK}=|--data-dir ){re.escape(str(roof))}/(run-[0-9]+-[0-9]+-([0-9]+))")

    def lives(owner: str) -> bool:
        return " demo" in running.get(int(owner), "")

    for pid, command in running.items():
        found = ours.search(command)
        if found is not None and not lives(found[2]):
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)
    for folder in roof.glob("run-*"):
        if not lives(folder.name.rpartition("-")[2]):
            shutil.rmtree(folder, ignore_errors=True)


def _command_lines() -> dict[int, str]:
    """Return the command line of every process by its id."""
    tool = shutil.which("ps")
    if tool is not None:
        question = [tool, "-eww", "-o", "pid=,args="]
        listed = subprocess.run(question, capture_output=True, text=True, errors="replace", check=False).stdout  # noqa: S603 - fixed words
        rows = (row.strip().partition(" ") for row in listed.splitlines())
        return {int(pid): command for pid, _, command in rows}
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is not ours to look at
            found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    return found
