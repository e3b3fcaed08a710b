"""`stream-app evaluate --model all`: every model of the zoo over the same observations, as a table."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream_app import __version__
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.evaluation.contest import Stream, digest_of, figures_of, run_model, share_of_customers
from stream_app.evaluation.reporting import KINDS
from stream_app.learning.zoo.registry import ENTRIES, MODEL_NAMES, create, entry_of

ALL = "all"
SLOW_EXAMPLES = 12_000
"""About how many examples a slow model learns at most; those of whole customers."""
_MEASURES = ("auc", "log_loss", "ece")


def is_contest(names: Sequence[str]) -> bool:
    """Whether the models are to run over one pass: all of them, or one that workers could not serve."""
    return ALL in names or any(name in ENTRIES and not ENTRIES[name].served for name in names)


def contestants(names: Sequence[str]) -> list[str]:
    """Return the models by name; with "all", those whose optional dependency is missing are left out aloud.

    Raises
    ------
    CommandError
        When a model that was asked for by name lacks its optional dependency: at once, not after the engine's work.
    """
    found = []
    for name in MODEL_NAMES if ALL in names else dict.fromkeys(names):
        try:
            create(name)
        except ModuleNotFoundError as missing:
            if ALL not in names:
                raise CommandError(str(missing), ExitCode.ENVIRONMENT) from missing
            Console(stderr=True).print(f"{name} is left out: {missing}", markup=False)
        else:
            found.append(name)
    return found


def run_contest(
    stream: Stream, names: Sequence[str], kept: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Run every model over the observations of a pass; yield its figures as soon as they are there.

    Parameters
    ----------
    stream
        The observations.
    names
        Which models, in this order.
    kept
        Rows of an earlier contest by model: who has one of this very stream and these versions does not run again.
    """
    observations, learnable = len(stream.observed), int(stream.known.max(initial=0))
    made_of = {"stream": digest_of(stream), "versions": _versions()}
    left = [name for name in names if any(kept.get(name, {}).get(key) != made_of[key] for key in made_of)]
    if len(left) < len(names):
        Console(stderr=True).print(f"{len(names) - len(left)} of {len(names)} models have their rows already")
    with _progress(len(left) * observations) as advance:
        for number, name in enumerate(left, start=1):
            model = create(name)
            slow = entry_of(name).slow and learnable > SLOW_EXAMPLES
            taught = share_of_customers(stream.observed, SLOW_EXAMPLES / learnable) if slow else None
            asked = stream.in_test if slow else np.ones(observations, dtype=np.bool_)
            trial = run_model(stream, model, asked, taught, advance(f"{name} ({number} of {len(left)})"))
            yield {"model": name, "served": entry_of(name).served, **figures_of(stream, trial), **made_of}


def rows_of(path: Path, title: str, horizon_days: int) -> dict[str, dict[str, Any]]:
    """Return the rows by model that a table has; none where there is no such page, or no table of that title on it."""
    store = path.with_suffix(".json")
    kept = json.loads(store.read_text(encoding="utf-8")) if store.exists() else []
    return {
        row["model"]: row
        for table in kept
        if (table["title"], table["horizon_days"]) == (title, horizon_days)
        for row in table["results"]
    }


def _versions() -> dict[str, str]:
    return {"stream-app": __version__, "River": version("river"), "numpy": version("numpy")}


def show_contest(summary: dict[str, Any]) -> None:
    """Print the table of a contest."""
    table = Table(title=f"{', '.join(summary['files'])}: H = {summary['horizon_days']} days, last 40 % of the span")
    for heading in _headings():
        table.add_column(heading, justify="left" if heading == "model" else "right", no_wrap=heading == "model")
    for result in summary["results"]:
        table.add_row(*_cells(result))
    Console().print(table)


