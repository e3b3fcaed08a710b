"""What a state says survives its bytes, whatever it says; what nobody asked for comes back as the bytes that it was."""

import base64
import json
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.packed import PackedLedger
from stream_app.core.state import (
    CLICK_STEPS,
    ClicksState,
    CustomerState,
    Observation,
    OrdersState,
    SourceState,
    new_state,
)
from stream_app.core.times import DAY_MS
from stream_app.engine.calendar import next_due_ms
from stream_app.wire.older_states import StateRow
from stream_app.wire.state_codec import StateCodecError, decode_state, encode_state
from stream_app.wire.state_rows import CustomerRow, block_of_orders, block_of_score
from tests.support.engines import run
from tests.support.logs import event_logs
from tests.support.states import customer_states

GOLDEN = Path(__file__).with_name("golden_states.json")
"""The same three customers in every version, base64. A version's bytes are never written anew."""


@given(state=customer_states())
def test_states_of_every_shape_survive(state: CustomerState) -> None:
    encoded = encode_state(state)
    assert decode_state(encoded) == state


@given(state=customer_states())
def test_the_same_state_has_the_same_bytes_unpacked_or_not(state: CustomerState) -> None:
    encoded = encode_state(state)
    decoded = decode_state(encoded)
    assert encode_state(decoded) == encoded
    decoded.parts()
    assert decoded.packed_ledger is None
    assert encode_state(decoded) == encoded


@given(state=customer_states())
def test_timers_are_told_the_same_of_what_is_packed(state: CustomerState) -> None:
    decoded = decode_state(encode_state(state))
    assert next_due_ms(decoded, 30 * DAY_MS) == next_due_ms(state, 30 * DAY_MS)
    assert (decoded.packed_pending is None, decoded.packed_ledger is None) == (not state.pending, state.ledger is None)
    assert decoded.oldest_pending_ms == state.oldest_pending_ms
    assert decoded.oldest_draw_ms == state.oldest_draw_ms
    assert decoded.retry_at_ms == state.retry_at_ms


@given(log=event_logs(30))
def test_folds_leave_numbers_that_their_bytes_hold(log: list) -> None:  # type: ignore[type-arg]
    for state in run(log, []).live().values():
        decoded = decode_state(encode_state(state))
        assert msgspec.msgpack.encode(decoded.parts()) == msgspec.msgpack.encode(state.parts())


def test_golden_states_of_every_version_decode_to_the_same() -> None:
    golden = {version: _golden(version) for version in json.loads(GOLDEN.read_text())}
    assert {state[0] for states in golden.values() for state in states} == set(map(int, golden))
    first, second, third = ([decode_state(state) for state in golden[version]] for version in ("1", "2", "3"))
    assert first == second == third
    ledger = second[2].ledger
    assert ledger is not None
    assert [(each.action, each.channel) for each in ledger.would_be] == [
        ("own-action", "onsite"),
        ("own-action", "letter"),
    ]
    assert ledger.standing_told == {"consent": 1_769_000_000_000, "own-reason": 1_769_000_100_000}


def test_counts_of_clicks_of_older_versions_are_rounded_once() -> None:
    older = [msgspec.msgpack.decode(state[1:], type=StateRow).clicks for state in _golden("2")]
    kept = [decode_state(state).clicks for state in _golden("2")]
    counted = 0
    for before, after in zip(older, kept, strict=True):
        for field in msgspec.structs.fields(ClicksState):
            if before is None or after is None:
                continue
            was, now = getattr(before, field.name), getattr(after, field.name)
            if isinstance(was, float):
                counted += was > 0
                assert abs(now / CLICK_STEPS - was) <= 0.5 / CLICK_STEPS
            else:
                assert now == was
    assert counted


@given(log=event_logs(30))
def test_what_a_run_leaves_fits_its_blocks(log: list) -> None:  # type: ignore[type-arg]
    for state in run(log, []).live().values():
        assert state.orders is None or isinstance(block_of_orders(state.orders), bytes)
        assert state.score is None or isinstance(block_of_score(state.score), bytes)
        decoded = decode_state(encode_state(state))
        assert decoded.packed_pending is None or decoded.packed_pending.in_columns


def test_orders_beyond_their_block_survive() -> None:
    huge = OrdersState(first_ms=5, last_ms=7, completed=70_000, days=1, total_amount=0.1, recent_products=("a",))
    state = new_state()
    state.orders = huge
    assert decode_state(encode_state(state)) == state


@given(seed=st.integers(0, 2**32), count=st.integers(1, 16))
def test_waiting_observations_survive_however_many_there_are(seed: int, count: int) -> None:
    random = Random(seed)
    row = random.randbytes(90)
    pending = [
        Observation(at_ms=1_780_000_000_000 + number * DAY_MS, kind=1, packed=row[:40] + random.randbytes(50))
        for number in range(count)
    ]
    state = new_state()
    state.pending = pending
    decoded = decode_state(encode_state(state))
    assert decoded.packed_pending is not None
    assert decoded.packed_pending.is_squeezed == (count > 4)
    assert decoded.pending == pending
    assert len(encode_state(state)) < count * 125 + 50


def test_rows_have_a_place_for_every_part() -> None:
    parts = {field.encode_name for field in msgspec.structs.fields(CustomerState)} - {"packed_pending", "packed_ledger"}
    assert set(CustomerRow.__struct_fields__) - {"model_version", "bought"} == parts


@pytest.mark.parametrize("damaged", [b"\1", b"\1" * 300])
def test_damaged_blocks_are_refused(damaged: bytes) -> None:
    row = CustomerRow(SourceState(), score=damaged)
    with pytest.raises(StateCodecError, match="damaged"):
        decode_state(b"\x03" + msgspec.msgpack.encode(row))
    row = CustomerRow(SourceState(), orders=b"\1" * 300)
    with pytest.raises(StateCodecError, match="damaged"):
        decode_state(b"\x03" + msgspec.msgpack.encode(row))


def test_damaged_packed_parts_are_refused_when_asked_for() -> None:
    state = new_state()
    state.packed_ledger = PackedLedger(0, b"\x91\x05")
    with pytest.raises(msgspec.MsgspecError):
        _ = state.ledger


def _golden(version: str) -> list[bytes]:
    return list(map(base64.b64decode, json.loads(GOLDEN.read_text())[version]))
