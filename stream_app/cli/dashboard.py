"""`stream-app dashboard`: the live page."""

import asyncio
import contextlib
import errno
import signal
import sys
from typing import Annotated

import typer

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.dashboard.server import UnprotectedError
from stream_app.dashboard.service import serve
from stream_app.settings import Settings, load_settings


def dashboard(
    host: Annotated[
        str, typer.Option(help="Address to serve on; anything but loopback needs STREAM_APP_API_TOKEN.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port to serve on; 0: any free one. Default: STREAM_APP_DASHBOARD_PORT.")
    ] = None,
    inputs: Annotated[
        bool, typer.Option(help="Read orders, reviews and feedback too, for richer customer stories.")
    ] = True,
) -> None:
    """Serve the live page for retention people: tiers, interventions and their reasons, quality, stories."""
    settings = load_settings()
    chosen = settings.dashboard_port if port is None else port
    try:
        asyncio.run(_until_stopped(settings, host, chosen, inputs=inputs))
    except UnprotectedError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure
    except OSError as failure:
        if failure.errno != errno.EADDRINUSE:
            raise
        raise CommandError(
            f"port {chosen} is taken by another program: choose another with --port, or 0 for any free one",
            ExitCode.ENVIRONMENT,
        ) from failure


async def _until_stopped(settings: Settings, host: str, port: int, *, inputs: bool) -> None:
    """Serve until SIGTERM or Ctrl-C, and end quietly then."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[str] = loop.create_future()
    started.add_done_callback(lambda done: print(f"live page: {done.result()}", file=sys.stderr, flush=True))
    serving = asyncio.create_task(serve(settings, host=host, port=port, inputs=inputs, started=started))
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


command = dashboard
