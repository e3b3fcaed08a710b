"""What the worker costs an event as customers, partitions and workers grow; one is varied at a time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from stream_app.bench.arena import Arena
from stream_app.bench.contest import OURS, Plan, Say, run_once
from stream_app.bench.measuring import ContenderError, Measured
from stream_app.bench.stage import Stage
from stream_app.bench.workload import Workload

BASE_CUSTOMERS = 100_000
BASE_PARTITIONS = 12


async def measure_scaling(
    stage: Stage,
    folder: Path,
    plan: Plan,
    customers: Sequence[int],
    partitions: Sequence[int],
    workers: Sequence[int],
    changes: Mapping[str, str],
    say: Say,
) -> dict[str, Any]:
    """Return events a second and CPU an event for each variation, JSON-ready; a failure is told in its row."""
    cases = [("customers", count, Workload(customers=count, partitions=BASE_PARTITIONS), 1) for count in customers]
    cases += [("partitions", count, Workload(customers=BASE_CUSTOMERS, partitions=count), 1) for count in partitions]
    cases += [
        ("workers", count, Workload(customers=BASE_CUSTOMERS, partitions=BASE_PARTITIONS), count) for count in workers
    ]
    rows = []
    for what, count, workload, worker_count in cases:
        arena = Arena(stage.bootstrap, workload, folder, f"scaling-{what}-{count}", changes=changes)
        arena.create_topics(arena.name)
        await arena.feed(plan.backlog)
        runs: list[Measured] = []
        trouble = ""
        for turn in range(plan.rounds):
            app_id = f"{arena.name}-{turn}"
            try:
                runs.append(await run_once(arena, OURS, plan, stage.pid, app_id, worker_count))
            except ContenderError as failure:
                trouble = str(failure)
                break
        await arena.delete_topics(arena.name, inputs=True)
        rows.append(_row(what, count, runs, trouble))
        say(_line(rows[-1]))
    return {
        "broker": stage.description,
        "keys": "bursts of 8",
        "base": {"customers": BASE_CUSTOMERS, "partitions": BASE_PARTITIONS, "workers": 1},
        "window_seconds": plan.seconds,
        "warm_up_seconds": plan.warm_up_seconds,
        "runs": plan.rounds,
        "settings": dict(changes),
        "rows": rows,
    }


def scaling_table(report: Mapping[str, Any]) -> str:
    """Return the rows for a terminal."""
    told = [f"{name}: {value}" for name, value in report.items() if name != "rows"]
    return "\n".join([*told, "", *map(_line, report["rows"])])


def _row(what: str, count: int, runs: Sequence[Measured], trouble: str) -> dict[str, Any]:
    cpu = [run.cpu_microseconds_per_event for run in runs if run.cpu_microseconds_per_event is not None]
    return {
        "varied": what,
        "count": count,
        "events_per_second": median(run.events_per_second for run in runs) if runs else None,
        "cpu_microseconds_per_event": median(cpu) if cpu else None,
        "runs": [run._asdict() for run in runs],
        "trouble": trouble,
    }


def _line(row: Mapping[str, Any]) -> str:
    head = f"{row['varied']:<11}{row['count']:>10,}"
    if row["events_per_second"] is None:
        return f"{head}  failed: {row['trouble'].partition(chr(10))[0]}"
    cpu = row["cpu_microseconds_per_event"]
    return f"{head}{row['events_per_second']:>12,.0f} events/s{'-' if cpu is None else cpu:>9} us CPU an event"
