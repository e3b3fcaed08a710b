"""Quix Streams: the three topics concatenated, one stateful step by customer key, RocksDB state with its changelog.

State can be reached for the key of the message alone, so what is due for other customers fires with their next event.
Checkpoints come every five seconds, as is its default; they flush the producer and the changelog before they commit.
"""

from typing import Any

from quixstreams import Application, State, message_context
from quixstreams.models import SerializationContext, Serializer

from stream_app.bench.hosting import Host, Sending
from stream_app.wire.state_codec import decode_state, encode_state

STATE_KEY = "state"


class EncodedSerializer(Serializer):  # type: ignore[misc]
    """The value of a `Sending` is bytes already."""

    def __call__(self, value: Sending, ctx: SerializationContext) -> bytes | None:  # noqa: ARG002 - its protocol
        """Return the bytes."""
        return value.encoded.value


def run(host: Host) -> None:
    """Run until SIGTERM."""
    app = Application(
        broker_address=host.bootstrap,
        consumer_group=host.settings.app_id,
        auto_offset_reset="earliest",
        state_dir=host.settings.data_dir / "state",
        loglevel="WARNING",
    )
    raw = {"key_deserializer": "bytes", "value_deserializer": "bytes"}
    frames = [app.dataframe(app.topic(name, **raw)) for name in host.roles]
    outputs: dict[str, Any] = {}

    def topic_of(name: str) -> Any:
        if name not in outputs:
            outputs[name] = app.topic(name, key_serializer="bytes", value_serializer=EncodedSerializer())
        return outputs[name]

    def step(value: bytes, key: bytes, timestamp_ms: int, headers: Any, state: State) -> list[Sending]:
        context = message_context()
        entry = host.decode(context.topic, key, value, headers, context.partition, context.offset, timestamp_ms)
        customer_id = key.decode()
        encoded = state.get_bytes(STATE_KEY)
        known = decode_state(encoded) if encoded is not None else host.known_state(customer_id)
        changed, sendings = host.process_customer(context.partition, customer_id, known, [entry])
        state.set_bytes(STATE_KEY, encode_state(changed))
        return sendings

    merged = frames[0].concat(frames[1]).concat(frames[2])
    steps = merged.apply(step, stateful=True, metadata=True, expand=True)
    steps = steps.set_headers(lambda sending, _key, _at, _headers: list(sending.encoded.headers))
    steps = steps.set_timestamp(lambda sending, _key, at_ms, _headers: max(sending.encoded.timestamp_ms, at_ms))
    steps.to_topic(
        lambda sending, _key, _at, _headers: topic_of(sending.topic), key=lambda sending: sending.encoded.key
    )
    app.run()


if __name__ == "__main__":
    run(Host())
