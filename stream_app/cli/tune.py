"""`stream-app tune`: search for a better model on event files, without looking at the last 40 % of the time."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import InputTopic, customer_records, open_files, progress_over
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.contest import Importances, Stream, stream_of
from stream_app.evaluation.population import run_population
from stream_app.evaluation.running import run_pass
from stream_app.evaluation.tuning import Candidate, Judge, Judged, LabelSettings, choose, configuration, suggest
from stream_app.learning.halving import HalvingRule
from stream_app.learning.learner import Learner
from stream_app.learning.specs import check_specs, parse_spec
from stream_app.learning.zoo.registry import ENTRIES, MODEL_NAMES, create, options_of
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.settings import Settings, load_settings

_SHOWN_TRIALS = 20
_Suggested = Callable[[Any], Candidate]


def command(
    files: Annotated[list[Path], typer.Argument(help="JSON Lines (.gz too), or CSV of the UCI Online Retail table.")],
    trials: Annotated[int, typer.Option(min=1, help="How many candidates to try.")] = 40,
    horizon_days: Annotated[int | None, typer.Option(min=1, max=365, help="H. Default: the setting's.")] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="Model to choose from, may be repeated. Default: all that can be served.")
    ] = None,
    label_settings: Annotated[
        bool, typer.Option("--label-settings/--no-label-settings", help="Try other looks at silent customers, too.")
    ] = True,
    halving: Annotated[
        bool,
        typer.Option("--halving", help="Run all candidates side by side; the worse half leaves after 4, 8, ... weeks."),
    ] = False,
    out: Annotated[Path, typer.Option(help="Write the settings found to this file.")] = Path("tuned.env"),
    report: Annotated[Path, typer.Option(help="Write the report (Markdown) to this file.")] = Path("tuned.md"),
    seed: Annotated[int, typer.Option(help="Of the search.")] = 7,
    topic: Annotated[
        InputTopic | None, typer.Option(help="What the lines are. Default: told from line or name.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Table format: uci-online-retail (told by .csv).")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Search over models, their options and inputs, and label settings (needs the bench extra).

    A candidate is judged by its log loss on three blocks of time between 25 % and 60 % of the span, scored at T and
    learned at T + H. The rest is looked at once, at the end, to compare the winner with STREAM_APP_MODEL. The
    settings that are written let the winner learn as one more challenger: it serves once it has proved itself live. Who
    is not better in every block than what is configured now does not win.

    \b
    Examples:
      stream-app tune orders.jsonl.gz --trials 40
      stream-app tune orders.jsonl.gz --trials 32 --halving
      stream-app tune orders.jsonl.gz --model kalman --model adagrad --no-label-settings --out .env.tuned
    """
    names = model or [name for name in MODEL_NAMES if ENTRIES[name].served]
    unknown = [name for name in names if name not in ENTRIES]
    if unknown:
        raise CommandError(f"unknown model {unknown[0]!r}: choose some of {', '.join(MODEL_NAMES)}", ExitCode.USAGE)
    optuna = _optuna()
    settings = load_settings()
    _check_models(names, settings)
    horizon = horizon_days or settings.horizon_days
    present = LabelSettings(settings.observation_days, settings.eligible_days)
    source = _Source(files, topic, preset, settings, horizon)
    judge = Judge(source.stream, present, source.span(present))
    # Side by side all learn the same observations, so that label settings are as they are.
    spaces = labels_to_try(present, settings.look_days) if label_settings and not halving else [present]
    for labels in spaces:
        judge.stream(labels)
    varied = np.ptp(judge.stream(present).observed.features.astype(np.float32), axis=0) > 0
    serving, options = parse_spec(settings.model)
    now = Candidate(serving, options_of(serving, options), present)
    try:
        tried = [(now, judge.judge(now))]
    except ValueError as failure:
        raise CommandError(f"{failure}; are there orders over clearly more than H days?", ExitCode.FINDING) from failure
    search = _halve if halving else _search
    rounds = search(optuna, trials, seed, judge, tried, lambda trial: suggest(trial, names, spaces, varied))
    best = choose(tried)[0]
    found = {
        "files": [path.name for path in files],
        "horizon_days": horizon,
        "trials": trials,
        "seed": seed,
        "rounds": rounds,
        "settings": configuration(best, present, settings.model, settings.challengers),
        "now": now.spec,
        "beaten": best != now,
        "best": best.spec,
        "tried": [_row(candidate, judged) for candidate, judged in sorted(tried, key=lambda one: one[1].log_loss)],
        "test": {"now": judge.test(now), "best": judge.test(best)},
    }
    out.write_text(env_file(found), encoding="utf-8")
    report.write_text(report_page(found), encoding="utf-8")
    if as_json:
        print(json.dumps(found))
        return
    _print(found, out, report)


