"""The topics as an AsyncAPI 3 document, for catalogues and code generators; payloads refer to the JSON Schema files."""

from collections.abc import Iterable
from typing import Any

from stream_app.wire.contracts import Contract
from stream_app.wire.encode import INTERVENTION_SCHEMA, INTERVENTION_TYPE

_SCHEMA_FORMAT = "application/schema+json;version=2020-12"

_CLOUD_EVENT_HEADERS: dict[str, Any] = {
    "type": "object",
    "required": ["content-type", "ce_id", "ce_source", "ce_specversion", "ce_type", "ce_time", "ce_subject"],
    "properties": {
        "content-type": {"type": "string", "const": "application/json"},
        "ce_id": {"type": "string", "description": "The intervention_id; with ce_source the idempotency key."},
        "ce_source": {"type": "string", "format": "uri-reference"},
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_type": {"type": "string", "const": INTERVENTION_TYPE},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_subject": {"type": "string", "description": "The customer_id."},
        "ce_dataschema": {"type": "string", "const": INTERVENTION_SCHEMA},
        "ce_partitionkey": {"type": "string"},
        "ce_traceparent": {"type": "string"},
    },
}


def describe(contracts: Iterable[Contract], app_version: str) -> dict[str, Any]:
    """Return the AsyncAPI document of the public topics.

    Parameters
    ----------
    contracts
        All contracts; internal ones are left out.
    app_version
        Version of stream-app, the document's own.

    References
    ----------
    AsyncAPI 3.0.0; operations are seen from stream-app: it receives inputs and sends outputs.
    """
    public = [contract for contract in contracts if contract.direction != "internal" and contract.model is not None]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "stream-app",
            "version": app_version,
            "description": "Shop events in; churn scores, warnings and interventions out. Topic names are settings.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {contract.topic.value: _channel(contract) for contract in public},
        "operations": {_operation_name(contract): _operation(contract) for contract in public},
    }


def schema_file(contract: Contract) -> str:
    """Return where the JSON Schema of a contract lies, relative to `schemas/`."""
    return f"json/{contract.topic.value}.v{contract.version}.schema.json"


def _operation_name(contract: Contract) -> str:
    return f"{'receive' if contract.direction == 'in' else 'send'}-{contract.topic.value}"


def _operation(contract: Contract) -> dict[str, Any]:
    return {
        "action": "receive" if contract.direction == "in" else "send",
        "channel": {"$ref": f"#/channels/{contract.topic.value}"},
        "summary": contract.description,
    }


def _channel(contract: Contract) -> dict[str, Any]:
    message: dict[str, Any] = {
        "name": f"{contract.topic.value}.v{contract.version}",
        "title": contract.description,
        "contentType": "application/json",
        "bindings": {"kafka": {"key": {"type": "string", "description": contract.key}}},
    }
    reference = {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": schema_file(contract)}}
    if contract.payload == "headers":
        message["headers"] = reference
        message["contentType"] = "application/octet-stream"
    else:
        message["payload"] = reference
    if contract.payload == "cloudevents+json":
        message["headers"] = _CLOUD_EVENT_HEADERS
    return {
        "address": contract.topic.value,
        "description": " ".join(filter(None, (contract.description, contract.note))),
        "messages": {f"v{contract.version}": message},
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [contract.cleanup]}}},
    }
