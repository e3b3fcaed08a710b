"""The dashboard as a service: readers, board and HTTP server, put together."""

import asyncio
from collections.abc import Mapping

from aiohttp import web

from stream_app.dashboard.board import Board
from stream_app.dashboard.server import build_app
from stream_app.dashboard.tail import Flow, Tail
from stream_app.settings import Settings


class Dashboard:
    """A board that two readers keep up to date, as the HTTP server's source."""

    def __init__(self, settings: Settings, *, inputs: bool) -> None:
        self._board = Board()
        self._tail = Tail(settings, self._board, inputs=inputs)
        self._flow = Flow(settings)

    def summary(self) -> Mapping[str, object]:
        """Return everything that the page shows, ready for JSON."""
        return {**self._board.summary(), "flow": self._flow.summary(), "failure": self.failure()}

    def story_of(self, customer_id: str) -> Mapping[str, object] | None:
        """Return one customer's story, or None where none is kept."""
        story = self._board.stories.find(customer_id)
        return None if story is None else self._board.story(story)

    def failure(self) -> str | None:
        """Return what the page waits for, or None."""
        missing = self._tail.waiting_for
        return f"waiting for topics: {', '.join(missing)}" if missing else None

    async def read(self) -> None:
        """Read the topics until cancelled; the first reader that fails ends both."""
        try:
            async with asyncio.TaskGroup() as readers:
                readers.create_task(self._tail.run(), name="dashboard-tail")
                readers.create_task(self._flow.run(), name="dashboard-flow")
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from failures


async def serve(settings: Settings, *, host: str, port: int, inputs: bool, started: asyncio.Future[str]) -> None:
    """Serve the page until cancelled.

    Parameters
    ----------
    settings
        Broker, topics and token.
    host, port
        Where to listen; port 0 takes any free one.
    inputs
        Read orders, reviews and feedback too, for richer stories.
    started
        Gets the page's URL as soon as it is served.

    Raises
    ------
    OSError
        The port is taken.
    UnprotectedError
        The host is not loopback and there is no token.
    """
    dashboard = Dashboard(settings, inputs=inputs)
    runner = web.AppRunner(
        build_app(dashboard, host=host, token=settings.api_token.get_secret_value()), shutdown_timeout=1.0
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        taken = runner.addresses[0][1]
        shown = f"[{host}]" if ":" in host else host
        started.set_result(f"http://{shown}:{taken}/")
        await dashboard.read()
    finally:
        await runner.cleanup()
