"""`stream-app evaluate`: how well churn is predicted on event files, by the product's own engine and learner."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_app.cli.contest import ALL, contestants, is_contest, rows_of, run_contest, show_contest, write_table
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import InputTopic, OpenFile, customer_records, open_files, progress_over
from stream_app.cli.json_ready import json_ready
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.ablation import ablate
from stream_app.evaluation.baselines import BASELINES, BaselineUnavailableError, boosting_library
from stream_app.evaluation.contest import Importances, stream_of
from stream_app.evaluation.page import report_page
from stream_app.evaluation.reporting import KINDS, evaluate_pass, in_test, scores_in_test
from stream_app.evaluation.running import PassResult, run_pass
from stream_app.learning.learner import Learner
from stream_app.learning.zoo.registry import KALMAN, MODEL_NAMES
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.settings import load_settings

CALENDAR = "calendar"


def command(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines (.gz too), or CSV of the UCI Online Retail table.")],
    horizon_days: Annotated[
        int | None, typer.Option(min=1, max=365, help="H: churn is no order in (T, T+H]. Default: the setting's.")
    ] = None,
    observations: Annotated[
        str, typer.Option(help="What is judged: calendar (every 14 days, all customers) or event (after orders).")
    ] = CALENDAR,
    model: Annotated[
        list[str] | None, typer.Option(help=f"Model to run, may be repeated: {', '.join(MODEL_NAMES)}; or all.")
    ] = None,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Fit the baselines too (needs the bench extra).")
    ] = False,
    topic: Annotated[
        InputTopic | None, typer.Option(help="What the lines are. Default: told from line or name.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Table format: uci-online-retail (told by .csv).")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a report with curves to this file.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="With --model all: write the table to this Markdown page, figures beside it.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --table: run only models that have no row of these very data there.")
    ] = False,
    title: Annotated[str, typer.Option(help="Name of the data on that page. Default: the files' names.")] = "",
    families: Annotated[
        bool, typer.Option("--ablate", help="Also what each family of features brings, by leaving it out.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Measure how well churn is predicted.

    Events are run through engine and learner once, in event-time order: every observation is scored when it is taken
    and learned when its label is due. Figures are of the last 40 % of the time span.

    \b
    Examples:
      stream-app evaluate orders.jsonl.gz --horizon-days 60
      stream-app evaluate orders.jsonl.gz --observations event --baselines --html report.html
      stream-app evaluate orders.jsonl.gz clicks.jsonl.gz --ablate
      stream-app evaluate clicks.jsonl orders.jsonl --model kalman --model adagrad --json
      stream-app evaluate orders.jsonl.gz --model all --table models.md --title "My shop"
      stream-app evaluate orders.jsonl.gz --model all --table models.md --title "My shop" --resume
    """
    names = model or [KALMAN]
    _check(observations, names, table, resume=resume)
    _check_told(names, observations, {"--html": html is not None, "--baselines": baselines, "--ablate": families})
    if baselines:
        _require_baselines()
    settings = load_settings()
    horizon = horizon_days or settings.horizon_days
    policy = EnginePolicy(
        horizon_days=horizon,
        max_jump_ms=settings.max_event_time_jump_days * 86_400_000,
        observation_days=settings.observation_days,
        eligible_days=settings.eligible_days,
        default_currency=settings.default_currency,
        tier_thresholds=(settings.tier_medium, settings.tier_high, settings.tier_critical),
    )
    results = []
    rejected: Counter[str] = Counter()
    if is_contest(names):
        _contest(files, open_files(files, topic, preset), names, policy, table, title, resume=resume, as_json=as_json)
        return
    passed: PassResult | None = None
    for index, name in enumerate(names):
        rejected.clear()
        opened = open_files(files, topic, preset)
        with progress_over(opened, name) as show:
            try:
                done = run_pass(
                    customer_records(opened, rejected), Learner(horizon, name), policy, LexicalSentiment(), show
                )
            except ValueError as failure:
                raise CommandError(f"{failure}: is the file empty, or is --topic wrong?", ExitCode.FINDING) from failure
        compared = scores_in_test(passed, observations) if passed is not None else None
        results.append(
            evaluate_pass(
                done,
                observations,
                policy.tier_thresholds,
                baselines=tuple(BASELINES) if baselines and index == 0 else (),
                compared=compared,
            )
        )
        if not results[-1]["test"]:
            raise CommandError(
                f"no {observations} observation of the last 40 % of the time span has a label yet: the files must hold "
                f"orders, over clearly more than {horizon} days",
                ExitCode.FINDING,
            )
        passed = passed or done
    assert passed is not None
    summary: dict[str, Any] = {
        "files": [path.name for path in files],
        "events": passed.events,
        "customers": passed.customers,
        "rejected": dict(rejected),
        "observations": len(passed.observed),
        "snapshots": passed.snapshots,
        "results": results,
    }
    if families:
        summary["families"] = _ablated(passed, observations)
        summary["families_of_model"] = KALMAN
    if html is not None:
        html.write_text(report_page(summary), encoding="utf-8")
    if as_json:
        print(json.dumps(json_ready(summary)))
        return
    _print(summary)


def _ablated(passed: PassResult, observations: str) -> dict[str, Any]:
    """Return what each family of features brings, of the test window; its turns are told on a terminal."""
    console = Console(stderr=True)
    with console.status("features") as status:
        return ablate(
            passed.examples,
            passed.learned_before,
            passed.observed,
            in_test(passed, observations),
            show=lambda family: status.update(f"without {family}"),
        )


