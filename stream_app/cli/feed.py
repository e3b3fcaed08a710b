"""`stream-app feed`: event files to Kafka, in event-time order, at any speed, resumable."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.adapters.event_files import FileEvent, merge_by_event_time
from stream_app.adapters.feeding import Feeder, FeedPosition
from stream_app.adapters.trainer_gate import TrainerGate
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import InputTopic, OpenFile, open_files, progress_over
from stream_app.core.times import DAY_MS, SECOND_MS, day_of, iso
from stream_app.core.topics import Topic
from stream_app.settings import Settings, load_settings

_SAVE_SECONDS = 2.0
_SHOW_EVERY = 1_000
_SHORTEST_SLEEP_SECONDS = 0.02


def command(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines (.gz too), or CSV of the UCI Online Retail table.")],
    topic: Annotated[
        InputTopic | None,
        typer.Option(help="What the lines are. Default: told from a line's topic field or the file's name."),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="Seconds of event time per second (86400: a day a second), or max.")
    ] = "max",
    preset: Annotated[str | None, typer.Option(help="Table format: uci-online-retail (told by .csv).")] = None,
    wait_for_trainer: Annotated[
        bool,
        typer.Option(
            "--wait-for-trainer",
            help="After each event-day, wait until workers and trainer have taken it in and the new model is served.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the same feed was interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    r"""Feed event files to Kafka.

    Several files are merged by event time. Keys are customer ids (murmur2, as Java's producers place them), record
    timestamps are event times but never past the present. Lines that are no valid events are fed as they are: the
    worker dead-letters them with their reason.

    Whoever feeds history and wants scores as they would have been at the time gives --wait-for-trainer: worker and
    trainer must be running, with STREAM_APP_CLOCK=event, and a STREAM_APP_SNAPSHOT_SECONDS of a fraction of a second
    saves time. `stream-app model agreement FILES` then compares what was served with an evaluation of the files.

    \b
    Examples:
      stream-app feed orders.jsonl.gz clickstream.jsonl.gz
      stream-app feed history.jsonl --topic orders --speed 86400
      stream-app feed shop.jsonl --resume          (a file of `stream-app simulate`)
      stream-app feed OnlineRetail.csv --preset uci-online-retail
    """
    settings = load_settings()
    rate = _parse_speed(speed)
    if wait_for_trainer and settings.clock != "event":
        raise CommandError(
            "--wait-for-trainer lets event time pass by itself: set STREAM_APP_CLOCK=event here and for the workers",
            ExitCode.USAGE,
        )
    opened = open_files(files, topic, preset)
    identity = [str(path.resolve()) + f":{path.stat().st_size}" for path in files]
    position = FeedPosition(
        settings.data_dir / "feeds", [*identity, topic or "", preset or "", settings.bootstrap, settings.app_id]
    )
    feed = _Feed(
        settings, opened, position, rate, skip=position.load() if resume else 0, wait_for_trainer=wait_for_trainer
    )
    try:
        with progress_over(opened, "feeding") as show:
            asyncio.run(feed.run(show))
    except KeyboardInterrupt:
        raise CommandError(
            f"interrupted after {feed.acknowledged:,} acknowledged records: --resume goes on there",
            ExitCode.INTERRUPTED,
        ) from None
    _report(feed.report(), as_json=as_json)


class _Feed:
    """One run of `feed`: reads, paces, sends, and remembers."""

    def __init__(
        self,
        settings: Settings,
        files: Sequence[OpenFile],
        position: FeedPosition,
        rate: float | None,
        skip: int,
        *,
        wait_for_trainer: bool,
    ) -> None:
        self._settings = settings
        self._files = files
        self._position = position
        self._rate = rate
        self._skip = skip
        self._wait_for_trainer = wait_for_trainer
        self._counts: Counter[Topic] = Counter()
        self._first_ms = 0
        self._last_ms = 0
        self._seconds = 0.0
        self.acknowledged = skip

    async def run(self, show: Callable[[int, int], None]) -> None:
        """Feed everything; on an interruption the position tells what was acknowledged."""
        started = time.monotonic()
        number = self._skip
        try:
            async with contextlib.AsyncExitStack() as stack:
                feeder = await stack.enter_async_context(Feeder(self._settings))
                gate = TrainerGate(self._settings, feeder) if self._wait_for_trainer else None
                if gate is not None:
                    await stack.enter_async_context(gate)
                try:
                    number = await self._send_all(feeder, gate, show)
                except asyncio.CancelledError:
                    # Ctrl-C: what was taken is still sent, so that the position is exact.
                    await feeder.flush()
                    self.acknowledged = self._skip + sum(self._counts.values())
                    raise
            self.acknowledged = number
        finally:
            self._seconds = time.monotonic() - started
            self._position.save(self.acknowledged)
        self._position.clear()

    async def _send_all(self, feeder: Feeder, gate: TrainerGate | None, show: Callable[[int, int], None]) -> int:
        started = saved = time.monotonic()
        number = day = 0
        for number, event in enumerate(merge_by_event_time(self._files), start=1):
            if number <= self._skip:
                continue
            if gate is not None and day_of(event.at_ms) > day:
                if day:
                    await gate.pass_to(day_of(event.at_ms) * DAY_MS)
                day = day_of(event.at_ms)
            self._first_ms = self._first_ms or event.at_ms
            self._last_ms = max(self._last_ms, event.at_ms)
            if self._rate is not None:
                await self._wait(feeder, started + (event.at_ms - self._first_ms) / SECOND_MS / self._rate)
            await self._send(feeder, event)
            if number % _SHOW_EVERY == 0 or self._rate is not None:
                show(number, event.at_ms)
            if time.monotonic() - saved > _SAVE_SECONDS:
                await feeder.flush()
                self.acknowledged = number
                self._position.save(number)
                saved = time.monotonic()
        if gate is not None and day:
            await gate.pass_to(self._last_ms)
        return max(number, self._skip)

    async def _send(self, feeder: Feeder, event: FileEvent) -> None:
        now_ms = time.time_ns() // 1_000_000
        record_ms = min(event.at_ms, now_ms) if event.at_ms > 0 else now_ms
        await feeder.send(event.topic, event.customer_id or None, event.value, record_ms)
        self._counts[event.topic] += 1

    async def _wait(self, feeder: Feeder, due: float) -> None:
        """Sleep until an event is due, with everything before it sent."""
        if due - time.monotonic() > _SHORTEST_SLEEP_SECONDS:
            await feeder.flush()
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def report(self) -> dict[str, Any]:
        """Return what was done, JSON-ready."""
        records = sum(self._counts.values())
        return {
            "records": records,
            "by_topic": {topic.value: count for topic, count in sorted(self._counts.items())},
            "skipped": self._skip,
            "unreadable_lines": sum(file.broken_lines for file in self._files),
            "first_event": iso(self._first_ms) if self._first_ms else None,
            "last_event": iso(self._last_ms) if self._last_ms else None,
            "seconds": round(self._seconds, 3),
            "records_per_second": round(records / self._seconds) if self._seconds else 0,
        }


def _parse_speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise CommandError(f"--speed {text!r}: give event seconds per second, e.g. 86400, or max", ExitCode.USAGE)
    return rate


def _report(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
        return
    parts = ", ".join(f"{count:,} {name}" for name, count in report["by_topic"].items())
    print(f"fed {report['records']:,} records ({parts or 'none'}) in {report['seconds']:,.1f} s")
    if report["skipped"]:
        print(f"  resumed after {report['skipped']:,}")
    if report["unreadable_lines"]:
        print(f"  {report['unreadable_lines']:,} lines are no events; fed as they are, for dead-letters to name")
    if report["first_event"]:
        print(f"  event time {report['first_event']} to {report['last_event']}")
