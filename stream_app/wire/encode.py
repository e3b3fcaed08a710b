"""Engine outputs to Kafka records: CloudEvents for interventions, JSON for the other public topics, msgpack inside.

The same output always gives the same bytes: that is what lets a worker send again after a crash,
under the same idempotency key.
"""

from datetime import UTC, datetime

import msgspec
from pydantic import BaseModel

from stream_app.core.effects import Output, PopulationDay, TrainingExample
from stream_app.core.outputs import DeadLetter, Intervention
from stream_app.core.times import DAY_MS, iso, to_ms
from stream_app.core.told import ScoreTold, WarningTold
from stream_app.core.topics import Topic
from stream_app.wire.headers import TRACEPARENT, Headers

INTERVENTION_TYPE = "stream-app.intervention.v1"
"""CloudEvents `type` of a decision to act."""

INTERVENTION_SCHEMA = "urn:stream-app:schema:interventions:v1"
"""CloudEvents `dataschema`: the `$id` of schemas/json/interventions.v1.schema.json."""

_JSON = b"application/json"
_CLOUDEVENTS_JSON = b"application/cloudevents+json; charset=UTF-8"
_MSGPACK = b"application/msgpack"
_CONTENT_TYPE = "content-type"
_JSON_HEADER = (_CONTENT_TYPE, _JSON)

_tell = msgspec.json.Encoder().encode
_pack = msgspec.msgpack.Encoder(order="deterministic").encode
_unpack_example = msgspec.msgpack.Decoder(TrainingExample).decode
_unpack_day = msgspec.msgpack.Decoder(PopulationDay).decode


class Encoded(msgspec.Struct, frozen=True):
    """One Kafka record, ready to send; the shell turns `topic` into the name that it has on this broker."""

    topic: Topic
    key: bytes
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int = -1
    """Event time, to be the record's timestamp; -1 where the output has none (let the producer set it)."""


class EncodePolicy(msgspec.Struct, frozen=True):
    """How public events are dressed; the shell makes it from its settings."""

    source: str = "urn:stream-app:stream-app"
    """CloudEvents `source`: with the id, a subscriber's idempotency key. It names the app id and must never change."""
    structured: bool = False
    """Put the whole CloudEvent into the value (structured mode), not its attributes into headers (binary)."""


DEFAULT_ENCODING = EncodePolicy()


def encode(output: Output, policy: EncodePolicy = DEFAULT_ENCODING) -> Encoded:
    """Return the record of one engine output.

    Parameters
    ----------
    output
        What the engine wants sent; a body of None is a tombstone.
    policy
        CloudEvents source and mode.
    """
    key = output.key.encode("utf-8")
    body = output.body
    trace = ((TRACEPARENT, output.traceparent.encode("ascii")),) if output.traceparent else ()
    match body:
        case ScoreTold() | WarningTold():
            return Encoded(output.topic, key, _tell(body), (_JSON_HEADER, *trace), to_ms(body.event_time))
        case None:
            return Encoded(output.topic, key, None, trace)
        case Intervention():
            return _cloud_event(output, body, key, policy)
        case TrainingExample():
            return Encoded(output.topic, key, _pack(body), ((_CONTENT_TYPE, _MSGPACK), *trace), body.due_ms)
        case PopulationDay():
            return Encoded(output.topic, key, _pack(body), ((_CONTENT_TYPE, _MSGPACK), *trace), body.day * DAY_MS)
        case _:
            return Encoded(output.topic, key, to_json(body), (_JSON_HEADER, *trace), _event_ms(body))


def encode_dead_letter(
    letter: DeadLetter, key: bytes | None, value: bytes | None, headers: Headers | None
) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Return key, value and headers of a dead letter: the source record untouched, the reason in `dlq_` headers.

    Parameters
    ----------
    letter
        What was wrong and where the record stood.
    key, value, headers
        The refused record as it stands in the log. Older `dlq_` headers among them are replaced.
    """
    told = letter.model_dump(mode="json", exclude_none=True)
    own = [(f"dlq_{name}", str(item).encode("utf-8")) for name, item in told.items()]
    kept = [(name, item) for name, item in headers or () if not name.startswith("dlq_")]
    return key, value, [*kept, *own]


def decode_dead_letter(headers: Headers) -> DeadLetter:
    """Return what `encode_dead_letter` wrote.

    Raises
    ------
    ValueError
        When the `dlq_` headers are incomplete (pydantic's `ValidationError`).
    """
    return DeadLetter.model_validate_strings(
        {name.removeprefix("dlq_"): item.decode("utf-8") for name, item in headers if item and name.startswith("dlq_")}
    )


def decode_example(value: bytes) -> TrainingExample:
    """Return a training example from its record.

    Raises
    ------
    ValueError
        When the bytes are no training example (msgspec's `ValidationError` or `DecodeError`).
    """
    return _unpack_example(value)


def decode_population_day(value: bytes) -> PopulationDay:
    """Return a partition's sums of one day from their record.

    Raises
    ------
    ValueError
        When the bytes are no such sums (msgspec's `ValidationError` or `DecodeError`).
    """
    return _unpack_day(value)


def to_json(body: BaseModel) -> bytes:
    """Return a body as JSON, all fields present, in the order of the model."""
    text: bytes = body.__pydantic_serializer__.to_json(body)
    return text


def _event_ms(body: BaseModel) -> int:
    at = getattr(body, "event_time", None) or getattr(body, "matured_at", None)
    return to_ms(at) if isinstance(at, datetime) else -1


def _utc(moment: datetime) -> str:
    return iso(to_ms(moment.astimezone(UTC)))


def _cloud_event(output: Output, body: Intervention, key: bytes, policy: EncodePolicy) -> Encoded:
    """Dress an intervention as a CloudEvent.

    References
    ----------
    CloudEvents 1.0.2, its Kafka protocol binding (binary and structured content mode) and its JSON format.
    """
    attributes = {
        "id": body.intervention_id,
        "source": policy.source,
        "specversion": "1.0",
        "type": INTERVENTION_TYPE,
        "time": _utc(body.event_time),
        "subject": body.customer_id,
        "dataschema": INTERVENTION_SCHEMA,
        "partitionkey": output.key,
    }
    if output.traceparent:
        attributes["traceparent"] = output.traceparent
    data = to_json(body)
    at_ms = to_ms(body.event_time)
    if policy.structured:
        envelope = {**attributes, "datacontenttype": "application/json", "data": msgspec.Raw(data)}
        return Encoded(output.topic, key, msgspec.json.encode(envelope), ((_CONTENT_TYPE, _CLOUDEVENTS_JSON),), at_ms)
    dressed = tuple((f"ce_{name}", value.encode("utf-8")) for name, value in attributes.items())
    trace = ((TRACEPARENT, output.traceparent.encode("ascii")),) if output.traceparent else ()
    return Encoded(output.topic, key, data, (_JSON_HEADER, *dressed, *trace), at_ms)
