"""Reads whole topics to their present ends, without a consumer group: for commands that look back."""

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from stream_app.adapters.clients import client_arguments
from stream_app.core.topics import Topic
from stream_app.settings import Settings

PATIENCE_SECONDS = 30.0
_FETCHED_RECORDS = 5_000


class TopicMissingError(RuntimeError):
    """A topic did not show up; the message tells the remedy."""


async def read_topics(
    settings: Settings,
    topics: Sequence[Topic],
    take: Callable[[Topic, ConsumerRecord], None],
    patience_seconds: float = PATIENCE_SECONDS,
    newest: int | None = None,
) -> None:
    """Hand over every record that stands on the topics now; partitions one after the other, each in its order.

    With `newest`, at most about so many of each topic: the last ones of each partition.

    Raises
    ------
    TopicMissingError
        A topic did not show up in `patience_seconds`.
    aiokafka.errors.KafkaError
        The brokers cannot be reached.
    """
    role_of = {settings.topic(topic): topic for topic in topics}
    consumer = AIOKafkaConsumer(
        *role_of, **client_arguments(settings), group_id=None, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    try:
        # Without a group, aiokafka waits for ever for a topic that is not there.
        async with asyncio.timeout(patience_seconds):
            await consumer.start()
        ends = await consumer.end_offsets(consumer.assignment())
        beginnings = await consumer.beginning_offsets(consumer.assignment())
        for partition, end in ends.items():
            if newest is not None:
                siblings = sum(each.topic == partition.topic for each in ends)
                consumer.seek(partition, max(beginnings[partition], end - -(-newest // siblings)))
            while await consumer.position(partition) < end:
                fetched = await consumer.getmany(partition, timeout_ms=500, max_records=_FETCHED_RECORDS)
                for record in fetched.get(partition, ()):
                    take(role_of[partition.topic], record)
    except TimeoutError:
        raise TopicMissingError(
            f"topic {' or '.join(role_of)} did not show up in {patience_seconds:.0f} s: run 'stream-app topics check'"
        ) from None
    finally:
        await consumer.stop()
