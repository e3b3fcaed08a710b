"""Events to files: one merged file, or one file a topic; the same events give the same bytes, compressed or not."""

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, cast

from stream_app.core.topics import Topic
from stream_app.simulation.events import SimulatedEvent

_CHUNK = 4096
Progress = Callable[[int, int], None]
"""Takes records so far and the event time reached."""


def open_for_writing(path: Path) -> IO[bytes]:
    """Open a file, compressed when its name ends in .gz (with no time stamp inside, which would differ by run)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix != ".gz":
        return path.open("wb")
    return cast("IO[bytes]", _Gzip(path))


class _Gzip(gzip.GzipFile):
    """A gzip file that closes the file below it, and holds neither name nor time."""

    def __init__(self, path: Path) -> None:
        self._below = path.open("wb")
        super().__init__(filename="", fileobj=self._below, mode="wb", compresslevel=4, mtime=0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._below.close()


def write_file(path: Path, events: Iterable[SimulatedEvent], progress: Progress | None = None) -> int:
    """Write events to one file as JSON Lines, each with its topic; return how many."""
    written = 0
    with open_for_writing(path) as file:
        lines: list[bytes] = []
        for event in events:
            lines.append(event.line())
            if len(lines) == _CHUNK:
                written += _CHUNK
                file.write(b"\n".join(lines) + b"\n")
                lines.clear()
                if progress is not None:
                    progress(written, event.at_ms)
        if lines:
            written += len(lines)
            file.write(b"\n".join(lines) + b"\n")
    return written


def write_folder(folder: Path, events: Iterable[SimulatedEvent], progress: Progress | None = None) -> dict[Topic, int]:
    """Write events to one file a topic, `<topic>.jsonl.gz`, each line the record's value; return how many by topic."""
    files: dict[Topic, IO[bytes]] = {}
    counts: dict[Topic, int] = {}
    written = 0
    try:
        for event in events:
            file = files.get(event.topic)
            if file is None:
                file = files[event.topic] = open_for_writing(folder / f"{event.topic.value}.jsonl.gz")
            file.write(event.value + b"\n")
            counts[event.topic] = counts.get(event.topic, 0) + 1
            written += 1
            if progress is not None and written % _CHUNK == 0:
                progress(written, event.at_ms)
    finally:
        for file in files.values():
            file.close()
    return counts
