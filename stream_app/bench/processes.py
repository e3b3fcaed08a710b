"""Contenders as child processes: their output in a file, CPU time and memory as the kernel counts them.

A contender may be several processes: what it has started counts as its own.
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from stream_app.settings import ENV_PREFIX

STOP_SECONDS = 20.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_CPU_FIELDS = slice(11, 13)
_MEBIBYTE_KIB = 1024
_PROCESS_TAG = re.compile(r'\{"process": (\d+),')
"""Begins what one of several processes of a worker logs."""


class Contender:
    """One child process of this interpreter.

    Parameters
    ----------
    arguments
        After `python`.
    environment
        STREAM_APP_ variables; others of that prefix are not inherited.
    folder
        Working directory and output; no .env is there.
    processes
        How many processes of it do the work.
    """

    def __init__(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, processes: int = 1
    ) -> None:
        self.processes = processes
        self._arguments = list(arguments)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
        paths = [str(_PACKAGE_ROOT), *filter(None, [self._environment.get("PYTHONPATH")])]
        self._environment |= {"PYTHONPATH": os.pathsep.join(paths), **environment}
        self._folder = folder
        self._child: subprocess.Popen[bytes] | None = None
        self.log_file = folder / "output.log"

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._child is not None
        return self._child.pid

    @property
    def ended(self) -> int | None:
        """Exit status, None while running."""
        return None if self._child is None else self._child.poll()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, *self._arguments],
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def all_said(self, text: str) -> bool:
        """Tell whether the output so far of each of its processes has a text."""
        lines = self.log_file.read_text(errors="replace").splitlines() if self.log_file.exists() else ()
        tags = [_PROCESS_TAG.match(line) for line in lines if text in line]
        return len({tag[1] if tag else "" for tag in tags}) >= self.processes

    def log_tail(self, characters: int = 1_500) -> str:
        """Return the end of what it printed."""
        return self.log_file.read_text(errors="replace")[-characters:] if self.log_file.exists() else ""


def family_of(pid: int) -> list[int]:
    """Return a process and all that it has started and that still run; itself alone where /proc does not tell."""
    try:
        lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        lists = []
    return [pid, *(one for told in lists for child in told.split() for one in family_of(int(child)))]


def cpu_seconds(pid: int) -> float | None:
    """Return user and system CPU time of a process so far; None where /proc does not tell (not Linux, or gone)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return sum(int(ticks) for ticks in fields[_CPU_FIELDS]) / os.sysconf("SC_CLK_TCK")


def peak_memory_mebibytes(pid: int) -> int | None:
    """Return the largest resident size of a process so far; None where /proc does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) // _MEBIBYTE_KIB if line else None
