"""A worker of several processes from its settings to its end: signals, the port for machines, the supervisor."""

import asyncio
import logging
import signal
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from stream_app.settings import Settings
from stream_app.worker.http_gathering import Gathering
from stream_app.worker.http_serving import Listener
from stream_app.worker.supervisor import Supervisor

logger = logging.getLogger(__name__)


async def run_several(
    settings: Settings, commands: Sequence[Sequence[str]], environment: Mapping[str, str], out: BinaryIO
) -> int:
    """Run a worker of several processes until SIGTERM or Ctrl-C, or until one of them ends; returns the exit status.

    Parameters
    ----------
    settings
        The worker's: address and port of probes and metrics.
    commands
        A program and its arguments for each process.
    environment
        The whole environment of each.
    out
        Where their lines go.

    Raises
    ------
    stream_app.worker.http_serving.HttpConfigurationError
        The port is taken; nothing was started.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    supervisor = Supervisor(commands, environment, out)
    gathering = Gathering(supervisor.urls)
    listener = Listener(gathering.application(), settings.metrics_host, settings.metrics_port, "METRICS")
    logger.info("probes and metrics of %d processes at %s", len(commands), await listener.start())
    try:
        return await supervisor.run(stop)
    finally:
        await listener.stop()
