"""One run of the demo: broker, children, shop and screen, started in order, watched, and ended in order."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.adapters.topics_admin import create_topics
from stream_app.cli.demo_crew import LOOPBACK, Child, RunFolder, choose_port
from stream_app.cli.demo_screen import Screen
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.settings import Settings

READY_SECONDS = 90.0
POLL_SECONDS = 0.5
ANSWER_SECONDS = 5.0

Summary = Mapping[str, Any]


class Stage:
    """Everything that belongs to one run.

    Parameters
    ----------
    run
        Its folder.
    settings
        What worker, trainer and page find in their environment too.
    say
        Tells the person at the terminal a line.
    """

    def __init__(self, run: RunFolder, settings: Settings, say: Callable[[str], None]) -> None:
        self._run = run
        self._settings = settings
        self._say = say
        self._url = f"http://{LOOPBACK}:{settings.dashboard_port}/"
        self._broker = EmbeddedBroker(run.path / "broker", int(settings.bootstrap.rpartition(":")[2]))
        self._services: list[Child] = []
        self._shop: Child | None = None
        self._stop = asyncio.Event()
        self._opened = 0.0
        self._played_seconds = 0.0
        self._summary: Summary = {}
        self._first_intervention_seconds: float | None = None

    async def play(self, shop: list[str], *, seconds: float) -> dict[str, object]:
        """Run until the time is up, or until Ctrl-C or SIGTERM, and return what came of it.

        Parameters
        ----------
        shop
            Arguments of the `stream-app` command that sends the events; when it is done, the rest stays up.
        seconds
            How long; 0: no end is set.

        Raises
        ------
        CommandError
            A part of the demo ended or did not get ready; the message holds the end of its log.
        """
        began = time.monotonic()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        try:
            await self._start()
            ready_seconds = time.monotonic() - began
            if not self._stop.is_set():
                self._say(f"ready after {ready_seconds:.0f} s")
                self._invite()
                await self._run_shop(shop, seconds)
        finally:
            await asyncio.to_thread(self._end)
        return self._result(ready_seconds)

    async def _start(self) -> None:
        self._say("starting the embedded broker, a worker, the trainer and the live page")
        await asyncio.to_thread(self._broker.start)
        await asyncio.to_thread(create_topics, self._settings)
        environment = dict(os.environ)
        apart = {"STREAM_APP_METRICS_PORT": str(choose_port(0)[0]), "STREAM_APP_API_PORT": "0"}
        for name, more in (("worker", {}), ("trainer", apart), ("dashboard", {})):
            self._services.append(Child(name, [name], self._run.path, {**environment, **more}))
        deadline = time.monotonic() + READY_SECONDS
        probes = {
            "worker": f"http://{LOOPBACK}:{self._settings.metrics_port}/readyz",
            "dashboard": f"{self._url}healthz",
        }
        while probes and not self._stop.is_set():
            self._check_services()
            probes = {name: probe for name, probe in probes.items() if await _answer(probe) is None}
            if time.monotonic() > deadline:
                raise self._failure(f"{' and '.join(probes)} did not get ready in {READY_SECONDS:.0f} s", *probes)
            await asyncio.sleep(POLL_SECONDS / 2)

    async def _run_shop(self, arguments: list[str], seconds: float) -> None:
        self._shop = Child("shop", arguments, self._run.path, os.environ)
        self._opened = time.monotonic()
        with Screen(self._url) as screen:
            while not self._stop.is_set() and (not seconds or self._elapsed() < seconds):
                self._check_services()
                if self._shop.exit_code() not in {None, 0}:
                    raise self._failure(f"the shop ended with exit code {self._shop.exit_code()}", "shop")
                self._take(await _answer(f"{self._url}summary.json"))
                self._played_seconds = self._elapsed()
                if self._summary:
                    screen.show(self._summary, self._played_seconds)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), POLL_SECONDS)

    def _elapsed(self) -> float:
        return time.monotonic() - self._opened

    def _take(self, body: bytes | None) -> None:
        if body is None:
            return
        self._summary = orjson.loads(body)
        if self._first_intervention_seconds is None and self._summary["interventions"]["total"]:
            self._first_intervention_seconds = round(self._elapsed(), 1)

    def _check_services(self) -> None:
        if self._broker.pid is None:
            end = self._broker.log_file.read_text(errors="replace")[-1000:]
            raise CommandError(f"the embedded broker ended by itself. The end of its log:\n{end}", ExitCode.ENVIRONMENT)
        for child in self._services:
            if child.exit_code() is not None:
                raise self._failure(f"the {child.name} ended by itself (exit code {child.exit_code()})", child.name)

    def _failure(self, what: str, *names: str) -> CommandError:
        children = [child for child in (*self._services, self._shop) if child is not None and child.name in names]
        logs = "\n".join(f"The end of {child.log_file}:\n{child.log_tail()}" for child in children)
        return CommandError(f"{what}.\n{logs}", ExitCode.ENVIRONMENT)

    def _invite(self) -> None:
        program = Path(sys.executable).with_name("stream-app")
        broker = (
            "" if self._settings.bootstrap.endswith(":9092") else f"STREAM_APP_BOOTSTRAP={self._settings.bootstrap} "
        )
        self._say(f"live page: {self._url}")
        self._say("three commands to try in another terminal:")
        self._say(f"  curl -s 'http://{LOOPBACK}:{self._settings.api_port}/v1/customers?tier=critical'")
        self._say(f"  {broker}{program} model list")
        self._say(f"  curl -s http://{LOOPBACK}:{self._settings.metrics_port}/metrics | grep interventions")

    def _end(self) -> None:
        for child in [self._shop, *self._services]:
            if child is not None:
                child.stop()
        self._broker.stop()
        self._run.forget()

    def _result(self, ready_seconds: float) -> dict[str, object]:
        """Return the summary of the run; what the page never told is 0 or None."""
        page = self._summary
        quality, flow = page.get("quality", {}), page.get("flow", {})
        return {
            "seconds": round(self._played_seconds, 1),
            "ready_seconds": round(ready_seconds, 1),
            "shop_time": page.get("shop_time"),
            "events": flow.get("total", 0),
            "lag": flow.get("lag"),
            "customers": page.get("customers", 0),
            "tiers": page.get("tiers", {}),
            "interventions": page.get("interventions", {}).get("total", 0),
            "first_intervention_seconds": self._first_intervention_seconds,
            "suppressed": dict(page.get("suppressed", {}).get("by_reason", ())),
            "outcomes": quality.get("examples", 0),
            "auc": quality.get("auc"),
            "model": page.get("model", {}).get("version") or None,
            "dead_letters": page.get("dead_letters", {}).get("total", 0),
        }


async def _answer(url: str) -> bytes | None:
    """Return the body of a good answer, or None where there is none yet."""
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS)) as client,
            client.get(url) as response,
        ):
            return await response.read() if response.ok else None
    except (aiohttp.ClientError, TimeoutError):
        return None
