"""`stream-app champion prove` and `rehearse`: that the contest keeps its promises, and what it would do in a shop."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from stream_app.adapters.model_events import request_of
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.times import DAY_MS, from_ms, to_ms
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.learner import Learner
from stream_app.learning.promotion import Promotion, PromotionRules
from stream_app.learning.specs import check_specs, created
from stream_app.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def prove(
    runs: Annotated[int, typer.Option(min=1, help="Shops with challengers that differ by chance alone.")] = 200,
    better: Annotated[int, typer.Option(min=0, help="Shops in which one challenger is truly better.")] = 20,
    challengers: Annotated[int, typer.Option(min=1, help="Challengers in each.")] = 3,
    weeks: Annotated[int, typer.Option(min=10, help="Weeks of labels in each.")] = 80,
    customers: Annotated[int, typer.Option(min=50, help="Customers in each, observed every two weeks.")] = 300,
    error_rate: Annotated[float, typer.Option(min=0.0001, max=0.9, help="As STREAM_APP_PROMOTION_ERROR_RATE.")] = 0.05,
    margin: Annotated[float, typer.Option(min=0, help="As STREAM_APP_PROMOTION_MARGIN.")] = 0.001,
    least_found: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the truly better models that is to be found at least.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Of the first shop; the others count on.")] = 0,
    as_json: AsJson = False,
) -> None:
    r"""Count false promotions among equal models, and how soon a better one is found. Exits 1 where either fails.

    Challengers that learn another bootstrap of the same stream are as good as the champion: each promotion is false.
    Too many are more than chance allows (one-sided, 1 %) at the error rate. Two bootstraps do differ a little for a
    while, which a margin of 0 takes for merit: that count is told, too. Few found are less than --least-found of them.

    \b
    Examples:
      stream-app champion prove --runs 200
      stream-app champion prove --runs 20 --better 5 --weeks 60 --least-found 0.8 --json
    """
    from scipy.stats import binom  # noqa: PLC0415 - slow to import, and only this command needs it

    from stream_app.evaluation.rivals import better_model, same_models  # noqa: PLC0415 - same

    rules = PromotionRules(error_rate=error_rate, margin=margin)
    with _bar("equal models", runs) as show:
        same = same_models(runs, challengers, weeks, rules, customers, seed, show)
    found = better_model(better, challengers, weeks, rules, customers, seed)
    allowed = int(binom.ppf(0.99, runs, error_rate))
    report = {
        "runs": runs,
        "challengers": challengers,
        "weeks": weeks,
        "error_rate": error_rate,
        "margin": margin,
        "false_promotions": same.promoted,
        "false_promotion_share": same.promoted / runs,
        "false_promotions_without_margin": sum(each > 0 for each in same.critical_margins),
        "allowed": allowed,
        "better_model_runs": better,
        "better_model_found": found.promoted,
        "better_model_weeks_median": sorted(found.first_weeks)[len(found.first_weeks) // 2] if found.promoted else None,
    }
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print(
            f"equal models: {same.promoted} of {runs} runs promoted a challenger ({same.promoted / runs:.1%}; error "
            f"rate {error_rate:.1%}, at most {allowed} by chance), {challengers} challengers, {weeks} weeks; "
            f"{report['false_promotions_without_margin']} without a margin"
        )
        if better:
            median = report["better_model_weeks_median"]
            soon = "" if median is None else f", half of them within {median} weeks"
            print(f"a better model: found in {found.promoted} of {better} runs{soon}")
    if same.promoted > allowed:
        raise CommandError(f"{same.promoted} false promotions in {runs} runs; {allowed} are allowed")
    if found.promoted < least_found * better:
        raise CommandError(
            f"the better model was found in {found.promoted} of {better} runs, less than {least_found:.0%}: look at "
            "the rules of promotion, or give --weeks and --customers that suffice"
        )


def rehearse(
    days: Annotated[int, typer.Option(min=120, help="Days of the shop.")] = 600,
    customers: Annotated[int, typer.Option(min=100, help="Customers, those acquired on the way included.")] = 1500,
    drift: Annotated[str, typer.Option(help="What changes: none, seasonal, abrupt, gradual.")] = "abrupt",
    drift_at: Annotated[float, typer.Option(min=0, max=1, help="Where in the run the change falls.")] = 0.45,
    seed: Annotated[int, typer.Option(help="One seed, one shop.")] = 1,
    model: Annotated[str, typer.Option(help="First champion.")] = "kalman-orders",
    challenger: Annotated[
        list[str] | None, typer.Option(help="Repeatable. Default: kalman and logistic-sgd:rate=0.01.")
    ] = None,
    promotion: Annotated[str, typer.Option(help="auto, ask or off.")] = "auto",
    error_rate: Annotated[float, typer.Option(min=0.0001, max=0.9)] = 0.05,
    margin: Annotated[float, typer.Option(min=0)] = 0.001,
    promote: Annotated[
        list[str] | None, typer.Option(help="DAY:MODEL, repeatable: a person promotes it on that day of the run.")
    ] = None,
    rollback: Annotated[
        list[int] | None, typer.Option(help="DAY, repeatable: a person rolls back on that day of the run.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    r"""Run champion and challengers on a simulated shop, without Kafka: promotions, rollbacks and what they were worth.

    By default the first champion is blind to clicks and texts, and behaviour changes on day 270. Losses are those of
    predictions made at T with the weights of that time.

    \b
    Examples:
      stream-app champion rehearse
      stream-app champion rehearse --promote 320:logistic-sgd:rate=0.01     (a person errs; evidence rolls back)
      stream-app champion rehearse --promotion off --promote 400:kalman --rollback 500
    """
    from stream_app.simulation.config import Drift, ShopConfig  # noqa: PLC0415 - slow to import
    from stream_app.simulation.rehearsal import rehearse_shop  # noqa: PLC0415 - slow to import

    specs = challenger or ["kalman", "logistic-sgd:rate=0.01"]
    mode = _mode(promotion)
    try:
        check_specs(model, specs)
        config = ShopConfig(customers=customers, days=days, seed=seed, drift=Drift(drift), drift_at=drift_at)
    except ModuleNotFoundError as missing:
        raise CommandError(str(missing), ExitCode.ENVIRONMENT) from missing
    except ValueError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure
    settings = load_settings().model_copy(update={"clock": "event", "allowed_lateness_seconds": 0})
    rules = PromotionRules(mode=mode, error_rate=error_rate, margin=margin)
    learner = ChallengedLearner(Learner(settings.horizon_days, model), created(specs), rules)
    requests = []
    for day, wish, name in _wishes(promote or [], rollback or []):
        at = from_ms((config.first_day + day) * DAY_MS)
        requests.append((day, request_of(wish, settings.horizon_days, "person", at, name, "")))
    with _bar(f"shop of {customers:,} customers, days", days) as show:
        result = rehearse_shop(config, settings, learner, requests, show)
    told = [event for event in result.events if event.kind != "reviewed"]
    changes = [event for event in told if event.kind in {"promoted", "rolled_back"}]
    first_ms, last_ms = config.first_day * DAY_MS, (config.first_day + days) * DAY_MS
    edges = [first_ms, *(to_ms(event.at) for event in changes), last_ms]
    reigns = [
        {
            "champion": champion,
            "from_day": (start - first_ms) // DAY_MS,
            "to_day": (end - first_ms) // DAY_MS,
            "log_loss": {name: result.mean_loss(name, start, end) for name in learner.models},
        }
        for champion, (start, end) in zip([model, *(event.champion for event in changes)], pairwise(edges), strict=True)
    ]
    report = {
        "days": days,
        "customers": customers,
        "drift": drift,
        "drift_day": int(drift_at * days),
        "seed": seed,
        "examples": result.examples,
        "compared": sum(week.examples for week in result.weeks),
        "reigns": reigns,
        "events": [event.model_dump(mode="json") for event in told],
    }
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _tell(report, first_ms)


def _tell(report: dict[str, Any], first_ms: int) -> None:
    print(
        f"{report['examples']:,} labels, {report['compared']:,} compared (one a customer and horizon); "
        f"drift: {report['drift']} at day {report['drift_day']}"
    )
    for event in report["events"]:
        day = (to_ms(datetime.fromisoformat(event["at"])) - first_ms) // DAY_MS
        print(f"day {day:>4}  {event['kind']:<12} {event['challenger']:<24} by {event['by']}: {event['reason']}")
    for reign in report["reigns"]:
        losses = ", ".join(f"{name} {loss:.4f}" for name, loss in reign["log_loss"].items() if loss is not None)
        print(f"day {reign['from_day']:>4} to {reign['to_day']:>4}: {reign['champion']} served; log loss of {losses}")


def _wishes(promote: list[str], rollback: list[int]) -> list[tuple[int, Any, str]]:
    found: list[tuple[int, Any, str]] = [(day, "rollback", "") for day in rollback]
    for text in promote:
        day, colon, name = text.partition(":")
        if not colon or not day.isdigit():
            raise CommandError(f"--promote {text}: write DAY:MODEL, e.g. 400:adagrad", ExitCode.USAGE)
        found.append((int(day), "promote", name))
    return sorted(found)


def _mode(text: str) -> Promotion:
    match text:
        case "auto" | "ask" | "off":
            return text
        case _:
            raise CommandError(f"--promotion {text}: choose auto, ask or off", ExitCode.USAGE)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    console = Console(file=sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
