"""Ending an aiokafka consumer, whatever it is doing."""

import asyncio
from typing import Any


async def stop_consumer(consumer: Any) -> None:
    """Stop a consumer; safe right after its start, and while a fetch is under way.

    aiokafka 0.14 awaits the fetch requests that it cancels, so that `stop` can end with their CancelledError although
    nobody cancelled us: a caller would take that for its own cancellation and silently end.
    """
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # What `stop` did not come to.
        await consumer._client.close()  # noqa: SLF001 - there is no public way to close what stop() left open
