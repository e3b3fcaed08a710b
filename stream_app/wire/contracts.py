"""The contracts of all topics as data: which model, which version, and the JSON Schema that follows from it.

The pydantic models are the single definition. Files in `schemas/` are generated from what stands here.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from pydantic import BaseModel

from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.model_events import ModelEvent
from stream_app.core.outputs import (
    ChurnScore,
    ChurnWarning,
    DeadLetter,
    DecisionOutcome,
    Intervention,
    SuppressedIntervention,
)
from stream_app.core.topics import Topic
from stream_app.wire.decode import MODELS

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Direction = Literal["in", "out", "internal"]
Format = Literal["json", "cloudevents+json", "headers", "msgpack", "as-source", "snapshot"]


class Contract(NamedTuple):
    """What one topic carries. `model` is None where the payload is described elsewhere, as `note` says."""

    topic: Topic
    direction: Direction
    payload: Format
    key: str
    cleanup: Literal["delete", "compact"]
    description: str
    model: type[BaseModel] | type[msgspec.Struct] | None
    version: int = 1
    note: str = ""


_OUTPUTS: Mapping[Topic, type[BaseModel]] = {
    Topic.INTERVENTIONS: Intervention,
    Topic.SCORES: ChurnScore,
    Topic.WARNINGS: ChurnWarning,
    Topic.SUPPRESSED: SuppressedIntervention,
    Topic.DEAD_LETTERS: DeadLetter,
}

_TOMBSTONE_NOTE = "A record without a value (tombstone) erases the customer in its key."
_CLOUDEVENTS_NOTE = (
    "CloudEvents 1.0, Kafka binding, binary mode: this is the value, the attributes are headers with the prefix ce_ "
    "(structured mode by STREAM_APP_CLOUDEVENTS_MODE). ce_source and ce_id together are the idempotency key."
)
_DEAD_LETTER_NOTE = (
    "Key, value and headers are those of the refused record, byte for byte; the fields of this schema are further "
    "headers with the prefix dlq_, each as text."
)

CONTRACTS: tuple[Contract, ...] = (
    Contract(Topic.CLICKSTREAM, "in", "json", "customer_id", "delete", "Steps of visits.", MODELS[Topic.CLICKSTREAM]),
    Contract(
        Topic.ORDERS, "in", "json", "customer_id", "delete", "Orders, cancellations, returns.", MODELS[Topic.ORDERS]
    ),
    Contract(
        Topic.REVIEWS,
        "in",
        "json",
        "customer_id",
        "delete",
        "What customers say: reviews, feedback, complaints, chats, survey answers.",
        MODELS[Topic.REVIEWS],
    ),
    Contract(
        Topic.CUSTOMERS,
        "in",
        "json",
        "customer_id",
        "compact",
        "The newest profile and consent of each customer.",
        MODELS[Topic.CUSTOMERS],
        note=_TOMBSTONE_NOTE,
    ),
    Contract(
        Topic.FEEDBACK,
        "in",
        "json",
        "customer_id",
        "delete",
        "What became of an intervention, from the messaging service.",
        MODELS[Topic.FEEDBACK],
    ),
    Contract(
        Topic.PRODUCTS,
        "in",
        "json",
        "product_id",
        "compact",
        "Optional: the newest facts of each product.",
        MODELS[Topic.PRODUCTS],
    ),
    Contract(
        Topic.CALENDAR,
        "in",
        "json",
        "date",
        "compact",
        "Optional: holidays and promotions.",
        MODELS[Topic.CALENDAR],
    ),
    Contract(
        Topic.INTERVENTIONS,
        "out",
        "cloudevents+json",
        "customer_id",
        "delete",
        "Decisions to act, for messaging services.",
        _OUTPUTS[Topic.INTERVENTIONS],
        note=_CLOUDEVENTS_NOTE,
    ),
    Contract(
        Topic.SCORES,
        "out",
        "json",
        "customer_id",
        "compact",
        "The latest churn score of each customer, with reasons.",
        _OUTPUTS[Topic.SCORES],
        note="A record without a value (tombstone): the customer was erased or opted out of profiling.",
    ),
    Contract(
        Topic.WARNINGS,
        "out",
        "json",
        "customer_id",
        "delete",
        "A customer changed tier: the early warning.",
        _OUTPUTS[Topic.WARNINGS],
    ),
    Contract(
        Topic.SUPPRESSED,
        "out",
        "json",
        "customer_id",
        "delete",
        "Every decision not to act, with its reason; for the holdout, what would have been done.",
        _OUTPUTS[Topic.SUPPRESSED],
    ),
    Contract(
        Topic.REROUTED,
        "internal",
        "as-source",
        "customer_id",
        "delete",
        "Records that came without a key, under another key or on another partition, re-published by customer.",
        None,
        note="The payload of the source topic; headers stream-app-source-* tell topic, partition, offset and epoch.",
    ),
    Contract(
        Topic.TICKS,
        "internal",
        "json",
        "partition",
        "delete",
        "The passing of idle time under the wall clock.",
        MODELS[Topic.TICKS],
    ),
    Contract(
        Topic.TRAINING,
        "internal",
        "msgpack",
        "partition",
        "delete",
        "Matured observations with their labels, for the trainer.",
        TrainingExample,
    ),
    Contract(
        Topic.OUTCOMES,
        "internal",
        "json",
        "customer_id",
        "delete",
        "Matured decisions with their outcomes, for lift and policy learning.",
        DecisionOutcome,
    ),
    Contract(
        Topic.POPULATION,
        "internal",
        "msgpack",
        "partition/day",
        "compact",
        "Additive daily sums of one partition, for the trainer.",
        PopulationDay,
    ),
    Contract(
        Topic.SNAPSHOTS,
        "internal",
        "snapshot",
        "name/version, and pointers; policy/learned; report/name",
        "compact",
        "Published model weights and the learned policy, numbers only, and the trainer's reports.",
        None,
        note="Encoded and verified by stream_app.learning.snapshot and decisions.policy_record; never a pickle.",
    ),
    Contract(
        Topic.MODEL_EVENTS,
        "out",
        "json",
        "event_id",
        "delete",
        "The life of the models: reviews, proposals, promotions, rollbacks, and what people asked for.",
        ModelEvent,
        note="One partition, kept for ever: the audit trail. An event may come twice with the same event_id.",
    ),
    Contract(
        Topic.DEAD_LETTERS,
        "out",
        "headers",
        "key of the source record",
        "delete",
        "Records that could not be used, each with its reason.",
        _OUTPUTS[Topic.DEAD_LETTERS],
        note=_DEAD_LETTER_NOTE,
    ),
)
"""One contract a topic, in the order of `Topic`'s directions: what comes in, what goes out, what stays inside."""


