"""The demo's child processes: started with logs of their own, watched, ended in order, never left behind."""

import json
import os
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
                [sys.executable, "-X", f"{_MARK}={run_dir.name}", "-m", "stream_app", *arguments],
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
    """A folder of its own for each run, under one roof; it remembers which processes belong to the run.

    A demo that was killed with -9 leaves its children and its folder: the next run ends and removes both, but touches
    no run whose demo still lives.
    """

    def __init__(self, roof: Path) -> None:
        roof.mkdir(parents=True, exist_ok=True)
        _clear(roof)
        self.path = (roof / f"run-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}").absolute()
        self.path.mkdir()
        self.note([])

    def note(self, children: list[int]) -> None:
        """Write down which processes belong to this run, for the run after a crash."""
        body = json.dumps({"demo": os.getpid(), "children": children})
        scratch = self.path / "processes.json.new"
        scratch.write_text(body, "utf-8")
        scratch.replace(self.path / "processes.json")

    def forget(self) -> None:
        """Keep the logs of this run and drop its data: they are of no use without the processes."""
        for entry in self.path.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry, ignore_errors=True)


def _clear(roof: Path) -> None:
    """End what killed demos left, and remove the folders of all runs that are over."""
    for folder in roof.glob("run-*"):
        try:
            told = json.loads((folder / "processes.json").read_text("utf-8"))
            owner, children = int(told["demo"]), [int(pid) for pid in told["children"]]
        except (OSError, ValueError, KeyError):
            owner, children = 0, []
        if owner and " demo" in _command_line(owner):
            continue
        for pid in children:
            # a process id may have been given to someone else since: only what carries this run's name is ended
            if folder.name in _command_line(pid):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _command_line(pid: int) -> str:
    """Return a process's command line, or an empty text where there is no such process."""
    tool = shutil.which("ps")
    if tool is not None:
        question = [tool, "-ww", "-o", "args=", "-p", str(pid)]
        listed = subprocess.run(question, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words and a number
        return listed.stdout.strip()
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""
