"""Outputs to records: CloudEvents for interventions, JSON and msgpack for the rest, always the same bytes."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.effects import Output, PopulationDay, TrainingExample
from stream_app.core.outputs import ChurnScore, Content, DeadLetter, Intervention
from stream_app.core.times import to_ms
from stream_app.core.topics import Topic
from stream_app.wire.encode import (
    INTERVENTION_SCHEMA,
    INTERVENTION_TYPE,
    EncodePolicy,
    decode_dead_letter,
    decode_example,
    decode_population_day,
    encode,
    encode_dead_letter,
)

AT = datetime(2026, 5, 24, 6, 0, 0, 120_000, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
STRUCTURED = EncodePolicy(source="urn:stream-app:shop", structured=True)


def intervention(customer_id: str = "c-1") -> Intervention:
    return Intervention(
        intervention_id="iv-1",
        customer_id=customer_id,
        action="coupon",
        action_kind="coupon",
        channel="email",
        content=Content(template="t", language="en", parameters={"percent": 15, "code": "X"}, products=("p1",)),
        tier="high",
        probability=0.7,
        arm="treatment",
        propensity=0.6,
        model_version="m",
        policy_version="1",
        catalogue_version="c",
        trigger="order",
        event_time=AT,
        decided_at=AT,
        expires_at=AT,
    )


def output(body: Any, topic: Topic = Topic.INTERVENTIONS, trace: str = "", key: str = "c-1") -> Output:
    return Output(topic, key, body, trace)


def test_an_intervention_is_a_binary_cloud_event() -> None:
    record = encode(output(intervention(), trace=TRACE), EncodePolicy(source="urn:stream-app:shop"))

    assert record.topic is Topic.INTERVENTIONS
    assert (record.key, record.timestamp_ms) == (b"c-1", to_ms(AT))
    assert record.headers == (
        ("content-type", b"application/json"),
        ("ce_id", b"iv-1"),
        ("ce_source", b"urn:stream-app:shop"),
        ("ce_specversion", b"1.0"),
        ("ce_type", INTERVENTION_TYPE.encode()),
        ("ce_time", b"2026-05-24T06:00:00.120Z"),
        ("ce_subject", b"c-1"),
        ("ce_dataschema", INTERVENTION_SCHEMA.encode()),
        ("ce_partitionkey", b"c-1"),
        ("ce_traceparent", TRACE.encode()),
        ("traceparent", TRACE.encode()),
    )
    assert Intervention.model_validate_json(record.value or b"") == intervention()


def test_the_structured_form_tells_the_same_event() -> None:
    binary, structured = encode(output(intervention())), encode(output(intervention()), STRUCTURED)
    envelope = json.loads(structured.value or b"")

    assert structured.headers == (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
    assert envelope["data"] == json.loads(binary.value or b"")
    assert (envelope["id"], envelope["source"], envelope["specversion"]) == ("iv-1", "urn:stream-app:shop", "1.0")
    assert set(envelope) - {"data", "datacontenttype"} == {
        name.removeprefix("ce_") for name, _ in binary.headers if name.startswith("ce_")
    }


def test_attribute_names_follow_cloud_events() -> None:
    names = [name.removeprefix("ce_") for name, _ in encode(output(intervention(), trace=TRACE)).headers[1:-1]]

    assert all(name.isalnum() and name.islower() and len(name) <= 20 for name in names)


@given(st.text(min_size=1, max_size=40, alphabet=st.characters(codec="utf-8")), st.booleans())
def test_any_customer_id_survives(customer_id: str, structured: bool) -> None:
    policy = EncodePolicy(structured=structured)
    record = encode(output(intervention(customer_id), key=customer_id), policy)
    again = encode(output(intervention(customer_id), key=customer_id), policy)

    data = json.loads(record.value or b"")
    assert (data["data"] if structured else data)["customer_id"] == customer_id
    assert record.key.decode() == customer_id
    assert record == again


def test_scores_are_json_with_every_field() -> None:
    score = ChurnScore(
        customer_id="c-1", event_time=AT, probability=0.5, horizon_days=30, tier="medium", model_version="m"
    )
    record = encode(output(score, Topic.SCORES, TRACE))

    assert record.headers == (("content-type", b"application/json"), ("traceparent", TRACE.encode()))
    # Whoever configured no further horizons finds no trace of them.
    assert set(json.loads(record.value or b"")) == set(ChurnScore.model_fields) - {"further_horizons"}
    assert record.timestamp_ms == to_ms(AT)


def test_a_missing_body_is_a_tombstone() -> None:
    assert encode(output(None, Topic.SCORES)).value is None


EXAMPLES = st.builds(
    TrainingExample,
    example_id=st.text(max_size=20),
    customer_id=st.text(max_size=20),
    partition=st.integers(0, 1_000),
    sequence=st.integers(0, 2**60),
    at_ms=st.integers(0, 2**50),
    due_ms=st.integers(0, 2**50),
    horizon_days=st.integers(1, 365),
    kind=st.integers(0, 1),
    churned=st.booleans(),
    weight=st.floats(0, 1e6),
    features=st.binary(max_size=200),
    features_hash=st.text(max_size=16),
    probability=st.floats(0, 1),
    model_version=st.text(max_size=40),
)


@given(EXAMPLES)
def test_examples_come_back_as_they_went(example: TrainingExample) -> None:
    record = encode(output(example, Topic.TRAINING))

    assert decode_example(record.value or b"") == example
    assert record.timestamp_ms == example.due_ms


@given(st.dictionaries(st.text(max_size=12), st.floats(allow_nan=False)))
def test_population_sums_come_back_and_do_not_depend_on_their_order(sums: dict[str, float]) -> None:
    day = PopulationDay(3, 20_000, 7, sums)
    turned = PopulationDay(3, 20_000, 7, dict(reversed(sums.items())))
    record = encode(output(day, Topic.POPULATION))

    assert decode_population_day(record.value or b"") == day
    assert encode(output(turned, Topic.POPULATION)) == record


@pytest.mark.parametrize("value", [b"", b"\xc1", b"{}", msgspec.msgpack.encode({"partition": "x"})])
def test_foreign_bytes_are_no_examples(value: bytes) -> None:
    for decoder in (decode_example, decode_population_day):
        with pytest.raises(ValueError, match=r"."):
            decoder(value)


@given(
    st.binary() | st.none(), st.binary() | st.none(), st.lists(st.tuples(st.text(max_size=5), st.binary() | st.none()))
)
def test_a_dead_letter_keeps_the_record_byte_for_byte(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    letter = DeadLetter(
        topic="orders", partition=3, offset=17, reason="not_json", detail="naïve “quotes”", recorded_at=AT
    )
    kept_key, kept_value, kept_headers = encode_dead_letter(letter, key, value, headers)

    assert (kept_key, kept_value, kept_headers[: len(headers)]) == (key, value, headers)
    assert decode_dead_letter(kept_headers) == letter


def test_a_dead_letter_of_a_dead_letter_tells_the_newer_reason() -> None:
    first = DeadLetter(topic="orders", partition=3, offset=17, reason="not_json", detail="a")
    second = DeadLetter(topic="rerouted", partition=1, offset=2, reason="too_large", detail="b")
    _, _, headers = encode_dead_letter(first, b"k", b"v", [])
    _, _, headers = encode_dead_letter(second, b"k", b"v", headers)

    assert decode_dead_letter(headers) == second