def schema_id(topic: Topic, version: int) -> str:
    """Return the `$id` of a schema, which is also the CloudEvents `dataschema`."""
    return f"urn:stream-app:schema:{topic.value}:v{version}"


def schema_of(contract: Contract) -> dict[str, Any] | None:
    """Return the JSON Schema (2020-12) of a contract, or None where its payload is described elsewhere.

    Inputs are described as they are accepted, outputs as they are written: there every field is always present. Output
    schemas leave room for fields to come, although we never write unknown ones: subscribers must tolerate additions.
    """
    model = contract.model
    if model is None:
        return None
    if issubclass(model, BaseModel):
        mode: Literal["validation", "serialization"] = "validation" if contract.direction == "in" else "serialization"
        body = model.model_json_schema(mode=mode)
    else:
        body = _inline_root(msgspec.json.schema(model))
    if contract.direction != "in":
        _leave_room(body)
    return {"$schema": DIALECT, "$id": schema_id(contract.topic, contract.version), **body}


def _inline_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Put msgspec's referenced root at the top, as pydantic does."""
    name = schema["$ref"].rsplit("/", 1)[-1]
    definitions = dict(schema["$defs"])
    root: dict[str, Any] = definitions.pop(name)
    return {**root, **({"$defs": definitions} if definitions else {})}


def _leave_room(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
        for child in node.values():
            _leave_room(child)
    elif isinstance(node, list):
        for child in node:
            _leave_room(child)
