"""A changelog as long as is asked for, of customers as they typically are."""

from aiokafka import AIOKafkaProducer

from stream_app.adapters.clients import client_arguments
from stream_app.core.events import ClickEvent, CustomerProfile, OrderEvent, ReviewEvent
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record, TimePassed
from stream_app.core.times import DAY_MS
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.wire.partition import partition_of
from stream_app.wire.partition_record import (
    PARTITION,
    PARTITION_KEY,
    STATE,
    PartitionRecord,
    encode_partition_record,
    envelope,
)
from stream_app.wire.state_codec import encode_state
from stream_app.worker.publisher import Publisher
from tests.support import logs
from tests.support.engines import build_engine

BATCH = 500
WRITES_PER_CUSTOMER = 4


def typical_states() -> list[bytes]:
    """Return encoded states of customers with some months of orders, clicks and a review."""
    maker = build_engine()
    shard = maker.open_shard(0, DictStore(), PartitionState())
    events: list[CustomerProfile | OrderEvent | ClickEvent | ReviewEvent] = []
    for number in range(40):
        name = f"c{number}"
        events.append(logs.profile(name, logs.START_MS))
        for step in range(1 + number % 7):
            at_ms = logs.START_MS + (step * 9 + 1) * DAY_MS + number * 1_000
            events += [logs.order(name, at_ms), logs.click(name, at_ms + 1_000), logs.click(name, at_ms + 2_000)]
        events.append(logs.review(name, logs.START_MS + 80 * DAY_MS))
    log: list[Record] = logs.log_of(sorted(events, key=lambda event: event.timestamp))
    maker.process(shard, log)
    maker.process(shard, [TimePassed(logs.START_MS + 90 * DAY_MS)])
    return [encode_state(state) for _, state in shard.store.items()]


async def write_changelog(settings: Settings, records: int) -> int:
    """Write so many states of a quarter as many customers, batch by batch; return how many customers."""
    states = typical_states()
    names = [f"customer-{number}" for number in range(records // WRITES_PER_CUSTOMER)]
    homes: dict[int, list[str]] = {number: [] for number in range(settings.partitions)}
    for name in names:
        homes[partition_of(name.encode(), settings.partitions)].append(name)
    producer = AIOKafkaProducer(**client_arguments(settings), max_batch_size=500_000)
    await producer.start()
    try:
        for number, residents in homes.items():
            writes = residents * WRITES_PER_CUSTOMER
            for sequence, start in enumerate(range(0, len(writes), BATCH)):
                head = envelope(STATE, 1, sequence)
                batch: list[tuple[bytes, bytes | None]] = [
                    (name.encode(), head + states[(start + place) % len(states)])
                    for place, name in enumerate(writes[start : start + BATCH])
                ]
                closing = envelope(PARTITION, 1, sequence) + encode_partition_record(PartitionRecord(PartitionState()))
                await Publisher(producer).write(settings.changelog_topic, number, [*batch, (PARTITION_KEY, closing)])
    finally:
        await producer.stop()
    return len(names)
