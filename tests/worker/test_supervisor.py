"""The processes of a worker, with tiny programs in their place: started, heard, ended together."""

import asyncio
import contextlib
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.worker import supervisor
from stream_app.worker.lifeline import EXIT_ORPHANED
from stream_app.worker.supervisor import Supervisor, relay, tagged

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ORDERLY = """
import signal, sys
def end(*_):
    print("bye", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
print("up", flush=True)
"""
WAITS = "import signal\nwhile True: signal.pause()\n"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\n"
HOLD = "from stream_app.worker.lifeline import Lifeline; Lifeline().hold()\n"


class Heard(io.BytesIO):
    """What was written, and something to do once enough of it says a word."""

    def __init__(self, word: bytes = b"up", count: int = 0, then: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self._word, self._count, self._then = word, count, then

    def write(self, text: object) -> int:
        assert isinstance(text, bytes)
        before = self.getvalue().count(self._word)
        written = super().write(text)
        if before < self._count <= self.getvalue().count(self._word):
            self._then()
        return written

    def lines(self) -> list[bytes]:
        return sorted(self.getvalue().splitlines())


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


async def test_all_are_ended_in_order_when_the_worker_is_to_stop() -> None:
    stop = asyncio.Event()
    heard = Heard(count=2, then=stop.set)

    assert await Supervisor([python(ORDERLY + WAITS)] * 2, ENVIRONMENT, heard).run(stop) == 0
    assert heard.lines() == [b"process 0: bye", b"process 0: up", b"process 1: bye", b"process 1: up"]


async def test_one_that_has_not_yet_begun_to_listen_to_signals_is_no_failure() -> None:
    stop = asyncio.Event()
    stop.set()

    assert await Supervisor([python(WAITS)], ENVIRONMENT, Heard()).run(stop) == 0


async def test_a_failure_while_all_stop_is_told() -> None:
    stop = asyncio.Event()
    failing = ORDERLY.replace("sys.exit(0)", "sys.exit(5)") + WAITS

    run = Supervisor([python(ORDERLY + WAITS), python(failing)], ENVIRONMENT, Heard(count=2, then=stop.set)).run(stop)
    assert await run == 5


@pytest.mark.parametrize(
    ("last_words", "status"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit(0)", 0),
        ("signal.raise_signal(signal.SIGKILL)", 128 + 9),
        ("signal.raise_signal(signal.SIGTERM)", 128 + 15),
    ],
)
async def test_one_that_ends_ends_the_others_in_order_and_gives_its_status(
    last_words: str, status: int, tmp_path: Path
) -> None:
    road = str(tmp_path / "road")
    os.mkfifo(road)
    # It ends only once the other one has said, through the pipe, that it listens to signals.
    steady = ORDERLY + "open(sys.argv[1], 'w').close()\n" + WAITS
    ending = f"import signal, sys; open(sys.argv[1]).read(); {last_words}"
    heard = Heard()

    run = Supervisor([python(steady, road), python(ending, road)], ENVIRONMENT, heard).run(asyncio.Event())
    assert await run == status
    assert heard.lines() == [b"process 0: bye", b"process 0: up"]


async def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.01)
    stop = asyncio.Event()

    run = Supervisor([python(DEAF + WAITS)], ENVIRONMENT, Heard(count=1, then=stop.set)).run(stop)
    assert await run == supervisor.EXIT_STOP_TIMEOUT


async def test_the_first_failure_is_told_where_another_had_to_be_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.01)
    road = str(tmp_path / "road")
    os.mkfifo(road)
    deaf = "import sys\n" + DEAF + "open(sys.argv[1], 'w').close()\n" + WAITS
    failing = "import sys; open(sys.argv[1]).read(); sys.exit(3)"

    run = Supervisor([python(deaf, road), python(failing, road)], ENVIRONMENT, Heard()).run(asyncio.Event())
    assert await run == 3


async def test_what_was_started_is_ended_where_another_cannot_be_started(tmp_path: Path) -> None:
    workers = Supervisor([python(ORDERLY + WAITS), [str(tmp_path / "none")]], ENVIRONMENT, Heard())

    with pytest.raises(FileNotFoundError):
        await workers.run(asyncio.Event())
    assert [child.end.done() for child in workers._children] == [True]


