"""`stream-app approvals`: what waits for a person, and the person's answer."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stream_app.adapters.approvals import ApprovalDesk, approve, read_desk, reject
from stream_app.adapters.topic_reading import TopicMissingError
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, help="List, approve or reject decisions that wait for a person (mode approve).")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str], typer.Argument(help="Intervention ids, or `all` for everything that waits.")]
By = Annotated[str, typer.Option(envvar="USER", help="Who answers; stands in the audit trail.")]
WIDE = 160


@app.command("list")
def list_waiting(
    answered: Annotated[bool, typer.Option(help="Show what was answered instead, by whom and when.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what waits for approval, oldest first."""
    settings = load_settings()
    desk = _desk(settings)
    rows = _answered_rows(desk) if answered else [_row(proposal) for proposal in desk.waiting(_now(settings))]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    if not rows:
        print("nothing was answered yet" if answered else "nothing waits")
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console = Console()
    (console if console.is_terminal else Console(width=WIDE)).print(table)


@app.command("approve")
def approve_waiting(ids: Ids, by: By = "") -> None:
    """Let what waits be sent: the worker that owns the customer does it, if the customer did not object meanwhile."""
    settings = load_settings()
    chosen = _chosen(_desk(settings), ids, by, settings)
    for told in chosen:
        asyncio.run(approve(settings, told, by, datetime.now(UTC)))
    print(f"{len(chosen):,} approved by {by}: workers send them")


@app.command("reject")
def reject_waiting(
    ids: Ids, why: Annotated[str, typer.Option(help="The reason, for the record.")], by: By = ""
) -> None:
    """Refuse what waits; the refusal is recorded with its reason."""
    settings = load_settings()
    chosen = _chosen(_desk(settings), ids, by, settings)
    for told in chosen:
        asyncio.run(reject(settings, told, by, why, datetime.now(UTC)))
    print(f"{len(chosen):,} rejected by {by}")


def _desk(settings: Settings) -> ApprovalDesk:
    try:
        desk = asyncio.run(read_desk(settings))
    except TopicMissingError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure
    if desk.unreadable:
        print(
            f"{desk.unreadable:,} records could not be read and are passed over: they may come from a newer version",
            file=sys.stderr,
        )
    return desk


def _now(settings: Settings) -> datetime | None:
    # Under the event clock proposals live in the data's time, of which this machine's clock knows nothing.
    return None if settings.clock == "event" else datetime.now(UTC)


def _chosen(desk: ApprovalDesk, ids: list[str], by: str, settings: Settings) -> list[SuppressedIntervention]:
    if not by:
        raise CommandError("say who answers: --by NAME", ExitCode.USAGE)
    waiting = {proposal.intervention_id for proposal in desk.waiting(_now(settings))}
    if ids == ["all"]:
        return [told for identity, told in desk.proposals.items() if identity in waiting]
    problems = [_obstacle(desk, identity) for identity in ids if identity not in waiting]
    if problems:
        raise CommandError("\n".join(["nothing was changed:", *problems]))
    return [desk.proposals[identity] for identity in dict.fromkeys(ids)]


def _obstacle(desk: ApprovalDesk, identity: str) -> str:
    answer = desk.answer(identity)
    if answer is not None:
        return f"{identity}: already {answer.verdict} by {answer.by} at {answer.at}"
    told = desk.proposals.get(identity)
    if told is None or told.proposal is None:
        return f"{identity}: no such proposal"
    return f"{identity}: expired at {told.proposal.expires_at:%Y-%m-%d %H:%M} UTC"


def _row(proposal: Intervention) -> dict[str, str]:
    return {
        "id": proposal.intervention_id,
        "customer": proposal.customer_id,
        "action": proposal.action,
        "channel": proposal.channel,
        "tier": proposal.tier,
        "cost": f"{proposal.cost:.2f}",
        "expires": f"{proposal.expires_at:%Y-%m-%d %H:%M}",
        "why": proposal.reasons[0].text if proposal.reasons else "",
    }


def _answered_rows(desk: ApprovalDesk) -> list[dict[str, str]]:
    rows = []
    for identity, told in desk.proposals.items():
        answer = desk.answer(identity)
        if answer is not None:
            rows.append(
                {
                    "id": identity,
                    "customer": told.customer_id,
                    "action": told.action or "",
                    "verdict": answer.verdict,
                    "by": answer.by,
                    "at": answer.at,
                    "why": answer.detail,
                }
            )
    return rows
