"""Scores and warnings as structs are what their contracts say, byte for byte."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from stream_app.core.effects import Output
from stream_app.core.outputs import TIERS, ChurnScore, ChurnWarning, HorizonRisk, Reason
from stream_app.core.times import from_ms, to_ms
from stream_app.core.told import ReasonTold, RiskTold, ScoreTold, WarningTold
from stream_app.core.topics import Topic
from stream_app.wire.encode import encode, to_json

LAST_MS = to_ms(datetime(9999, 12, 31, tzinfo=UTC))
PAIRS = [(ScoreTold, ChurnScore), (WarningTold, ChurnWarning), (ReasonTold, Reason), (RiskTold, HorizonRisk)]

names = st.text(min_size=1, max_size=30, alphabet=st.characters(codec="utf-8"))
shares = st.floats(0, 1)
# From 1e16 on pydantic writes 1e+16 and msgspec 1e16: the same number, and no shop's money.
amounts = st.floats(-1e15, 1e15)
moments = st.integers(0, LAST_MS).map(from_ms)
tiers = st.sampled_from(TIERS)
reasons = st.lists(st.builds(ReasonTold, names, names, amounts), max_size=3).map(tuple)
risks = st.lists(st.builds(RiskTold, st.integers(1, 400), shares, names), min_size=1, max_size=2).map(tuple)
scores = st.builds(
    ScoreTold,
    names,
    moments,
    shares,
    st.none() | st.tuples(shares, shares),
    st.integers(1, 400),
    tiers,
    st.none() | amounts,
    reasons,
    amounts,
    amounts,
    st.none() | st.tuples(amounts, amounts),
    st.booleans(),
    names,
    st.just(msgspec.UNSET) | risks,
)
warnings = st.builds(WarningTold, names, names, moments, tiers, tiers, shares, reasons, names)


@pytest.mark.parametrize(("told", "contract"), PAIRS)
def test_a_struct_has_the_fields_of_its_contract(told: type[msgspec.Struct], contract: type[BaseModel]) -> None:
    assert told.__struct_fields__ == tuple(contract.model_fields)


@given(scores | warnings, st.sampled_from(["", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]))
def test_the_bytes_are_those_of_the_contract(body: ScoreTold | WarningTold, trace: str) -> None:
    model, topic = (ChurnScore, Topic.SCORES) if isinstance(body, ScoreTold) else (ChurnWarning, Topic.WARNINGS)
    fields = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    fields = {name: _of_contract(value) for name, value in fields.items()}
    contract = model.model_validate(fields)

    record = encode(Output(topic, body.customer_id, body, trace))

    assert record.value == to_json(contract)
    assert record == encode(Output(topic, body.customer_id, contract, trace))
    assert model.model_validate(json.loads(record.value or b"")) == contract


def _of_contract(value: object) -> object:
    if isinstance(value, tuple):
        return tuple(_of_contract(each) for each in value)
    return msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else value
