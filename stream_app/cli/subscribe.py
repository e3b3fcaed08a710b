"""`stream-app subscribe`: the reference subscriber, to try out, to run, or to copy."""

import os
import time
from typing import Annotated

import typer

from stream_app.adapters.subscriber import Delivery, Desk, Done, Subscriber, Webhook
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.outputs import Intervention
from stream_app.settings import load_settings

SECRET_VARIABLE = "STREAM_APP_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable, not a secret


class _Printer:
    def deliver(self, intervention: Intervention, _body: bytes) -> None:
        """Print the intervention in a line."""
        print(
            f"{intervention.action} to {intervention.customer_id} by {intervention.channel},"
            f" until {intervention.expires_at:%Y-%m-%d %H:%M}",
            flush=True,
        )


def command(
    group: Annotated[str, typer.Option(help="Consumer group; subscribers of one group share the work.")] = "messaging",
    webhook: Annotated[str, typer.Option(help=f"Post there, signed with {SECRET_VARIABLE}; absent: print.")] = "",
    attempts: Annotated[int, typer.Option(min=1, help="Attempts per intervention at the webhook.")] = 5,
    idle_seconds: Annotated[
        float, typer.Option(help="End after so long without anything to do; 0: go on for ever.")
    ] = 0.0,
) -> None:
    r"""Take interventions off their topic, deliver each once, and report `sent` to intervention-feedback.

    Repeats are recognised by their id (kept beside STREAM_APP_DATA_DIR's files), the expired are dropped, and what the
    webhook refuses goes to a file of dead letters. Offsets are committed when everything before them is done.

    \b
    Examples:
      stream-app subscribe
      stream-app subscribe --group crm --webhook https://crm.example/interventions
    """
    settings = load_settings()
    # Read here and not in Settings: only the subscriber may know the receiver's secret.
    secret = os.environ.get(SECRET_VARIABLE, "").encode("utf-8")
    try:
        delivery: Delivery = Webhook(webhook, secret, attempts) if webhook else _Printer()
    except ValueError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure
    folder = settings.data_dir / "subscriber"
    done = Done(folder / f"{group}.sqlite")
    dead_letters = folder / f"{group}-dead-letters.jsonl"
    expires = settings.clock == "wall"
    try:
        with Subscriber(
            settings, group, lambda report: Desk(delivery, done, dead_letters, report, expires=expires)
        ) as subscriber:
            busy_at = time.monotonic()
            try:
                while not idle_seconds or time.monotonic() - busy_at < idle_seconds:
                    if subscriber.step():
                        busy_at = time.monotonic()
            finally:
                tally = subscriber.desk.tally
                print(
                    f"{tally.delivered:,} delivered, {tally.repeated:,} repeated, {tally.expired:,} expired,"
                    f" {tally.dead:,} to {dead_letters}"
                )
    finally:
        done.close()