def contest_page(summaries: Sequence[dict[str, Any]]) -> str:
    """Return contests as a page in Markdown, one table for each."""
    lines = [
        "# Models",
        "",
        "Written by `stream-app evaluate FILES --model all --table FILE`. Every model scores each observation with",
        "what it knew at T and learns its label at T + H; judged is the last 40 % of the time span. CPU time a row is",
        "in blocks of an event-day, on the machine that wrote this page: compare rows with each other. Memory is that",
        "of the model's objects in the trainer.",
        f"A model marked * is slow: it learns from whole customers with about {SLOW_EXAMPLES:,} examples in all.",
        "Served: yes where workers can score with it, by arrays; others run in the trainer only, as challengers, and",
        "what grows with every example in evaluations only.",
        "",
        "| model | what it is | served | extra |",
        "|---|---|---|---|",
    ]
    for name, entry in ENTRIES.items():
        served = "yes" if entry.served else "evaluation only" if entry.unbounded else "no"
        lines.append(f"| {name} | {entry.summary} | {served} | {entry.extra} |")
    for summary in summaries:
        lines += [
            "",
            f"## {summary['title']}, H = {summary['horizon_days']} days",
            "",
            f"{summary['events']:,} events, {summary['customers']:,} customers, {summary['observations']:,} observed;",
            f"{_tested(summary, 'calendar'):,.0f} on the calendar and {_tested(summary, 'event'):,.0f} after orders",
            "in the test.",
            *_gaps(summary),
            "",
            "| " + " | ".join(_headings()) + " |",
            "|---" + "|---:" * (len(_headings()) - 1) + "|",
        ]
        lines += ["| " + " | ".join(_cells(result)) + " |" for result in summary["results"]]
    return "\n".join(lines) + "\n"


def _gaps(summary: dict[str, Any]) -> list[str]:
    """Return lines about models that were not run, and about rows that cannot be of one and the same run."""
    lines: list[str] = []
    ran = {str(result["model"]) for result in summary["results"]}
    missing = [name for name in MODEL_NAMES if name not in ran]
    if missing:
        lines += ["", f"Not run on these data: {', '.join(missing)}."]
    made_of: dict[str, list[str]] = {}
    for result in summary["results"]:
        known = f"{result.get('stream', '')} {_spelled(result.get('versions', {}))}"
        made_of.setdefault(known, []).append(str(result["model"]))
    groups = sorted(made_of.values(), key=len)
    if len(groups) > 1:
        others = ", ".join(name for names in groups[:-1] for name in names)
        lines += [
            "",
            "Rows come from different observations or versions of the code:",
            f"{others} apart from the others.",
        ]
    told = {_spelled(result["versions"]) for result in summary["results"] if "versions" in result}
    return [*lines, *(["", f"Made with {' and with '.join(sorted(told))}."] if told else [])]


def _spelled(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def _tested(summary: dict[str, Any], kind: str) -> float:
    return max((float(result[kind].get("n", 0.0)) for result in summary["results"]), default=0.0)


def _headings() -> list[str]:
    judged = [f"{kind} {name.replace('_', ' ')}" for kind in ("calendar", "event") for name in _MEASURES]
    return ["model", *judged, "learned", "predict us", "learn us", "memory kB"]


def _cells(result: dict[str, Any]) -> list[str]:
    name = str(result["model"])
    return [
        f"{name} *" if name in ENTRIES and ENTRIES[name].slow else name,
        *(f"{result[kind].get(one, math.nan):.4f}" for kind in sorted(KINDS) for one in _MEASURES),
        f"{result['learned']:,}",
        f"{result['predict_microseconds']:.1f}",
        f"{result['learn_microseconds']:.0f}",
        f"{result['memory_bytes'] / 1e3:,.0f}",
    ]


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show one bar over all models on a terminal, else a line for each; yields a function that returns its teller."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task, before = progress.add_task("models", total=total), [0]

        def advance(told: str) -> Any:
            start = before[0]
            progress.update(task, description=told)
            if not console.is_terminal:
                console.print(told, markup=False)

            def show(passed: int) -> None:
                before[0] = start + passed
                progress.update(task, completed=before[0])

            return show

        yield advance


def write_table(path: Path, summary: dict[str, Any]) -> None:
    """Write or update the page of tables.

    The figures are kept beside the page, in `<name>.json`, from which it is written anew: models that run later join
    the table of the same title and horizon, and replace what they had there.
    """
    store = path.with_suffix(".json")
    kept = json.loads(store.read_text(encoding="utf-8")) if store.exists() else []
    tables = {(one["title"], one["horizon_days"]): one for one in kept}
    key = (summary["title"], summary["horizon_days"])
    results = rows_of(path, *key) | {one["model"]: one for one in summary["results"]}
    order = sorted(results, key=lambda name: MODEL_NAMES.index(name) if name in MODEL_NAMES else len(MODEL_NAMES))
    tables[key] = summary | {"results": [results[name] for name in order]}
    pages = [tables[one] for one in sorted(tables)]
    store.write_text(json.dumps(pages, indent=1) + "\n", encoding="utf-8")
    path.write_text(contest_page(pages), encoding="utf-8")
