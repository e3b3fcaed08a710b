"""One worker of several processes: started together, watched, asked on one port, ended together.

A Python process fills one core. Each process here is exactly the worker of one: a member of the group with partitions,
clients and stores of its own; the brokers share the partitions out, and nothing is shared in memory. So the laws of a
crash are those of any worker. The supervisor only starts, watches and ends them, and knows neither Kafka nor Faust.

- *Fail whole*: one that ends brings the others to an orderly end, and the worker ends with its status. Whoever runs
  workers restarts them already, and sees every failure; a second such mechanism in here would hide some.
- *One port for machines*: the supervisor answers probes and metrics for all (`http_gathering`), so that a worker is one
  target and one pod with one readiness, however many processes it has. `/v1` is served by the processes themselves,
  the first at the worker's port and each other one at the next: every one answers for any customer, as workers do for
  one another, and no customer's data pass through here.
- *Lines stay whole*: what processes print comes through here, line by line, with the number of its process.
- *No orphans*: each holds a `lifeline` that ends with this process.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import BinaryIO, Self

from stream_app.adapters.logs import fields

STOP_SECONDS = 55.0
"""How long all of them may take to end in order; more than a worker allows itself, less than Kubernetes allows us."""

EXIT_STOP_TIMEOUT = 70
_SIGNALLED = 128
_CHUNK_BYTES = 1 << 16

logger = logging.getLogger(__name__)


class Child:
    """One process and what binds us to it.

    Parameters
    ----------
    number
        Its number in the worker, from 0.
    process
        Running, its output in a pipe.
    lifeline
        Our end.
    out
        Where its lines go.
    """

    def __init__(self, number: int, process: Process, lifeline: socket.socket, out: BinaryIO) -> None:
        self.number = number
        self.url = ""
        """Where its probes answer; empty until it has said so."""
        self._process = process
        self._lifeline = lifeline
        self._out = out
        self._listening = asyncio.create_task(self._listen())
        self.end = asyncio.create_task(self._run())
        """Done when it has ended, with its status: negative for a signal."""

    @classmethod
    async def start(cls, number: int, command: Sequence[str], environment: Mapping[str, str], out: BinaryIO) -> Self:
        """Start it; in a session of its own, so that Ctrl-C reaches only the supervisor, which ends all in order."""
        with contextlib.ExitStack() as stack:
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            ours.setblocking(False)
            process = await asyncio.create_subprocess_exec(
                *command, stdin=theirs.fileno(), stdout=PIPE, stderr=STDOUT, env=environment, start_new_session=True
            )
            theirs.close()
            stack.pop_all()
        return cls(number, process, ours, out)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def _run(self) -> int:
        assert self._process.stdout is not None
        await relay(self._process.stdout.read, self.number, self._out)
        status = await self._process.wait()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._lifeline.close()
        return status

    async def _listen(self) -> None:
        told = b""
        while not told.endswith(b"\n"):
            heard = await asyncio.get_running_loop().sock_recv(self._lifeline, _CHUNK_BYTES)
            if not heard:
                return
            told += heard
        self.url = told.decode().strip()


async def relay(read: Callable[[int], Awaitable[bytes]], number: int, out: BinaryIO) -> None:
    """Write what a process prints to `out`, each line whole and with its number, until there is no more."""
    begun = b""
    while chunk := await read(_CHUNK_BYTES):
        *lines, begun = (begun + chunk).split(b"\n")
        _print(lines, number, out)
    _print([begun] if begun else [], number, out)


def _print(lines: Sequence[bytes], number: int, out: BinaryIO) -> None:
    # Where nobody reads any more (a closed terminal), the work goes on.
    with contextlib.suppress(OSError):
        out.write(b"".join(tagged(line, number) + b"\n" for line in lines))
        out.flush()


def tagged(line: bytes, number: int) -> bytes:
    """Return a line of a process with its number: a field where it is a JSON object, words in front of any other."""
    if line.startswith(b'{"'):
        return b'{"process": %d, %b' % (number, line[1:])
    return b"process %d: %b" % (number, line)


class Supervisor:
    """The processes of a worker.

    Parameters
    ----------
    commands
        One for each: a program and its arguments.
    environment
        The whole environment of each.
    out
        Where their lines go, whole.
    """

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str], out: BinaryIO) -> None:
        self._commands = commands
        self._environment = environment
        self._out = out
        self._children: list[Child] = []

    def urls(self) -> list[str]:
        """Return where the probes of each process answer; empty for one that does not yet, or no more."""
        known = {child.number: child.url for child in self._children if not child.end.done()}
        return [known.get(number, "") for number in range(len(self._commands))]

    async def run(self, stop: asyncio.Event) -> int:
        """Start all, and end all once `stop` is set or one of them ends; returns the status to exit with.

        That is 0 after an orderly end, else the status of the process that failed first (128 and more: its signal).
        """
        stopping = asyncio.create_task(stop.wait())
        try:
            for number, command in enumerate(self._commands):
                self._children.append(await Child.start(number, command, self._environment, self._out))
            ends = [child.end for child in self._children]
            await asyncio.wait({stopping, *ends}, return_when=asyncio.FIRST_COMPLETED)
            ended = [child for child in self._children if child.end.done() and not stop.is_set()]
            for child in ended:
                logger.error(
                    "a process ended, and the worker with it",
                    extra=fields(process=child.number, status=child.end.result()),
                )
        finally:
            stopping.cancel()
            late = await self._end_all()
        failed = [child.end.result() for child in ended if child.end.result() != 0]
        if late:
            failed.append(EXIT_STOP_TIMEOUT)
        # Who was asked to end before it listened to signals had nothing to put in order.
        asked = [child.end.result() for child in self._children if child not in ended]
        failed += [status for status in asked if status not in {0, -signal.SIGTERM}]
        return _exit_status(failed[0]) if failed else 0

    async def _end_all(self) -> bool:
        """End all that still run, and tell whether one had to be killed."""
        for child in self._children:
            child.send(signal.SIGTERM)
        ends = [child.end for child in self._children]
        _, late = await asyncio.wait(ends, timeout=STOP_SECONDS) if ends else (set(), set())
        for child in self._children:
            if child.end in late:
                logger.error("a process did not end in time and is killed", extra=fields(process=child.number))
                child.send(signal.SIGKILL)
        await asyncio.gather(*late)
        return bool(late)


def _exit_status(status: int) -> int:
    return status if status >= 0 else _SIGNALLED - status
