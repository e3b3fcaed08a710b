"""The probes and metrics of a worker of several processes on one port: what each of them says, put together.

All or nothing: where one does not answer, neither probe succeeds and there is no page of metrics, so that the alert on
a target that is down means the same for a worker of one process and of several.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import NamedTuple

import aiohttp
from aiohttp import web

from stream_app.adapters.metrics import CONTENT_TYPE

ANSWER_SECONDS = 4.0
"""For one process: it answers from a thread of its own, so that only a broken one takes so long."""

PROCESS_LABEL = "process"


class Answer(NamedTuple):
    """What one process said."""

    status: int
    text: str


class Gathering:
    """Answers `/healthz`, `/readyz` and `/metrics` for several processes.

    Parameters
    ----------
    urls
        Returns where each process answers, in the order of their numbers; empty while one does not.
    """

    def __init__(self, urls: Callable[[], Sequence[str]]) -> None:
        self._urls = urls
        self._session: aiohttp.ClientSession | None = None

    def application(self) -> web.Application:
        """Return the aiohttp application with the three routes."""
        app = web.Application()
        app.cleanup_ctx.append(self._connected)
        app.router.add_get("/healthz", self._probe)
        app.router.add_get("/readyz", self._probe)
        app.router.add_get("/metrics", self._show_metrics)
        return app

    async def _connected(self, _: web.Application) -> AsyncIterator[None]:
        # A new connection for each question: one that a process has just closed looks like a process that is down.
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session:
            yield

    async def _probe(self, request: web.Request) -> web.Response:
        problem = _problem(await self._ask_all(request.path))
        return web.Response(text=problem or "ok", status=503 if problem else 200)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        answers = await self._ask_all(request.path)
        problem = _problem(answers)
        if problem:
            return web.Response(text=problem, status=503)
        page = one_page([answer.text for answer in answers])
        return web.Response(body=page.encode(), headers={"Content-Type": CONTENT_TYPE})

    async def _ask_all(self, path: str) -> list[Answer]:
        return await asyncio.gather(*(self._ask(url, path) for url in self._urls()))

    async def _ask(self, url: str, path: str) -> Answer:
        if not url:
            return Answer(503, "starting, or ended")
        assert self._session is not None
        try:
            async with self._session.get(url + path) as answer:
                return Answer(answer.status, await answer.text())
        except (aiohttp.ClientError, TimeoutError) as error:
            return Answer(503, f"does not answer ({type(error).__name__})")


def _problem(answers: Sequence[Answer]) -> str:
    bad = [(number, answer.text) for number, answer in enumerate(answers) if answer.status != web.HTTPOk.status_code]
    return "\n".join(f"process {number}: {text}" for number, text in bad)


def one_page(pages: Sequence[str]) -> str:
    """Return the metrics of several processes as one page: each family once, each sample with its process.

    Parameters
    ----------
    pages
        In Prometheus' text format, in the order of the processes' numbers.
    """
    families: dict[str, list[str]] = {}
    for number, page in enumerate(pages):
        family: list[str] = []
        for line in page.splitlines():
            if not line.startswith("#"):
                family.append(_labelled(line, number))
            elif line.startswith("# HELP "):
                family = families.setdefault(line, [])
            elif line not in family:
                # The type, below the help of the first process that has this family.
                family.append(line)
    return "".join(f"{line}\n" for line in _lines(families))


def _lines(families: dict[str, list[str]]) -> Iterable[str]:
    for head, lines in families.items():
        yield head
        yield from lines


def _labelled(sample: str, number: int) -> str:
    name, space, rest = sample.partition(" ")
    metric, brace, labels = name.partition("{")
    label = f'{PROCESS_LABEL}="{number}"'
    # A label's value may have a space in it: what follows the first brace is left as it is.
    return f"{metric}{{{label},{labels}{space}{rest}" if brace else f"{metric}{{{label}}}{space}{rest}"
