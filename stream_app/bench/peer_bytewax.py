"""Bytewax: its Kafka source and sink, `stateful_batch` by customer key, recovery snapshots in its SQLite store.

It commits nothing to Kafka: what it will not read again stands in its recovery store, once for each epoch. So that it
is counted like the others, the source tells the broker at every snapshot what the snapshot before it held, which by
then is durable. What is due for other customers fires with their next event.
"""

from datetime import timedelta
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource
from bytewax.dataflow import Dataflow
from bytewax.operators import StatefulBatchLogic
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from confluent_kafka import TopicPartition

from stream_app.bench.hosting import Host, Sending
from stream_app.core.state import CustomerState
from stream_app.wire.state_codec import decode_state, encode_state

EPOCH_SECONDS = 5
"""Between recovery snapshots; its default is 10, and Quix Streams' commits come every 5."""


class CommittingSource(KafkaSource):  # type: ignore[misc]
    """Bytewax's source, which also commits to a group what its last but one snapshot held.

    Parameters
    ----------
    group
        Whose offsets are counted.
    """

    def __init__(self, group: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, add_config={"group.id": group}, **kwargs)

    def build_part(self, step_id: str, for_part: str, resume_state: int | None) -> Any:
        """Return a partition whose snapshots are told to the broker."""
        part = super().build_part(step_id, for_part, resume_state)
        take = part.snapshot
        held: list[int] = []

        def snapshot() -> int:
            offset: int = take()
            if held and held[-1] >= 0:
                part._consumer.commit(  # noqa: SLF001 - the source keeps its consumer to itself
                    offsets=[TopicPartition(part._topic, part._part_idx, held[-1])],  # noqa: SLF001 - same
                    asynchronous=True,
                )
            held[:] = [offset]
            return offset

        part.snapshot = snapshot
        return part


class CustomerLogic(StatefulBatchLogic):  # type: ignore[misc]
    """One customer: its state lives here and is encoded once for each epoch in which it changed.

    Parameters
    ----------
    host
        The engine.
    encoded
        What was recovered; None for a customer not seen before.
    """

    def __init__(self, host: Host, encoded: bytes | None) -> None:
        self._host = host
        self._state: CustomerState | None = None if encoded is None else decode_state(encoded)

    def on_batch(self, values: list[Any]) -> tuple[list[Sending], bool]:
        """Process what came for this customer in one activation."""
        host, customer_id = self._host, values[0].key.decode()
        if self._state is None:
            self._state = host.known_state(customer_id)
        entries = [
            host.decode(one.topic, one.key, one.value, one.headers, one.partition, one.offset, one.timestamp[1])
            for one in values
        ]
        partition = values[0].partition
        self._state, sendings = host.process_customer(partition, customer_id, self._state, entries)
        return sendings, StatefulBatchLogic.RETAIN

    def snapshot(self) -> bytes | None:
        """Return what recovery keeps."""
        return None if self._state is None else encode_state(self._state)


def create_flow(host: Host) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow("bench")
    source = CommittingSource(host.settings.app_id, [host.bootstrap], list(host.roles))
    keyed = op.key_on("key", op.input("in", flow, source), lambda message: message.key.decode())
    sendings = op.stateful_batch("engine", keyed, lambda encoded: CustomerLogic(host, encoded))
    messages = op.map("message", sendings, lambda pair: _message(pair[1]))
    op.output(
        "out", messages, KafkaSink([host.bootstrap], None, add_config={"acks": "all", "partitioner": "murmur2_random"})
    )
    return flow


def _message(sending: Sending) -> Any:
    encoded = sending.encoded
    return KafkaSinkMessage(
        key=encoded.key,
        value=encoded.value,
        topic=sending.topic,
        headers=list(encoded.headers),
        timestamp=max(encoded.timestamp_ms, 0),
    )


def run(host: Host) -> None:
    """Run until a signal ends the process."""
    folder = host.settings.data_dir / "recovery"
    folder.mkdir(parents=True, exist_ok=True)
    init_db_dir(folder, 1)
    cli_main(create_flow(host), epoch_interval=timedelta(seconds=EPOCH_SECONDS), recovery_config=RecoveryConfig(folder))


if __name__ == "__main__":
    run(Host())