async def test_each_tells_where_it_answers_and_who_ended_answers_no_more() -> None:
    stop = asyncio.Event()
    tells = "from stream_app.worker.lifeline import Lifeline; Lifeline().tell('http://127.0.0.1:1')\n"
    workers = Supervisor([python(tells + WAITS), python(WAITS)], ENVIRONMENT, Heard())
    assert workers.urls() == ["", ""]
    run = asyncio.create_task(workers.run(stop))
    while not workers.urls()[0]:  # noqa: ASYNC110 - the supervisor tells nobody when it hears something
        await asyncio.sleep(0.001)

    assert workers.urls() == ["http://127.0.0.1:1", ""]
    stop.set()
    assert await run == 0
    assert workers.urls() == ["", ""]


@contextlib.contextmanager
def held(code: str) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """A process whose lifeline this test holds; it has said its first word."""
    ours, theirs = socket.socketpair()
    with ours, subprocess.Popen(python(code), stdin=theirs.fileno(), stdout=subprocess.PIPE, env=ENVIRONMENT) as child:
        theirs.close()
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        try:
            yield child, ours
        finally:
            child.kill()


def test_the_end_of_the_supervisor_is_the_signal_to_end() -> None:
    with held(HOLD + ORDERLY + WAITS) as (child, ours):
        ours.close()
        assert child.wait(30) == 0
        assert child.stdout is not None
        assert child.stdout.read() == b"bye\n"


def test_an_orphan_that_hangs_ends_by_force() -> None:
    soon = "from stream_app.worker import lifeline; lifeline.STOP_SECONDS = 0.01\n"
    with held(soon + HOLD + DEAF + WAITS) as (child, ours):
        ours.close()
        assert child.wait(30) == EXIT_ORPHANED


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    road = tmp_path / "road"
    os.mkfifo(road)
    says = "import sys; said = open(sys.argv[1], 'w'); said.write('up\\n'); said.flush()\n"
    supervising = (
        "import asyncio, os, sys; from stream_app.worker.supervisor import Supervisor\n"
        "commands = [[sys.executable, '-c', *sys.argv[1:]]] * 3\n"
        "asyncio.run(Supervisor(commands, os.environ, sys.stderr.buffer).run(asyncio.Event()))"
    )
    command = python(supervising, HOLD + says + WAITS, str(road))
    with subprocess.Popen(command, env=ENVIRONMENT) as parent, road.open() as told:
        assert [told.readline() for _ in range(3)] == ["up\n"] * 3
        parent.kill()
        assert told.read() == ""  # which only comes once the last of them is gone


@given(st.lists(st.text("ab{\"'é\n ", max_size=9), max_size=8), st.data())
def test_any_chunks_of_output_give_the_same_whole_lines(lines: list[str], data: st.DataObject) -> None:
    text = "\n".join(lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    chunks = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    waiting = [chunk for chunk in chunks if chunk]
    heard = Heard()

    async def read(_: int) -> bytes:
        return waiting.pop(0) if waiting else b""

    asyncio.run(relay(read, 7, heard))
    whole = text.removesuffix(b"\n").split(b"\n") if text else []
    assert heard.getvalue() == b"".join(tagged(line, 7) + b"\n" for line in whole)


def test_a_line_tells_its_process() -> None:
    told = json.loads(tagged(b'{"time": "now", "records": 3}', 2))

    assert told == {"process": 2, "time": "now", "records": 3}
    assert tagged(b"Traceback:", 2) == b"process 2: Traceback:"
    assert tagged(b"{}", 2) == b"process 2: {}"


async def test_nobody_reads_and_the_work_goes_on() -> None:
    stop = asyncio.Event()

    class Closed(Heard):
        def flush(self) -> None:
            raise BrokenPipeError

    assert await Supervisor([python(ORDERLY + WAITS)], ENVIRONMENT, Closed(count=1, then=stop.set)).run(stop) == 0
