"""The product's trainer inside a test's process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from stream_app.settings import Settings
from stream_app.worker.trainer import pupils_of, run_trainer


@contextlib.asynccontextmanager
async def trainer_of(settings: Settings) -> AsyncIterator[None]:
    """Run a trainer inside the block and end it as SIGTERM would."""
    stop = asyncio.Event()
    running = asyncio.create_task(run_trainer(settings, pupils_of(settings), stop))
    try:
        yield
    finally:
        stop.set()
        await running