def _check(observations: str, names: Sequence[str], table: Path | None, *, resume: bool) -> None:
    if observations not in KINDS:
        raise CommandError(f"unknown observations {observations!r}: choose calendar or event", ExitCode.USAGE)
    unknown = [name for name in names if name not in {*MODEL_NAMES, ALL}]
    if unknown:
        raise CommandError(
            f"unknown model {unknown[0]!r}: choose all or some of {', '.join(MODEL_NAMES)}", ExitCode.USAGE
        )
    if table is not None and not is_contest(names):
        raise CommandError("--table is written for a contest of models: add --model all", ExitCode.USAGE)
    if resume and table is None:
        raise CommandError("--resume goes on with a table: name its page by --table", ExitCode.USAGE)


def _check_told(names: Sequence[str], observations: str, asked: Mapping[str, bool]) -> None:
    """Refuse options that would do nothing, or that would tell of another model than the one named."""
    if is_contest(names):
        unheeded = [option for option, given in asked.items() if given]
        if observations != CALENDAR:
            unheeded.append("--observations")
        if unheeded:
            raise CommandError(
                f"{unheeded[0]} says nothing in a contest (all, or a model without an array form), whose table has "
                "both kinds of observations: leave it out, or name models that can be served",
                ExitCode.USAGE,
            )
    if asked["--ablate"] and names[0] != KALMAN:
        raise CommandError(
            f"--ablate takes families of features from {KALMAN}: leave --model out, or name {KALMAN} first",
            ExitCode.USAGE,
        )


def _contest(
    files: Sequence[Path],
    opened: Sequence[OpenFile],
    names: Sequence[str],
    policy: EnginePolicy,
    table: Path | None,
    title: str,
    *,
    resume: bool,
    as_json: bool,
) -> None:
    """Run the engine once and every model over what it observed."""
    chosen, rejected, learner = contestants(names), Counter[str](), Learner(policy.horizon_days)
    importances = Importances(learner)
    with progress_over(opened, "engine") as show:
        try:
            done = run_pass(customer_records(opened, rejected), learner, policy, LexicalSentiment(), show)
        except ValueError as failure:
            raise CommandError(f"{failure}: is the file empty, or is --topic wrong?", ExitCode.FINDING) from failure
    summary: dict[str, Any] = {
        "title": title or ", ".join(path.name for path in files),
        "files": [path.name for path in files],
        "horizon_days": policy.horizon_days,
        "events": done.events,
        "customers": done.customers,
        "rejected": dict(rejected),
        "observations": len(done.observed),
        "results": [],
    }
    kept = rows_of(table, summary["title"], policy.horizon_days) if table is not None and resume else {}
    try:
        for result in run_contest(stream_of(done, importances), chosen, kept):
            summary["results"].append(result)
            if table is not None:  # after every model: a long contest may be stopped, or looked at
                write_table(table, summary)
    except KeyboardInterrupt:
        if table is not None:
            told = f"what is done is in {table}: the same command with --resume goes on from there"
            Console(stderr=True).print(told, markup=False, soft_wrap=True)
        raise
    if table is not None and resume:
        rows = rows_of(table, summary["title"], policy.horizon_days)
        summary["results"] = [rows[name] for name in chosen if name in rows]
    if as_json:
        print(json.dumps(json_ready(summary)))
        return
    show_contest(summary)


def _require_baselines() -> None:
    """Say at once, not after minutes of work, that a package is missing."""
    try:
        boosting_library()
    except BaselineUnavailableError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure


def _print(summary: dict[str, Any]) -> None:
    console = Console()
    first = summary["results"][0]
    title = f"{first['observations']} observations, H = {first['horizon_days']} days, from {first['test_from'][:10]}"
    table = Table(title=f"{', '.join(summary['files'])}: {title}")
    columns = ("auc", "pr_auc", "log_loss", "brier", "ece", "lift_10")
    for heading in ("", *columns, "auc gain"):
        table.add_column(heading, justify="left" if not heading else "right")
    for result in summary["results"]:
        table.add_row(result["model"], *(f"{result['test'].get(name, math.nan):.4f}" for name in columns), "")
        for name, found in result["baselines"].items():
            gain = f"{found['auc_gain']:+.4f} ± {found['auc_gain_error']:.4f}" if found else ""
            table.add_row(name, *(f"{found.get(column, math.nan):.4f}" for column in columns), gain)
    console.print(table)
    start = first["first_60_days"]
    console.print(f"first 60 days: AUC {start.get('auc', math.nan):.4f} on {start.get('n', 0):.0f} observations")
    value = first["value_90d"]
    if value:
        console.print(
            f"90-day value: MAE {value['mae']:,.2f}, RMSE {value['rmse']:,.2f}, R2 {value['r2']:.3f} "
            f"(mean {value['mean']:,.2f}, expected {value['expected_mean']:,.2f})",
            soft_wrap=True,
        )
    if "families" in summary:
        console.print(f"what families of features bring to {summary['families_of_model']}:")
    for family, found in summary.get("families", {}).items():
        if family:
            low, high = found["auc_gain_interval"]
            added = "" if found["in_default_model"] else " (not in the default model)"
            gain = f"{found['auc_gain']:+.4f} ({low:+.4f} to {high:+.4f})"
            console.print(f"  {family:26} AUC {gain}{added}", soft_wrap=True)
    cost, rejected = first["cost"], sum(summary["rejected"].values())
    console.print(
        f"{summary['events']:,} events of {summary['customers']:,} customers, "
        f"{summary['observations']:,} observations, {rejected:,} records rejected; "
        f"engine {cost['engine_microseconds_per_point']:.0f} us a point, "
        f"learner {cost['learn_microseconds_per_example']:.0f} us an example"
    )
