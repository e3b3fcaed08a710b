"""`stream-app evaluate --model all`: every model of the zoo over the same observations, as a table."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.evaluation.contest import Importances, figures_of, run_model, share_of_customers, stream_of
from stream_app.evaluation.reporting import KINDS
from stream_app.evaluation.running import PassResult
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


def run_contest(done: PassResult, importances: Importances, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run every model over the observations of a pass; yield its figures as soon as they are there.

    `importances` has listened to the learner of that pass.
    """
    stream = stream_of(done, importances)
    observations, learnable = len(stream.observed), int(stream.known.max(initial=0))
    with _progress(len(names) * observations) as advance:
        for name in names:
            model = create(name)
            slow = entry_of(name).slow and learnable > SLOW_EXAMPLES
            taught = share_of_customers(stream.observed, SLOW_EXAMPLES / learnable) if slow else None
            trial = run_model(
                stream, model, stream.in_test if slow else np.ones(observations, dtype=np.bool_), taught, advance(name)
            )
            yield {"model": name, "served": entry_of(name).served, **figures_of(stream, trial)}


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
        "Served: yes where workers can score with it, by arrays; others run in the trainer only, as challengers.",
        "",
        "| model | what it is | served | extra |",
        "|---|---|---|---|",
    ]
    for name, entry in ENTRIES.items():
        lines.append(f"| {name} | {entry.summary} | {'yes' if entry.served else 'no'} | {entry.extra} |")
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
    learned: dict[tuple[bool, int], list[str]] = {}
    for result in summary["results"]:
        name = str(result["model"])
        learned.setdefault((name in ENTRIES and ENTRIES[name].slow, int(result["learned"])), []).append(name)
    for slow in (False, True):
        groups = sorted((names for (is_slow, _), names in learned.items() if is_slow == slow), key=len)
        if len(groups) > 1:
            others = ", ".join(name for names in groups[:-1] for name in names)
            lines += [
                "",
                "Rows learned different numbers of examples, so that they come from different versions of the code:",
                f"{others} apart from the others.",
            ]
    return lines


def _tested(summary: dict[str, Any], kind: str) -> float:
    return max((float(result[kind].get("n", 0.0)) for result in summary["results"]), default=0.0)


def _headings() -> list[str]:
    judged = [f"{kind} {name.replace('_', ' ')}" for kind in ("calendar", "event") for name in _MEASURES]
    return ["model", *judged, "learned", "predict us", "learn us", "memory MB"]


def _cells(result: dict[str, Any]) -> list[str]:
    name = str(result["model"])
    return [
        f"{name} *" if name in ENTRIES and ENTRIES[name].slow else name,
        *(f"{result[kind].get(one, math.nan):.4f}" for kind in sorted(KINDS) for one in _MEASURES),
        f"{result['learned']:,}",
        f"{result['predict_microseconds']:.1f}",
        f"{result['learn_microseconds']:.0f}",
        f"{result['memory_bytes'] / 1e6:.1f}",
    ]


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """Show one bar over all models on a terminal; yields a function that returns a model's own teller."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task, before = progress.add_task("models", total=total), [0]

        def advance(name: str) -> Any:
            start = before[0]
            progress.update(task, description=name)

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
    results = {one["model"]: one for one in [*tables.get(key, {"results": []})["results"], *summary["results"]]}
    order = sorted(results, key=lambda name: MODEL_NAMES.index(name) if name in MODEL_NAMES else len(MODEL_NAMES))
    tables[key] = summary | {"results": [results[name] for name in order]}
    pages = [tables[one] for one in sorted(tables)]
    store.write_text(json.dumps(pages, indent=1) + "\n", encoding="utf-8")
    path.write_text(contest_page(pages), encoding="utf-8")
