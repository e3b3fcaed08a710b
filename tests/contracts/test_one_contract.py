"""Decoder and JSON Schema are one contract: what the decoder takes, the schema allows, and mostly the reverse."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from stream_app.core.records import Record
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.wire.contracts import CONTRACTS, schema_of
from stream_app.wire.decode import MODELS, decode
from stream_app.wire.rejection import Rejection

VALIDATORS = {
    contract.topic: Draft202012Validator(schema_of(contract) or {})
    for contract in CONTRACTS
    if contract.topic in CUSTOMER_TOPICS
}
BASE: dict[Topic, dict[str, Any]] = {
    Topic.CLICKSTREAM: {"event_type": "page_view"},
    Topic.ORDERS: {"order_id": "o1", "amount": 5},
    Topic.REVIEWS: {"text": "fine"},
    Topic.CUSTOMERS: {},
    Topic.FEEDBACK: {"intervention_id": "i1", "kind": "sent"},
}
COMMON = {"event_id": "e1", "customer_id": "c1", "timestamp": "2026-03-14T18:22:05Z"}
STRICTER_THAN_THE_SCHEMA = {
    "unknown_currency",
    "bad_timestamp",
    "naive_timestamp",
    "far_past",
    "far_future",
    "too_deep",
}
"""What a schema cannot say: circulating currencies, zones, and limits of time and depth."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**13), 10**13)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=300)
    | st.sampled_from(["EUR", "completed", "en", "2026-03-14T18:22:05Z", "1990-02-03", "chat", ""])
)
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(st.text(max_size=70), SCALARS, max_size=3)


@given(st.data(), st.sampled_from(CUSTOMER_TOPICS), VALUES)
def test_decoder_and_schema_agree(data: st.DataObject, topic: Topic, value: Any) -> None:
    field = data.draw(st.sampled_from(sorted(MODELS[topic].model_fields)))
    agree(topic, field, value)


@given(st.sampled_from(["product_id", "quantity", "unit_price", "category", "discount"]), VALUES)
@example("quantity", 0)
def test_decoder_and_schema_agree_on_items(field: str, value: Any) -> None:
    item = {"product_id": "p", "quantity": 1, "unit_price": 2.5, field: value}
    agree(Topic.ORDERS, "items", [item])


@pytest.mark.parametrize("field", ["marketing", "email", "profiling"])
@pytest.mark.parametrize("value", [True, False, None, "yes", 1, []])
def test_decoder_and_schema_agree_on_consent(field: str, value: Any) -> None:
    agree(Topic.CUSTOMERS, "consent", {field: value})


def agree(topic: Topic, field: str, value: Any) -> None:
    event = {**COMMON, **BASE[topic], field: value}
    decoded = decode(topic, None, json.dumps(event).encode(), None, 0, 0, 0)
    allowed = VALIDATORS[topic].is_valid(event)

    if isinstance(decoded, Record):
        assert allowed, f"{field}={value!r} is taken, and the schema does not allow it"
    else:
        assert isinstance(decoded, Rejection)
        assert not allowed or decoded.code in STRICTER_THAN_THE_SCHEMA, decoded
