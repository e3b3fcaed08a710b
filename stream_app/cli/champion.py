"""`stream-app champion`: which model serves and why, who challenges it, and what people want of it."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_app.adapters.model_events import ModelLog, read_log, request_of, send_request
from stream_app.adapters.topic_reading import TopicMissingError
from stream_app.cli.champion_trials import prove, rehearse
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.model_events import ModelEvent, Standing, Wish
from stream_app.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="Show, promote, approve and roll back the model that serves.")
app.command("prove")(prove)
app.command("rehearse")(rehearse)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str, typer.Option(envvar="USER", help="Who asks; stands in the audit trail.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
Wait = Annotated[float, typer.Option(min=0, help="Seconds to wait for the trainer's answer; 0: none.")]
WAIT_SECONDS = 90.0
_POLL_SECONDS = 1.0
WIDE = 140


@app.command()
def show(as_json: AsJson = False) -> None:
    r"""Show the champion, the newest comparisons with its challengers, and what waits for a person.

    \b
    Examples:
      stream-app champion show
      stream-app champion show --json
    """
    settings = load_settings()
    log = _log(settings)
    review = log.last_review
    if as_json:
        print(json.dumps(_state(log, settings), indent=2))
        return
    print(f"champion: {log.champion or settings.model} (horizon {settings.horizon_days} days)")
    if log.proposal is not None:
        print(f"waits for approval: {log.proposal.challenger}: {log.proposal.reason}")
    if review is None or not review.standings:
        print("no comparison yet: the trainer tells of one a week of event time, once challengers have learned enough")
        return
    print(f"comparisons at {review.at:%Y-%m-%d}, in nats of log loss a label (positive: the challenger is better):")
    table = Table("challenger", "better by", "at least", "at most", "weeks", "labels", "error rate", "since", box=None)
    for standing in review.standings:
        table.add_row(*_cells(standing))
    _print(table)
    for segment, model in review.selection.items():
        print(f"segment {segment}: {model}")


@app.command()
def history(
    reviews: Annotated[bool, typer.Option(help="Show the weekly reviews, too.")] = False, as_json: AsJson = False
) -> None:
    r"""Tell the life of the models: requests, proposals, promotions and rollbacks, oldest first.

    \b
    Examples:
      stream-app champion history
      stream-app champion history --reviews --json
    """
    log = _log(load_settings())
    events = [event for event in log.events if reviews or event.kind != "reviewed"]
    if as_json:
        print(json.dumps([event.model_dump(mode="json") for event in events], indent=2))
        return
    table = Table("at (UTC)", "what", "by", "champion", "about", "why", box=None)
    for event in events:
        what = f"{event.kind}: {event.wish}" if event.wish else event.kind
        about = event.challenger or event.former
        table.add_row(f"{event.at:%Y-%m-%d %H:%M}", what, event.by, event.champion, about, event.reason)
    _print(table)


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="Challenger that is to serve, as the trainer's settings name it.")],
    by: By = "",
    why: Why = "",
    wait: Wait = WAIT_SECONDS,
    as_json: AsJson = False,
) -> None:
    r"""Let a challenger serve now, whatever the comparison says; comparisons begin anew.

    Exits 1 where the trainer refuses, and 3 where it does not answer in time: the request stays, and it answers later.

    \b
    Examples:
      stream-app champion promote adagrad --by ada --why "better since the spring sale"
      stream-app champion promote mlp:hidden=8 --by ada --wait 0
    """
    _ask("promote", model, by, why, wait, as_json=as_json)


@app.command()
def approve(by: By = "", why: Why = "", wait: Wait = WAIT_SECONDS, as_json: AsJson = False) -> None:
    r"""Let the proposed promotion happen (STREAM_APP_PROMOTION=ask).

    \b
    Example:
      stream-app champion approve --by ada
    """
    _ask("approve", "", by, why, wait, as_json=as_json)


@app.command()
def decline(by: By = "", why: Why = "", wait: Wait = WAIT_SECONDS, as_json: AsJson = False) -> None:
    r"""Refuse the proposed promotion; that challenger's comparison begins anew.

    \b
    Example:
      stream-app champion decline --by ada --why "not during the sale"
    """
    _ask("decline", "", by, why, wait, as_json=as_json)


@app.command()
def rollback(by: By = "", why: Why = "", wait: Wait = WAIT_SECONDS, as_json: AsJson = False) -> None:
    r"""Let the former champion serve again; it has learned on meanwhile. Again, to go back one more.

    \b
    Example:
      stream-app champion rollback --by ada --why "complaints doubled"
    """
    _ask("rollback", "", by, why, wait, as_json=as_json)


def _ask(wish: Wish, model: str, by: str, why: str, wait: float, *, as_json: bool) -> None:
    if not by:
        raise CommandError("say who asks: --by NAME", ExitCode.USAGE)
    settings = load_settings()
    request = request_of(wish, settings.horizon_days, by, datetime.now(UTC), model, why)
    asyncio.run(send_request(settings, request))
    answer = _answer(settings, request, wait)
    if answer is None:
        state = "it answers when it runs ('stream-app champion history')"
        if as_json:
            print(json.dumps({"request": request.event_id, "answer": None}))
        elif not wait:
            print(f"asked the trainer: {state}")
        if wait:
            raise CommandError(f"the trainer has not answered within {wait:g} s: {state}", ExitCode.ENVIRONMENT)
        return
    if as_json:
        print(json.dumps({"request": request.event_id, "answer": answer.model_dump(mode="json")}, indent=2))
    elif answer.kind != "refused":
        print(f"{answer.kind}: {answer.champion} serves now" + (f", {answer.former} before" if answer.former else ""))
    if answer.kind == "refused":
        raise CommandError(f"the trainer refused: {answer.reason}")


def _answer(settings: Settings, request: ModelEvent, wait: float) -> ModelEvent | None:
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        answer = _log(settings).answer(request.event_id)
        if answer is not None:
            return answer
        time.sleep(_POLL_SECONDS)
    return None


def _log(settings: Settings) -> ModelLog:
    try:
        return asyncio.run(read_log(settings))
    except TopicMissingError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure


def _state(log: ModelLog, settings: Settings) -> dict[str, Any]:
    review, proposal = log.last_review, log.proposal
    return {
        "champion": log.champion or settings.model,
        "horizon_days": settings.horizon_days,
        "proposal": None if proposal is None else proposal.model_dump(mode="json"),
        "review": None if review is None else review.model_dump(mode="json"),
    }


def _cells(standing: Standing) -> tuple[str, ...]:
    numbers = (standing.difference, standing.low, standing.high)
    return (
        standing.challenger,
        *("-" if number is None else f"{number:+.4f}" for number in numbers),
        str(standing.weeks),
        f"{standing.examples:,}",
        f"{standing.error_rate:.4f}",
        f"{standing.since:%Y-%m-%d}",
    )


def _print(table: Table) -> None:
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)
