"""`stream-app worker`: events in, scores and interventions out."""

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from stream_app.adapters.logs import set_up_logging
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.settings import ENV_PREFIX, Settings, load_settings
from stream_app.worker.http_serving import HttpConfigurationError
from stream_app.worker.lifeline import Lifeline
from stream_app.worker.processes import ProcessAddressError, settings_of_process
from stream_app.worker.several import run_several


def worker(
    processes: Annotated[
        int | None,
        typer.Option(help="Processes of this worker, at most one a core; absent: STREAM_APP_PROCESSES (1).", min=1),
    ] = None,
    process: Annotated[int | None, typer.Option(hidden=True, min=0)] = None,
) -> None:
    r"""Run a worker: events in, scores and interventions out. Start more of them to scale, with the same settings.

    With several processes it uses as many cores: they share its partitions, its buffers and its one port for probes
    and metrics; each has a /v1, on STREAM_APP_API_PORT and those that follow. Where one ends, the worker ends. Count
    the cores that it may use: a container sees all those of its machine.

    It ends with status 1 on a flood of bad records, and with 3 when the brokers, the topics or another worker make it
    end. In every case nothing is lost: what was not finished is done again after the next start.

    \b
    Examples:
      stream-app worker
      stream-app worker --processes 4
    """
    settings = load_settings(**({} if processes is None else {"processes": processes}))
    set_up_logging(settings.log_level, settings.log_format)
    if process is not None:
        _run_one_of_several(settings, process)
    elif settings.processes == 1:
        _run_here(settings)
    else:
        raise typer.Exit(_run_several(settings))


def _run_here(settings: Settings, on_served: Callable[[str], None] | None = None) -> None:
    from stream_app.cli.worker_process import run_process  # noqa: PLC0415 - a supervisor must not carry all of Faust

    run_process(settings, on_served)


def _run_one_of_several(settings: Settings, number: int) -> None:
    try:
        lifeline = Lifeline()
    except OSError as error:
        raise CommandError("--process is for processes that a worker starts", ExitCode.USAGE) from error
    lifeline.hold()
    _run_here(settings_of_process(settings, number), lifeline.tell)


def _run_several(settings: Settings) -> int:
    numbers = range(settings.processes)
    program = [sys.executable, "-m", "stream_app", "worker", "--processes", str(settings.processes)]
    # Their output is a pipe to us; whether somebody reads ours on a terminal is known here only.
    log_format = "console" if settings.log_format == "auto" and sys.stderr.isatty() else settings.log_format
    environment = {**os.environ, f"{ENV_PREFIX}LOG_FORMAT": log_format}
    commands = [[*program, "--process", str(number)] for number in numbers]
    try:
        for number in numbers:
            settings_of_process(settings, number)
        return asyncio.run(run_several(settings, commands, environment, sys.stderr.buffer))
    except (ProcessAddressError, HttpConfigurationError) as error:
        raise CommandError(str(error), ExitCode.USAGE) from error


command = worker
