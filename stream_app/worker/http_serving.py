"""Listening: an aiohttp application on the running loop, or on a thread with a loop of its own."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web

Result = TypeVar("Result")


class HttpConfigurationError(ValueError):
    """The servers may not or cannot start as configured; the message names the setting and the remedy."""


class Listener:
    """An application on one port of the running loop.

    Parameters
    ----------
    setting
        METRICS or API: which settings an error names.
    """

    def __init__(self, app: web.Application, host: str, port: int, setting: str) -> None:
        # No access log: its lines would hold customer ids.
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
        self._host = host
        self._port = port
        self._setting = setting

    async def start(self) -> str:
        """Listen, and return the URL.

        Raises
        ------
        HttpConfigurationError
            If the port is taken or the address is not this machine's.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise HttpConfigurationError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}): set "
                f"STREAM_APP_{self._setting}_HOST and STREAM_APP_{self._setting}_PORT to a free address; "
                "port 0 takes any"
            ) from error
        host, port = self._runner.addresses[0][:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self) -> None:
        """Stop listening; answers under way are given a moment."""
        await self._runner.cleanup()


class ListenerThread:
    """A listener on a thread of its own: it answers while the main loop computes a long batch.

    Its handlers run beside the main loop, and may only read what is safe to read so.
    """

    def __init__(self, listener: Listener) -> None:
        self.url = ""
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)

    async def __aenter__(self) -> Self:
        self._thread.start()
        try:
            self.url = await self._there(self._listener.start())
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._there(self._listener.stop())
        await self._end()

    async def _there(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.close()

    async def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
