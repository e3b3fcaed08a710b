"""What the simulated shop says, one value per Kafka record."""

import msgspec

from stream_app.core.topics import Topic


class SimulatedEvent(msgspec.Struct, frozen=True, gc=False):
    """One record of the shop, in event-time order within a run (unless dirt was asked for).

    `customer_id` is empty for records that are about no customer (products, calendar). `value` is the JSON of the
    contract model of `topic` (see `core.events`), without the topic's name.
    """

    topic: Topic
    customer_id: str
    at_ms: int
    value: bytes
    key: str | None
    """The Kafka key; None only where dirt took it away."""
    foreign_partition: bool = False
    """True: a producer with another partitioner (CRC32, as librdkafka's default) sent it."""

    def line(self) -> bytes:
        """Return the record as a line of a merged file: the value with the topic's name put first.

        Bytes that are no JSON object are returned as they are, so that a broken record stays broken; who reads the file
        takes them for the topic of the line before.
        """
        if self.value[:1] != b"{" or len(self.value) < 3:  # the shortest object with a field is longer
            return self.value
        return b'{"topic":"' + self.topic.value.encode() + b'",' + self.value[1:]
