"""`stream-app replay`: the product's own engine and learner over event files, without Kafka."""

import gc
import json
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any

import typer

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.event_files import FileEvent, merge_by_event_time
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import InputTopic, open_files, progress_over
from stream_app.core.effects import Output
from stream_app.core.times import to_ms
from stream_app.core.topics import Topic
from stream_app.engine.replay import OutputSink, Replay, SourceRecord
from stream_app.learning.learner import Learner
from stream_app.settings import load_settings
from stream_app.wire.encode import encode, to_json


class Model(StrEnum):
    """What serves the scores."""

    LEARNED = "learned"
    PRIOR = "prior"


def command(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines (.gz too), or CSV of the UCI Online Retail table.")],
    topic: Annotated[
        InputTopic | None,
        typer.Option(help="What the lines are. Default: told from a line's topic field or the file's name."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Table format: uci-online-retail (told by .csv).")] = None,
    model: Annotated[
        Model, typer.Option(help="learned: labels are learned as they mature; prior: never.")
    ] = Model.LEARNED,
    advance_to: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"], help="Let event time pass up to here (UTC)."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write every output there, one JSON object a line: topic, key, value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Run the engine and the learner over event files, without Kafka.

    The event clock rules, whatever STREAM_APP_CLOCK says: the data alone move time. A second run repeats every number,
    except the running time, which is told on stderr.

    \b
    Examples:
      stream-app replay orders.jsonl.gz --json
      stream-app replay orders.jsonl.gz clickstream.jsonl.gz --advance-to 2026-01-01
      stream-app replay shop.jsonl --model prior --out outputs.jsonl
    """
    settings = load_settings().model_copy(update={"clock": "event"})
    learns = model is Model.LEARNED and settings.pinned_model != Model.PRIOR
    opened = open_files(files, topic, preset)
    started = time.monotonic()
    with _without_garbage_collection(), out.open("wb") if out is not None else nullcontext() as sink:
        replay = Replay(
            engine_of(settings, partitions=1),
            Learner(settings.horizon_days) if learns else None,
            settings.decode_limits(),
            sink=_writer(sink) if sink is not None else None,
            further=[Learner(days) for days in settings.extra_horizons_days] if learns else (),
        )
        with progress_over(opened, "replaying") as show:
            replay.run(_sources(merge_by_event_time(opened)), show)
        if advance_to is not None:
            replay.advance(to_ms(advance_to.replace(tzinfo=UTC)))
    seconds = time.monotonic() - started
    report = replay.report()
    if not replay.records:
        raise CommandError("the files hold no records", ExitCode.FINDING)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_report(report)
        for intervention in replay.latest[-1:]:
            print("\nthe latest intervention:")
            print(json.dumps(json.loads(to_json(intervention)), indent=2, ensure_ascii=False))
    print(f"{replay.records:,} records in {seconds:,.1f} s ({replay.records / seconds:,.0f}/s)", file=sys.stderr)


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Spare the search for cycles among millions of long-lived objects that have none: a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _sources(events: Iterable[FileEvent]) -> Iterator[SourceRecord]:
    for event in events:
        yield SourceRecord(event.topic, event.customer_id.encode("utf-8") or None, event.value)


def _writer(file: IO[bytes]) -> OutputSink:
    """Return a sink that writes outputs as they would stand on their topics, but for what only the trainer reads."""
    internal = frozenset({Topic.TRAINING, Topic.POPULATION})

    def write(output: Output) -> None:
        if output.topic in internal:
            return
        encoded = encode(output)
        head = json.dumps({"topic": output.topic.value, "key": output.key}).encode("utf-8")
        file.write(head[:-1] + b', "value": ' + (encoded.value or b"null") + b"}\n")

    return write


def _print_report(report: dict[str, Any]) -> None:
    print(f"{report['records']:,} records, {report['customers']:,} customers")
    print(f"  event time {report['first_event']} to {report['last_event']}, reached {report['event_time_reached']}")
    print(f"  {report['events']:,} applied, {report['duplicates']:,} duplicates, {report['late']:,} late")
    _print_counts("dead letters", report["dead_letters"], report["dead_letters_by_reason"])
    for code, fault in report["first_fault_by_reason"].items():
        print(f"    {code}: first at record {fault['number']:,} ({fault['topic']}): {fault['detail']}")
    print(f"{report['scores']:,} scores published by {report['model']}, {report['warnings']:,} tier changes")
    print("  customers by tier: " + ", ".join(f"{name} {number:,}" for name, number in report["tiers"].items()))
    _print_counts("interventions", report["interventions"], report["interventions_by_action"])
    _print_counts("suppressed", report["suppressed"], report["suppressed_by_reason"])
    print(f"{report['examples']:,} labels matured, {report['snapshots']:,} model snapshots served")
    shown = {name: value for name, value in report["metrics"].items() if name.startswith("all_")}
    if shown:
        values = (f"{name.removeprefix('all_')} {value:,.4g}" for name, value in shown.items())
        print("  served scores against their labels: " + ", ".join(values))
    print(f"state digest {report['state_digest'][:16]}")


def _print_counts(title: str, total: int, parts: dict[str, int]) -> None:
    listed = ", ".join(f"{name} {number:,}" for name, number in sorted(parts.items(), key=lambda part: -part[1]))
    print(f"{total:,} {title}" + (f": {listed}" if listed else ""))
