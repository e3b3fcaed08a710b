"""What goes into batches; that they arrive is tested on a broker."""

from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder

from stream_app.worker.outgoing import Outgoing
from stream_app.worker.publisher import Publisher, PublishError

NOW_MS = 1_800_000_000_000


class Builder(BatchBuilder):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__(600, 0)
        self.appended: list[dict[str, Any]] = []

    def append(self, **record: Any) -> Any:
        taken = super().append(**record)
        if taken is not None:
            self.appended.append(record)
        return taken


class RecordingProducer:
    """Keeps batches; acknowledges them at consecutive offsets of one log."""

    def __init__(self, *, broken: bool = False) -> None:
        self.sent: list[tuple[str, int, Builder]] = []
        self.next_offset = 0
        self._broken = broken

    def create_batch(self) -> Builder:
        return Builder()

    async def partitions_for(self, topic: str) -> set[int]:
        return {0} if topic == "single" else {0, 1, 2}

    async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> Any:
        self.sent.append((topic, partition, builder))
        offset, self.next_offset = self.next_offset, self.next_offset + builder.record_count()

        async def acknowledge() -> Any:
            if self._broken:
                raise ConnectionError("gone")
            return type("Metadata", (), {"offset": offset})

        return acknowledge()


def publisher(producer: RecordingProducer) -> Publisher:
    return Publisher(producer, lambda: NOW_MS)


async def test_no_record_comes_from_the_future() -> None:
    producer = RecordingProducer()
    times = [NOW_MS - 5, NOW_MS + 5, None]
    await publisher(producer).send(Outgoing("t", 0, b"k", b"v", (), timestamp_ms) for timestamp_ms in times)
    ((_, _, builder),) = producer.sent
    assert [record["timestamp"] for record in builder.appended] == [NOW_MS - 5, NOW_MS, None]


async def test_records_keep_their_order_over_full_batches() -> None:
    producer = RecordingProducer()
    await publisher(producer).send(Outgoing("t", 0, b"%d" % number, bytes(100)) for number in range(20))
    assert len(producer.sent) > 1
    keys = [record["key"] for _, _, builder in producer.sent for record in builder.appended]
    assert keys == [b"%d" % number for number in range(20)]


async def test_keys_choose_partitions_and_records_without_one_go_to_the_first() -> None:
    producer = RecordingProducer()
    records = [Outgoing("t", None, b"a", b""), Outgoing("t", None, None, b""), Outgoing("single", None, b"a", b"")]
    await publisher(producer).send(records)
    places = {(topic, partition) for topic, partition, _ in producer.sent}
    assert ("t", 0) in places
    assert ("single", 0) in places
    assert all(partition < 3 for _, partition in places)


async def test_a_written_range_is_where_the_records_stand() -> None:
    producer = RecordingProducer()
    producer.next_offset = 40
    written = await publisher(producer).write("log", 0, [(b"%d" % number, bytes(100)) for number in range(20)])
    assert written == (40, 60, True)
    producer.next_offset += 1
    assert await publisher(producer).write("log", 0, [(b"k", b"v")]) == (61, 62, True)


async def test_a_foreign_record_between_two_batches_is_seen() -> None:
    class Interrupted(RecordingProducer):
        async def send_batch(self, builder: Builder, topic: str, *, partition: int) -> Any:
            future = await super().send_batch(builder, topic, partition=partition)
            self.next_offset += 1
            return future

    written = await publisher(Interrupted()).write("log", 0, [(b"%d" % number, bytes(100)) for number in range(20)])
    assert not written.is_unbroken


async def test_a_failed_send_is_an_error_that_names_the_topic() -> None:
    with pytest.raises(PublishError, match="Sending to t failed"):
        await publisher(RecordingProducer(broken=True)).send([Outgoing("t", 0, b"k", b"v")])
