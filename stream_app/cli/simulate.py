"""`stream-app simulate`: a shop with known truth, to files or live to Kafka, reacting to interventions."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.times import DAY_MS, iso
from stream_app.settings import load_settings
from stream_app.simulation.config import Dirt, Drift, ShopConfig
from stream_app.simulation.dirt import Spoiler
from stream_app.simulation.files import write_file, write_folder
from stream_app.simulation.live import LiveShop
from stream_app.simulation.presets import PRESETS
from stream_app.simulation.realism import compare_with_real
from stream_app.simulation.realism_page import realism_page
from stream_app.simulation.shop import Shop
from stream_app.simulation.truth import TruthWriter


def command(
    out: Annotated[
        Path | None, typer.Option(help="File to write: JSON Lines, each line with its topic; .gz is compressed.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option(help="Folder to write one file a topic into, <topic>.jsonl.gz.")
    ] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="Send to the topics on STREAM_APP_BOOTSTRAP.")] = False,
    respond: Annotated[
        bool, typer.Option("--respond", help="With --kafka: customers react to interventions and feedback is posted.")
    ] = False,
    speed: Annotated[str, typer.Option(help="With --kafka: days of event time per second, or max.")] = "max",
    days: Annotated[int, typer.Option(help="Days to simulate.")] = 365,
    customers: Annotated[int, typer.Option(help="Customers, those acquired on the way included.")] = 1000,
    seed: Annotated[int, typer.Option(help="One seed, one shop, byte for byte.")] = 1,
    start: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"], help="First day (UTC). Default: 2025-01-01; with --kafka: so that it ends today."
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help=f"Whose orders to resemble: {', '.join(PRESETS)}.")] = "shop",
    drift: Annotated[Drift, typer.Option(help="What changes in behaviour while the shop runs.")] = Drift.SEASONAL,
    drift_at: Annotated[float, typer.Option(min=0.0, max=1.0, help="Where in the run the change falls.")] = 0.5,
    promotions: Annotated[bool, typer.Option(help="Days of lower prices.")] = True,
    crises: Annotated[bool, typer.Option(help="Weeks in which something goes wrong in a region.")] = True,
    texts: Annotated[bool, typer.Option(help="Reviews, complaints, chats, surveys; cancellations and returns.")] = True,
    effects: Annotated[bool, typer.Option(help="Messages change what customers do.")] = True,
    truth: Annotated[Path | None, typer.Option(help="File for the truth: what customers are and would do.")] = None,
    truth_days: Annotated[int, typer.Option(min=1, help="Days between the times of the truth file.")] = 14,
    truth_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of customers in the truth file.")] = 1.0,
    truth_effects: Annotated[bool, typer.Option(help="Also the effect of each action, for ten times the work.")] = True,
    horizon_days: Annotated[
        list[int] | None, typer.Option(help="H of the truth, repeatable. Default: 30 and 60.")
    ] = None,
    duplicates: Annotated[float, typer.Option(min=0.0, max=1.0, help="Dirt: share sent twice.")] = 0.0,
    late: Annotated[float, typer.Option(min=0.0, max=1.0, help="Dirt: share sent hours late.")] = 0.0,
    out_of_order: Annotated[float, typer.Option(min=0.0, max=1.0, help="Dirt: share sent seconds late.")] = 0.0,
    malformed: Annotated[float, typer.Option(min=0.0, max=1.0, help="Dirt: share broken.")] = 0.0,
    missing_fields: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Dirt: share without a required field.")
    ] = 0.0,
    foreign_keys: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Dirt, with --kafka: share placed by another partitioner.")
    ] = 0.0,
    realism: Annotated[
        Path | None,
        typer.Option(help="Instead of a shop: write a report of how real the presets are (HTML). Needs --real-data."),
    ] = None,
    real_data: Annotated[
        Path | None, typer.Option(help="Folder with cdnow/, online_retail/ and rees46_sample/ event files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    r"""Simulate a shop whose truth is known.

    \b
    Examples:
      stream-app simulate --days 365 --customers 2000 --out shop.jsonl
      stream-app simulate --out-dir shop/ --truth shop/truth.jsonl.gz --drift abrupt
      stream-app simulate --kafka --respond --speed 1       (a day a second)
      stream-app simulate --out dirty.jsonl --malformed 0.01 --duplicates 0.02 --late 0.01
    """
    if realism is not None:
        _tell(_compare(realism, real_data), as_json=as_json)
        return
    if sum((out is not None, out_dir is not None, kafka)) != 1:
        raise CommandError("say where the events go: one of --out FILE, --out-dir FOLDER, --kafka", ExitCode.USAGE)
    if respond and not kafka:
        raise CommandError("--respond reads interventions from Kafka: give --kafka too", ExitCode.USAGE)
    pace = _parse_speed(speed)
    try:
        config = ShopConfig(
            customers=customers,
            days=days,
            seed=seed,
            start=_first_day(start, days, ends_today=kafka),
            preset=preset,
            drift=drift,
            drift_at=drift_at,
            promotions=promotions,
            crises=crises,
            texts=texts,
            effects=effects,
            horizons_days=tuple(horizon_days or (30, 60)),
            dirt=Dirt(
                duplicates=duplicates,
                late=late,
                out_of_order=out_of_order,
                malformed=malformed,
                missing_fields=missing_fields,
                foreign_keys=foreign_keys,
            ),
        )
    except ValueError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure
    report = _run(config, out, out_dir, pace, respond, truth, truth_days, truth_share, truth_effects)
    _tell(report, as_json=as_json)


def _compare(page: Path, folder: Path | None) -> dict[str, Any]:
    if folder is None:
        raise CommandError("--realism compares with real shops: give --real-data FOLDER too", ExitCode.USAGE)
    comparisons = compare_with_real(folder)
    page.write_text(realism_page(comparisons), encoding="utf-8")
    distances = {f"{found.what} ({found.real_name})": round(found.distance, 3) for found in comparisons}
    return {"page": str(page), "largest_difference_of_distribution_functions": distances}


def _tell(report: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(f"{name.replace('_', ' ')}: {_shown(value)}" for name, value in report.items()))


def _run(
    config: ShopConfig,
    out: Path | None,
    out_dir: Path | None,
    pace: float | None,
    respond: bool,
    truth: Path | None,
    truth_days: int,
    truth_share: float,
    truth_effects: bool,
) -> dict[str, Any]:
    shop = Shop(config)
    writer = TruthWriter(truth, truth_days, truth_share, effects=truth_effects) if truth is not None else None
    spoiler = Spoiler(config.dirt, config.seed)
    events = shop.events(None if writer is None else writer.at_daybreak)
    delivered = spoiler.spoil(events) if config.dirt.any else events
    report: dict[str, Any] = {"customers": config.customers, "days": config.days, "seed": config.seed}
    try:
        with _progress(config) as show:
            if out is not None:
                report |= {"records": write_file(out, delivered, show), "file": str(out)}
            elif out_dir is not None:
                counts = write_folder(out_dir, delivered, show)
                report |= {"records": sum(counts.values()), "folder": str(out_dir)}
                report["by_topic"] = {topic.value: count for topic, count in sorted(counts.items())}
            else:
                report |= _go_live(shop, delivered, pace, respond, show)
    finally:
        if writer is not None:
            writer.close()
    report["orders"] = int(shop.placed_orders.sum())
    report["still_customers"] = int(shop.state.alive.sum())
    if writer is not None:
        report |= {"truth_rows": writer.rows, "truth_file": str(truth)}
    if spoiler.counts:
        report["dirt"] = dict(sorted(spoiler.counts.items()))
    return report


def _go_live(
    shop: Any, delivered: Any, pace: float | None, respond: bool, show: Callable[[int, int], None]
) -> dict[str, Any]:
    live = LiveShop(load_settings(), shop, days_per_second=pace, respond=respond)
    try:
        asyncio.run(live.run(delivered, show))
    except KeyboardInterrupt:
        raise CommandError(f"interrupted after {live.report.records:,} records", ExitCode.INTERRUPTED) from None
    found = {"records": live.report.records}
    return found | ({"interventions": live.report.reacted, "not_for_this_shop": live.report.foreign} if respond else {})


def _first_day(start: datetime | None, days: int, *, ends_today: bool) -> date:
    if start is not None:
        return start.date()
    if not ends_today:
        return date(2025, 1, 1)
    today = datetime.now(UTC).date().toordinal()
    return date.fromordinal(today - days)


def _parse_speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise CommandError(f"--speed {text!r}: give days of event time per second, e.g. 1, or max", ExitCode.USAGE)
    return pace


@contextmanager
def _progress(config: ShopConfig) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar over the days on a terminal, nothing elsewhere."""
    columns = (
        TextColumn("simulating"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[records]:,} records"),
        TextColumn("{task.fields[moment]}"),
        TimeElapsedColumn(),
    )
    first_ms = config.first_day * DAY_MS
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task("", total=config.days * DAY_MS, records=0, moment="")

        def show(records: int, at_ms: int) -> None:
            progress.update(task, completed=at_ms - first_ms, records=records, moment=iso(at_ms)[:10])

        yield show


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{number:,} {name}" for name, number in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)
