"""Events to files: one merged file, or one file a topic; the same events give the same bytes, compressed or not."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

from stream_app.simulation.events import SimulatedEvent

_CHUNK = 4096


def open_for_writing(path: Path) -> IO[bytes]:
    """Open a file, compressed when its name ends in .gz (with no time stamp inside, which would differ by run)."""
    if path.suffix == ".gz":
        return cast(
            "IO[bytes]", gzip.GzipFile(filename="", fileobj=path.open("wb"), mode="wb", compresslevel=4, mtime=0)
        )
    return path.open("wb")


def write_file(path: Path, events: Iterable[SimulatedEvent]) -> int:
    """Write events as JSON Lines, each with its topic; return how many."""
    written = 0
    with open_for_writing(path) as file:
        lines: list[bytes] = []
        for event in events:
            lines.append(event.line())
            if len(lines) == _CHUNK:
                written += _CHUNK
                file.write(b"\n".join(lines) + b"\n")
                lines.clear()
        if lines:
            written += len(lines)
            file.write(b"\n".join(lines) + b"\n")
    return written
