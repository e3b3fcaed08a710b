"""Worker processes that come and go, and what each of them says that it owns."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from stream_app.settings import Settings
from tests.support.kafka import WorkerProcess

ENDS_WELL = frozenset({0, 3})
"""A worker that ends by itself was fenced or cut off (3); a supervisor starts it again."""


class Seat(NamedTuple):
    """Where a worker runs: what a new one in the same seat finds on disk is what the former left there."""

    number: int
    store: str
    chunk_records: int


class Member:
    """One worker process.

    Parameters
    ----------
    settings
        The app's, as its seat has them.
    seat
        Where it runs.
    log
        Where it writes.
    """

    def __init__(self, settings: Settings, seat: Seat, log: Path) -> None:
        self.seat = seat
        self.settings = settings
        self.process = WorkerProcess(settings, log)

    @property
    def is_running(self) -> bool:
        return self.process.child.poll() is None

    def said(self, message: str) -> list[dict[str, object]]:
        """Return the log lines with this message, oldest first."""
        return list(_lines(self.process.log, message))

    def owns(self) -> frozenset[int]:
        """Return the partitions that it said it owns after the last rebalance that it took part in."""
        told = self.said("owns")
        if not told:
            return frozenset()
        return frozenset(int(number) for number in str(told[-1]["partitions"]).split(",") if number)

    def freeze(self) -> None:
        self.process.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.child.send_signal(signal.SIGCONT)


class Crew:
    """The workers that run at the moment.

    Parameters
    ----------
    settings
        The app's.
    folder
        For logs and stores.
    seats
        As many workers as can run at a time.
    """

    def __init__(self, settings: Settings, folder: Path, seats: list[Seat]) -> None:
        self._settings = settings
        self._folder = folder
        self._seats = seats
        self.members: list[Member] = []
        self.former: list[Member] = []
        self.ends: Counter[int] = Counter()
        """Exit codes of those that ended by themselves or were asked to."""

    @property
    def is_full(self) -> bool:
        return len(self.members) == len(self._seats)

    def hire(self) -> Member:
        taken = {member.seat for member in self.members}
        seat = next(seat for seat in self._seats if seat not in taken)
        changes = {
            "store": seat.store,
            "max_chunk_records": seat.chunk_records,
            "data_dir": self._folder / f"seat{seat.number}",
        }
        values = {name: getattr(self._settings, name) for name in self._settings.model_fields_set} | changes
        log = self._folder / f"worker{len(self.former) + len(self.members)}.log"
        member = Member(Settings.model_validate(values), seat, log)
        self.members.append(member)
        return member

    def kill(self, member: Member) -> None:
        member.process.kill()
        self._leave(member)

    def dismiss(self, member: Member) -> None:
        """Ask a worker to end, and wait until it has."""
        member.process.child.send_signal(signal.SIGTERM)
        member.thaw()
        code = member.process.child.wait(120)
        if code == -signal.SIGTERM and not member.process.log.stat().st_size:
            # It was still importing, and had not yet said that it listens to signals.
            code = 0
        self._ended_as(member, code)

    def tidy(self) -> None:
        """Replace members that ended by themselves, as a supervisor does."""
        for member in [one for one in self.members if not one.is_running]:
            self._ended_as(member, member.process.child.returncode)
        if not self.members:
            self.hire()

    def freeze(self) -> None:
        for member in self.members:
            member.freeze()

    def thaw(self) -> None:
        for member in self.members:
            member.thaw()

    def kill_all(self) -> None:
        for member in list(self.members):
            self.kill(member)

    def _ended_as(self, member: Member, code: int) -> None:
        assert code in ENDS_WELL, f"exit code {code}: " + member.process.log.read_text()[-3_000:]
        self.ends[code] += 1
        self._leave(member)

    def _leave(self, member: Member) -> None:
        self.members.remove(member)
        self.former.append(member)


def _lines(log: Path, message: str) -> Iterator[dict[str, object]]:
    for line in log.read_text().splitlines():
        if f'"message": "{message}"' in line:
            told: dict[str, object] = json.loads(line)
            yield told
