"""The HTTP servers of worker and trainer: probes and metrics on one port, customers (`/v1`) on another."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import aiohttp
from aiohttp import web

from stream_app import __version__
from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import CONTENT_TYPE, Metrics
from stream_app.adapters.metrics_catalogue import CounterName
from stream_app.settings import Settings
from stream_app.worker.http_api import CustomerApi, is_loopback
from stream_app.worker.http_ports import Probed, Readiness, WorkerViews
from stream_app.worker.http_progress import UNREADY_PATIENCE, ProgressWatch
from stream_app.worker.http_serving import HttpConfigurationError, Listener, ListenerThread

__all__ = ["HttpConfigurationError", "HttpServices"]

LOG_SECONDS = 60.0
"""How often one line says what was done since the last."""
TOLD: tuple[CounterName, ...] = (
    "events",
    "dead_letters",
    "rerouted",
    "interventions",
    "suppressed",
    "examples_learned",
    "examples_skipped",
)

SAMPLE_SECONDS = 1.0
"""How often lag and progress are looked at; both are O(owned partitions)."""

logger = logging.getLogger(__name__)


class Seen(NamedTuple):
    """The last sample: never changed, so that the thread of the probes may read it."""

    readiness: Readiness
    problem: str
    at_seconds: float


class HttpServices:
    """Both servers and the sampling of lag and progress.

    Probes are served by a thread of their own, from the last sample: a worker that computes a long batch is alive. If
    the main loop takes no sample for ten times `stall_seconds`, it hangs, and `/healthz` says so.

    Start it before recovery, so that probes can tell what is going on. `/metrics`, `/healthz` and `/readyz` hold no
    personal data; `/v1` does, so that it refuses to listen beyond loopback without a token.

    Parameters
    ----------
    settings
        Addresses, ports, token and `stall_seconds`.
    process
        Whose health is asked.
    metrics
        Shown on `/metrics`; lag, readiness and last progress are written into it here.
    views
        What `/v1` shows; None for a trainer, which then has no `/v1`.
    """

    def __init__(
        self,
        settings: Settings,
        process: Probed,
        metrics: Metrics,
        views: WorkerViews | None = None,
        monotonic_seconds: Callable[[], float] = time.monotonic,
        now_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._process = process
        self._metrics = metrics
        self._views = views
        self._monotonic_seconds = monotonic_seconds
        self._now_seconds = now_seconds
        self._watch = ProgressWatch(settings.stall_seconds)
        self._shown: set[tuple[str, int]] = set()
        self._told: dict[CounterName, float] = {}
        self._seen = Seen(Readiness(ready=False, reason="starting"), "", monotonic_seconds())
        self._stack = contextlib.AsyncExitStack()
        self.metrics_url = ""
        self.api_url = ""
        metrics.gauge("build_info", 1, version=__version__)
        if views is not None:
            metrics.gauge("interventions_enabled", float(settings.interventions_enabled))

    async def start(self) -> None:
        """Open the ports and begin to sample.

        Raises
        ------
        HttpConfigurationError
            If `/v1` would be open to others without a token, or a port is taken.
        """
        settings = self._settings
        token = settings.api_token.get_secret_value()
        if self._views is not None and not token and not is_loopback(settings.api_host):
            raise HttpConfigurationError(
                f"STREAM_APP_API_HOST={settings.api_host} would show customers' data to the network: "
                "set STREAM_APP_API_TOKEN, or leave the host at 127.0.0.1"
            )
        try:
            self.sample()
            listener = Listener(self._probes(), settings.metrics_host, settings.metrics_port, "METRICS")
            self.metrics_url = (await self._stack.enter_async_context(ListenerThread(listener))).url
            if self._views is not None:
                session = await self._stack.enter_async_context(aiohttp.ClientSession())
                api = CustomerApi(self._views, token, self._metrics, session)
                open_api = Listener(api.application(), settings.api_host, settings.api_port, "API")
                self.api_url = await open_api.start()
                self._stack.push_async_callback(open_api.stop)
        except BaseException:
            await self._stack.aclose()
            raise
        sampler = asyncio.create_task(self._sample_for_ever(), name="http-sampler")
        self._stack.push_async_callback(_end, sampler)
        logger.info("probes and metrics at %s, /v1 at %s", self.metrics_url, self.api_url or "no port")

    async def stop(self) -> None:
        """Close the ports; answers under way are given a moment. Calling it twice is harmless."""
        await self._stack.aclose()

    def sample(self) -> str:
        """Look at lag and progress once; return what is wrong, an empty string if nothing is."""
        readiness = self._process.readiness()
        progress = self._process.progress()
        now_seconds = self._monotonic_seconds()
        self._seen = Seen(readiness, self._watch.sample(readiness, progress, now_seconds), now_seconds)
        self._metrics.gauge("ready", float(readiness.ready))
        for (topic, partition), one in progress.items():
            self._metrics.gauge("lag_records", one.lag_records, topic=topic, partition=str(partition))
        for topic, partition in self._shown - progress.keys():
            self._metrics.forget("lag_records", topic=topic, partition=str(partition))
        self._shown = set(progress)
        if self._views is not None:
            for tier, count in self._views.tiers().items():
                self._metrics.gauge("customers", count, tier=tier)
        last_progress = self._now_seconds() - self._watch.standstill_seconds
        self._metrics.gauge("last_progress_timestamp_seconds", last_progress)
        return self._seen.problem

    def _tell(self) -> None:
        """Log the one line that says what this process did lately: numbers only."""
        totals = {name: self._metrics.total(name) for name in TOLD}
        done = {name: totals[name] - self._told.get(name, 0.0) for name in TOLD if totals[name]}
        self._told = totals
        lag_records = sum(one.lag_records for one in self._process.progress().values())
        state = self._seen.problem or self._seen.readiness.reason or "ok"
        logger.info("at work", extra=fields(state=state, lag_records=lag_records, **done))

    async def _sample_for_ever(self) -> None:
        next_line_seconds = self._monotonic_seconds() + LOG_SECONDS
        while True:
            if self._monotonic_seconds() >= next_line_seconds:
                next_line_seconds += LOG_SECONDS
                self._tell()
            before = self._seen.problem
            problem = self.sample()
            if problem and problem != before:
                logger.error("no progress: %s", problem)
            await asyncio.sleep(SAMPLE_SECONDS)

    def _probes(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/healthz", self._show_health)
        app.router.add_get("/readyz", self._show_readiness)
        return app

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.page(), headers={"Content-Type": CONTENT_TYPE})

    async def _show_health(self, _: web.Request) -> web.Response:
        seen = self._seen
        silent_seconds = self._monotonic_seconds() - seen.at_seconds
        problem = seen.problem
        if silent_seconds > UNREADY_PATIENCE * self._settings.stall_seconds:
            problem = f"the event loop has been busy for {silent_seconds:.0f} s"
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _show_readiness(self, _: web.Request) -> web.Response:
        ready, reason = self._seen.readiness
        return web.Response(text="ok" if ready else reason or "not ready", status=200 if ready else 503)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
