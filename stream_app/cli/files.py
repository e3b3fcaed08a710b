"""What `feed` and `replay` share: opening event files, and showing on a terminal how far they are read."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from stream_app.adapters.event_files import ONLINE_RETAIL_PRESET, EventFile, EventFileError, merge_by_event_time
from stream_app.adapters.retail_csv import RetailCsv
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.records import Record
from stream_app.core.times import iso
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.wire.decode import decode
from stream_app.wire.rejection import Rejection


class InputTopic(StrEnum):
    """The topics that a file can be for."""

    CLICKSTREAM = Topic.CLICKSTREAM.value
    ORDERS = Topic.ORDERS.value
    REVIEWS = Topic.REVIEWS.value
    CUSTOMERS = Topic.CUSTOMERS.value
    FEEDBACK = Topic.FEEDBACK.value
    PRODUCTS = Topic.PRODUCTS.value
    CALENDAR = Topic.CALENDAR.value


PRESETS = (ONLINE_RETAIL_PRESET,)
OpenFile = EventFile | RetailCsv


def open_files(paths: Sequence[Path], topic: InputTopic | None, preset: str | None) -> list[OpenFile]:
    """Open event files for reading.

    Parameters
    ----------
    paths
        The files.
    topic
        What their lines are; None: told from lines or names.
    preset
        A table format other than JSON Lines; None: `.csv` files are taken for the Online Retail table.

    Raises
    ------
    CommandError
        When a file does not exist, its topic cannot be told, or the preset is unknown.
    """
    if preset is not None and preset not in PRESETS:
        raise CommandError(f"unknown preset {preset!r}: there is {', '.join(PRESETS)}", ExitCode.USAGE)
    opened: list[OpenFile] = []
    for path in paths:
        if not path.is_file():
            raise CommandError(f"{path}: there is no such file", ExitCode.USAGE)
        is_table = path.name.lower().endswith((".csv", ".csv.gz"))
        try:
            opened.append(RetailCsv(path) if preset or is_table else EventFile(path, Topic(topic) if topic else None))
        except EventFileError as failure:
            raise CommandError(str(failure), ExitCode.USAGE) from failure
    return opened


@contextmanager
def progress_over(files: Sequence[OpenFile], title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, nothing elsewhere; yields a function that takes records and event time."""
    total = sum(file.total_bytes for file in files)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TextColumn("{task.fields[moment]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(title, total=total, records=0, rate=0.0, moment="")

        def show(records: int, at_ms: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            moment = iso(at_ms)[:16].replace("T", " ") if at_ms else ""
            done = sum(file.done_bytes for file in files)
            progress.update(
                task, completed=done, records=records, rate=records / elapsed if elapsed else 0.0, moment=moment
            )

        yield show


def customer_records(opened: Sequence[OpenFile], rejected: Counter[str]) -> Iterator[Record]:
    """Yield the valid customer events of files, merged by event time; count the others by reason in `rejected`."""
    offsets: Counter[Topic] = Counter()
    for event in merge_by_event_time(opened):
        if event.topic not in CUSTOMER_TOPICS:
            continue
        offset = offsets[event.topic]
        offsets[event.topic] += 1
        record = decode(event.topic, event.customer_id.encode(), event.value, None, 0, offset, 0)
        if isinstance(record, Record):
            yield record
        else:
            rejected[record.code if isinstance(record, Rejection) else "not_an_event"] += 1
