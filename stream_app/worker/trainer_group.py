"""Puts the trainer's consumer group where its checkpoint is, before it joins: the truth is in the checkpoint."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import IllegalGenerationError, KafkaError, RebalanceInProgressError, UnknownMemberIdError

from stream_app.adapters.clients import client_arguments
from stream_app.settings import Settings

RETRY_SECONDS = 2.0

logger = logging.getLogger(__name__)


class TrainerPositionError(RuntimeError):
    """Checkpoint and topics do not fit together; the message says what to do."""


class LogRange(NamedTuple):
    """What a partition holds: offsets from `start` up to, and without, `end`."""

    start: int
    end: int
    reached: int = 0
    """How far the group had come: a trainer behind that learns again what the served model knows."""


async def align_group(
    settings: Settings, group_id: str, position_of: Callable[[str, int], int], topics: tuple[str, ...]
) -> Mapping[tuple[str, int], LogRange]:
    """Take back committed offsets that are ahead of the checkpoint, so that every example is read that it lacks.

    Offsets behind it are left alone: what is read twice is skipped by its offset.

    Parameters
    ----------
    position_of
        Offset of the next record to be read, by topic name and partition; 0 without a checkpoint.

    Returns
    -------
    What each partition holds.

    Raises
    ------
    TrainerPositionError
        If a topic is missing, was re-created since the checkpoint, or another trainer is active in the group.
    """
    consumer = AIOKafkaConsumer(**client_arguments(settings), group_id=group_id, enable_auto_commit=False)
    await consumer.start()
    try:
        partitions: list[TopicPartition] = []
        for topic in topics:
            found = await _partitions(consumer, topic)
            if not found:
                raise TrainerPositionError(f"topic {topic} does not exist: run 'stream-app topics create'")
            partitions += [TopicPartition(topic, partition) for partition in sorted(found)]
        consumer.assign(partitions)
        starts = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        back: dict[TopicPartition, int] = {}
        reached: dict[TopicPartition, int] = {}
        for one in partitions:
            position = position_of(one.topic, one.partition)
            _check(one, position, starts[one], ends[one])
            committed = await consumer.committed(one)
            reached[one] = committed or 0
            if committed is not None and committed > position:
                logger.warning(
                    "%s/%d: the group is at offset %d, the checkpoint at %d%s: reading again from there",
                    *(one.topic, one.partition, committed, position),
                    "" if position else " (there is none)",
                )
                back[one] = position
        if back:
            await _commit(consumer, back, settings.session_timeout_seconds)
    finally:
        await consumer.stop()
    return {(one.topic, one.partition): LogRange(starts[one], ends[one], reached[one]) for one in partitions}


def _check(one: TopicPartition, position: int, start: int, end: int) -> None:
    if position > end:
        raise TrainerPositionError(
            f"{one.topic}/{one.partition} ends at offset {end}, the trainer's checkpoint is at {position}: "
            "the topic was re-created. Remove the checkpoint folder to learn the new topic from its beginning"
        )
    if 0 < position < start:
        logger.warning(
            "%s/%d begins at offset %d, the checkpoint is at %d: the records between are lost to retention",
            *(one.topic, one.partition, start, position),
        )


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    await consumer.topics()  # brings metadata
    found = consumer.partitions_for_topic(topic)
    if found is None:
        cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001 - there is no public way
        found = cluster.partitions_for_topic(topic)
    return set(found or ())


async def _commit(consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int], session_timeout_seconds: int) -> None:
    """Commit for a group that has no members; one that was killed counts as a member until its session ends."""
    refused: KafkaError | None = None
    for _ in range(int(session_timeout_seconds / RETRY_SECONDS) + 5):
        try:
            await consumer.commit(offsets)
        except (UnknownMemberIdError, IllegalGenerationError, RebalanceInProgressError) as error:
            if refused is None:
                logger.warning(
                    "the group still has a member (a trainer that was killed?): waiting for its session to end"
                )
            refused = error
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
    raise TrainerPositionError(
        "another trainer is active in this group and ahead of this checkpoint: one trainer learns at a time; "
        "stop it, or give this one its checkpoint folder"
    ) from refused