def labels_to_try(present: LabelSettings, look_days: int) -> list[LabelSettings]:
    """Return the present label settings, twice as frequent looks (where scores allow them) and twice as long ones.

    `look_days` is how often scores are made: observations fall on every so many of them.
    """
    found = [present]
    half = present.observation_days // 2
    if half and present.observation_days % 2 == 0 and half % look_days == 0:
        found.append(present._replace(observation_days=half))
    return [*found, present._replace(eligible_days=2 * present.eligible_days)]


def env_file(found: dict[str, Any]) -> str:
    """Return the settings of a search as an env file."""
    lines = [
        f"# Found by stream-app tune on {', '.join(found['files'])}: {found['trials']} trials, seed {found['seed']}.",
        (
            "# The challenger learns in shadow and serves once it has proved itself (see STREAM_APP_PROMOTION)."
            if found["beaten"]
            else "# Nothing was better than the present settings in every block of time: there is nothing to change."
        ),
        *(f"{name}={value}" for name, value in found["settings"].items()),
    ]
    return "\n".join(lines) + "\n"


def report_page(found: dict[str, Any]) -> str:
    """Return the report of a search as Markdown."""
    blocks = len(found["tried"][0]["by_block"])
    lines = [
        f"# Tuning on {', '.join(found['files'])}, H = {found['horizon_days']} days",
        "",
        f"{found['trials']} trials, seed {found['seed']}. Judged by log loss on {blocks} blocks of time between 25 %",
        "and 60 % of the span; the figures of the test, after that, played no part in the choice.",
        "",
        "## The choice",
        "",
        (
            f"`{found['best']}`, which was better in every block than `{found['now']}`, which is configured now:"
            if found["beaten"]
            else f"`{found['best']}`, as it is configured now: nothing was better in every block."
        ),
        "",
        *("    " + f"{name}={value}" for name, value in found["settings"].items()),
        "",
        "| test | observations | AUC | log loss | ECE | n |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for who in ("now", "best"):
        for kind, measured in found["test"][who].items():
            if measured:
                cells = " | ".join(f"{measured[name]:.4f}" for name in ("auc", "log_loss", "ece"))
                lines.append(f"| {who} | {kind} | {cells} | {measured['n']:,.0f} |")
    headings = " | ".join(f"block {number + 1}" for number in range(blocks))
    lines += [
        "",
        "## The best of what was tried",
        "",
        f"| model | looks every | looked at for | AUC | log loss | {headings} |",
        "|---|---:|---:|---:|---:|" + "---:|" * blocks,
    ]
    for row in found["tried"][:_SHOWN_TRIALS]:
        cells = " | ".join(f"{value:.4f}" for value in (row["auc"], row["log_loss"], *row["by_block"]))
        lines.append(f"| `{row['model']}` | {row['observation_days']} days | {row['eligible_days']} days | {cells} |")
    for number, losses in enumerate(found["rounds"]):
        weeks = HalvingRule().first_weeks * 2**number
        lines += ["", f"## Round {number + 1}, {weeks} weeks", "", "| model | mean weekly log loss |", "|---|---:|"]
        lines += [f"| `{name}` | {loss:.4f} |" for name, loss in sorted(losses.items(), key=lambda one: one[1])]
    return "\n".join(lines) + "\n"


def _check_models(names: Sequence[str], settings: Settings) -> None:
    """Say at once, not after the search, that what it might find could not be put to work."""
    try:
        check_specs(settings.model, settings.challengers)
        for name in names:
            if name != settings.model:
                check_specs(settings.model, [name])
    except ModuleNotFoundError as missing:
        raise CommandError(str(missing), ExitCode.ENVIRONMENT) from missing
    except ValueError as failure:
        raise CommandError(f"a search finds challengers for the trainer: {failure}", ExitCode.USAGE) from failure


def _optuna() -> Any:
    try:
        optuna = import_module("optuna")
    except ImportError as missing:
        raise CommandError(
            "tuning needs Optuna: install the extra, `pip install 'stream-app[bench]'`", ExitCode.ENVIRONMENT
        ) from missing
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _search(
    optuna: Any, trials: int, seed: int, judge: Judge, tried: list[tuple[Candidate, Judged]], suggested: _Suggested
) -> list[dict[str, float]]:
    """Try one candidate after the other, each chosen in the light of those before it; adds them to `tried`."""
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    with _progress(trials) as advance:

        def objective(trial: Any) -> float:
            candidate = suggested(trial)
            judged = judge.judge(candidate)
            tried.append((candidate, judged))
            advance(min(one.log_loss for _, one in tried))
            return judged.log_loss

        study.optimize(objective, n_trials=trials)
    return []


def _halve(
    optuna: Any, trials: int, seed: int, judge: Judge, tried: list[tuple[Candidate, Judged]], suggested: _Suggested
) -> list[dict[str, float]]:
    """Run random candidates side by side with what is configured now, and judge who is left; adds them to `tried`."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = [tried[0][0], *(suggested(study.ask()) for _ in range(trials))]
    candidates = {candidate.spec: candidate for candidate in drawn}
    models = {spec: create(one.model, None, one.options) for spec, one in candidates.items()}
    stream = judge.window(judge.present)
    with _progress(len(stream.observed)) as advance:
        passed = [0]

        def show(labels: int) -> None:
            advance(float("nan"), labels - passed[0])
            passed[0] = labels

        population = run_population(stream, models, HalvingRule(), show)
    survivors = [candidates[spec] for spec in population.survivors if candidates[spec] != tried[0][0]]
    tried += [(candidate, judge.judge(candidate)) for candidate in survivors]
    return population.rounds


class _Source:
    """Makes the observations of label settings from the files, one pass of the engine for each."""

    def __init__(
        self, files: Sequence[Path], topic: InputTopic | None, preset: str | None, settings: Settings, horizon: int
    ) -> None:
        self._files = files
        self._topic = topic
        self._preset = preset
        self._settings = settings
        self._horizon = horizon
        self._made: dict[LabelSettings, tuple[Stream, tuple[int, int]]] = {}

    def stream(self, labels: LabelSettings) -> Stream:
        """Return the observations of label settings."""
        return self._of(labels)[0]

    def span(self, labels: LabelSettings) -> tuple[int, int]:
        """Return the first and last event time."""
        return self._of(labels)[1]

    def _of(self, labels: LabelSettings) -> tuple[Stream, tuple[int, int]]:
        if labels not in self._made:
            self._made[labels] = self._make(labels)
        return self._made[labels]

    def _make(self, labels: LabelSettings) -> tuple[Stream, tuple[int, int]]:
        settings = self._settings
        policy = EnginePolicy(
            horizon_days=self._horizon,
            max_jump_ms=settings.max_event_time_jump_days * 86_400_000,
            observation_days=labels.observation_days,
            eligible_days=labels.eligible_days,
            default_currency=settings.default_currency,
            tier_thresholds=(settings.tier_medium, settings.tier_high, settings.tier_critical),
        )
        learner = Learner(self._horizon)
        importances = Importances(learner)
        opened = open_files(self._files, self._topic, self._preset)
        title = f"looks every {labels.observation_days} days for {labels.eligible_days}"
        with progress_over(opened, title) as show:
            try:
                done = run_pass(customer_records(opened, Counter()), learner, policy, LexicalSentiment(), show)
            except ValueError as failure:
                raise CommandError(f"{failure}: is the file empty, or is --topic wrong?", ExitCode.FINDING) from failure
        return stream_of(done, importances), (done.first_ms, done.last_ms)


def _row(candidate: Candidate, judged: Judged) -> dict[str, Any]:
    return {"model": candidate.spec, **candidate.labels._asdict(), **judged._asdict()}


@contextmanager
def _progress(total: int) -> Iterator[Callable[..., None]]:
    """Show a bar on a terminal; yields a function that is told the best log loss and how many more are done."""
    columns = (
        TextColumn("tuning"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("best log loss {task.fields[best]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=total, best=float("nan"))
        yield lambda best, more=1: progress.update(task, advance=more, best=best)


def _print(found: dict[str, Any], out: Path, report: Path) -> None:
    console = Console()
    table = Table(title=f"{', '.join(found['files'])}: H = {found['horizon_days']} days, test after the search")
    for heading in ("", "observations", "auc", "log_loss", "ece"):
        table.add_column(heading)
    for who in ("now", "best"):
        for kind, measured in found["test"][who].items():
            if measured:
                table.add_row(who, kind, *(f"{measured[name]:.4f}" for name in ("auc", "log_loss", "ece")))
    console.print(table)
    console.print(f"best: {found['best']}")
    console.print(f"settings in {out}, report in {report}")
