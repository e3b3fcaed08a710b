"""What stands on the topic of models at this moment, for commands."""

import asyncio

from aiokafka import AIOKafkaConsumer

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.worker.snapshots import READING, read_registry


def registry_on_topic(settings: Settings) -> ModelRegistry:
    """Return the registry as the topic has it; raises CommandError where the topic is missing."""
    registry = ModelRegistry()

    async def read() -> None:
        consumer = AIOKafkaConsumer(
            settings.topic(Topic.SNAPSHOTS),
            **client_arguments(settings),
            **READING,
        )
        try:
            await read_registry(consumer, registry, patience_seconds=15)
        except RuntimeError as error:
            raise CommandError(str(error), ExitCode.ENVIRONMENT) from error
        finally:
            await consumer.stop()

    asyncio.run(read())
    return registry
