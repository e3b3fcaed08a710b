"""The HTTP servers of worker and trainer: probes and metrics on one port, customers (`/v1`) on another."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable

import aiohttp
from aiohttp import web

from stream_app import __version__
from stream_app.adapters.metrics import CONTENT_TYPE, Metrics
from stream_app.settings import Settings
from stream_app.worker.http_api import CustomerApi, is_loopback
from stream_app.worker.http_ports import Probed, WorkerViews
from stream_app.worker.http_progress import ProgressWatch

SAMPLE_SECONDS = 2.0
"""How often lag and progress are looked at; both are O(owned partitions)."""

logger = logging.getLogger(__name__)


class HttpConfigurationError(ValueError):
    """The servers may not or cannot start as configured; the message names the setting and the remedy."""


class HttpServices:
    """Both servers and the sampling of lag and progress.

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
        self._problem = ""
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
            self.metrics_url = await self._serve(
                self._probes(), settings.metrics_host, settings.metrics_port, "METRICS"
            )
            if self._views is not None:
                session = await self._stack.enter_async_context(aiohttp.ClientSession())
                api = CustomerApi(self._views, token, self._metrics, session)
                self.api_url = await self._serve(api.application(), settings.api_host, settings.api_port, "API")
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
        self._problem = self._watch.sample(readiness, progress, self._monotonic_seconds())
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
        return self._problem

    async def _sample_for_ever(self) -> None:
        while True:
            problem = self._problem
            if self.sample() and self._problem != problem:
                logger.error("no progress: %s", self._problem)
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
        problem = self.sample()
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _show_readiness(self, _: web.Request) -> web.Response:
        ready, reason = self._process.readiness()
        return web.Response(text="ok" if ready else reason or "not ready", status=200 if ready else 503)

    async def _serve(self, app: web.Application, host: str, port: int, setting: str) -> str:
        # No access log: its lines would hold customer ids.
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise HttpConfigurationError(
                f"cannot listen on {host}:{port} ({error.strerror}): set STREAM_APP_{setting}_HOST and "
                f"STREAM_APP_{setting}_PORT to a free address; port 0 takes any"
            ) from error
        bound_host, bound_port = runner.addresses[0][:2]
        return f"http://{f'[{bound_host}]' if ':' in bound_host else bound_host}:{bound_port}"


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
