"""The topics that a worker reads, looked at before the first record: what cannot work is refused by name."""

import logging

from aiokafka import AIOKafkaProducer

from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.settings import Settings
from stream_app.wire.partition_record import SourcePosition
from stream_app.worker.ownership import SourceRecreatedError

logger = logging.getLogger(__name__)

ALIGNED = (*CUSTOMER_TOPICS, Topic.REROUTED, Topic.TICKS)


class TopicSetupError(RuntimeError):
    """Topics are missing or have partition counts that cannot work; the message says which and what to do."""


async def look_at_topics(settings: Settings, producer: AIOKafkaProducer) -> list[Topic]:
    """Return the input topics with another partition count than the customers', having refused what cannot work.

    Raises
    ------
    TopicSetupError
        Topics are missing, or have partition counts that cannot work.
    """
    cluster = await producer.client.fetch_all_metadata()
    known = cluster.topics()
    names = {role.value: settings.topic(role) for role in Topic} | {"changelog": settings.changelog_topic}
    optional = {Topic.PRODUCTS.value, Topic.CALENDAR.value}
    missing = [name for role, name in names.items() if name not in known and role not in optional]
    if missing:
        raise TopicSetupError(
            f"topics are missing on {settings.bootstrap}: {', '.join(missing)}. Create them with 'stream-app topics "
            "create', or name your own by STREAM_APP_TOPIC_... (see 'stream-app settings')"
        )
    foreign = []
    for role in (*ALIGNED, "changelog"):
        count = len(cluster.partitions_for_topic(names[role]) or ())
        if count == settings.partitions:
            continue
        if role not in CUSTOMER_TOPICS:
            raise TopicSetupError(
                f"{names[role]} has {count} partitions, and STREAM_APP_PARTITIONS is {settings.partitions}: they must "
                "agree, and never change for the life of an app id. Set it as it was, or begin with a new "
                "STREAM_APP_APP_ID ('stream-app topics check' shows all differences)"
            )
        logger.warning(
            "%s has %d partitions, and customers have %d: all its records are re-published by customer, which costs "
            "time and the order between topics",
            names[role],
            count,
            settings.partitions,
        )
        foreign.append(Topic(role))
    return foreign


def refuse_recreated(
    settings: Settings, held: dict[tuple[str, int], SourcePosition], ends: dict[tuple[str, int], int]
) -> None:
    """Refuse sources that end before what was processed of them.

    Parameters
    ----------
    settings
        The source epoch in force.
    held
        How far each source was processed, by topic name and partition.
    ends
        Where the sources end now.

    Raises
    ------
    SourceRecreatedError
        A source was deleted and created again.
    """
    for (topic, partition), position in held.items():
        end = ends.get((topic, partition))
        if end is not None and position.epoch == settings.source_epoch and position.next_offset > end:
            raise SourceRecreatedError(
                f"{topic}/{partition} ends at offset {end}, but was processed up to {position.next_offset}: it was "
                "deleted and created again, and its new records would be taken for old ones. If that was meant, set "
                f"STREAM_APP_SOURCE_EPOCH={settings.source_epoch + 1} for all workers and start again"
            )
