"""The floor: aiokafka and orjson, nothing else. No engine, no state, no outputs; what reading alone costs."""

import asyncio
import time

import orjson
from aiokafka import AIOKafkaConsumer

from stream_app.adapters.clients import client_arguments
from stream_app.bench.workload import TOPICS
from stream_app.settings import load_settings

COMMIT_SECONDS = 0.5


async def read() -> None:
    """Read and parse for ever, and commit twice a second."""
    settings = load_settings()
    consumer = AIOKafkaConsumer(
        *(settings.topic(role) for role in TOPICS),
        group_id=settings.app_id,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=1 << 20,
        **client_arguments(settings),
    )
    await consumer.start()
    committed = time.monotonic()
    while True:
        for records in (await consumer.getmany(timeout_ms=200)).values():
            for record in records:
                orjson.loads(record.value)
        if time.monotonic() - committed >= COMMIT_SECONDS:
            await consumer.commit()
            committed = time.monotonic()


if __name__ == "__main__":
    asyncio.run(read())
