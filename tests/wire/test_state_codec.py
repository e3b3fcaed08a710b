import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.partition import PartitionState
from stream_app.core.state import ClicksState, CustomerState, OrdersState, SourceState, new_state
from stream_app.core.topics import Topic
from stream_app.wire.partition_record import (
    ENVELOPE_BYTES,
    PARTITION,
    STATE,
    ChangelogFormatError,
    PartitionRecord,
    PendingSend,
    SourcePosition,
    decode_partition_record,
    encode_partition_record,
    envelope,
    read_envelope,
)
from stream_app.wire.state_codec import StateCodecError, decode_state, encode_state
from tests.support.engines import run
from tests.support.logs import event_logs


@given(log=event_logs(30))
def test_states_of_real_runs_survive_encoding(log: list) -> None:  # type: ignore[type-arg]
    for state in run(log, []).live().values():
        assert decode_state(encode_state(state)) == state


def test_a_state_of_the_first_release_decodes() -> None:
    # Version 1 as it was first written: fewer fields in every sub-state than today, never other ones.
    first = [[{3: 7}, {3: b"ring"}], [1_000, 2_000, 2, 2, 1, 0.5], [500, 600, 700, 1.5], None]
    state = decode_state(b"\x01" + msgspec.msgpack.encode(first))
    assert state.sources == SourceState(offsets={3: 7}, rings={3: b"ring"})
    assert state.orders == OrdersState(first_ms=1_000, last_ms=2_000, completed=2, days=2, gaps=1, sum_ln_gap=0.5)
    assert state.clicks == ClicksState(first_ms=500, last_ms=600, decayed_at_ms=700, clicks_7d=1_536)
    assert state.pending == []


@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x01\x00", b"\x01\x93\x01\x02"])
def test_damaged_states_are_refused(damaged: bytes) -> None:
    with pytest.raises(StateCodecError, match="damaged"):
        decode_state(damaged)


def test_states_of_a_newer_release_are_refused_with_the_remedy() -> None:
    with pytest.raises(StateCodecError, match="version 4, and this release knows up to 3: run the release"):
        decode_state(b"\x04" + encode_state(new_state())[1:])


@given(
    kind=st.sampled_from([STATE, PARTITION]),
    epoch=st.integers(0, 2**32 - 1),
    sequence=st.integers(0, 2**64 - 1),
    payload=st.binary(max_size=30),
)
def test_envelopes_survive(kind: int, epoch: int, sequence: int, payload: bytes) -> None:
    value = envelope(kind, epoch, sequence) + payload
    assert read_envelope(value) == (kind, epoch, sequence)
    assert value[ENVELOPE_BYTES:] == payload


def test_partition_records_survive() -> None:
    memory = PartitionState(frontier_ms=5, model_version="m1", population={20_000: {"orders": 2.0}})
    record = PartitionRecord(
        memory,
        {"orders": SourcePosition(1, 42)},
        (PendingSend(Topic.INTERVENTIONS, b"ada", b"{}", (("ce_id", b"iv_1"),), 1_000),),
    )
    assert decode_partition_record(encode_partition_record(record)) == record


def test_a_damaged_partition_record_is_refused() -> None:
    with pytest.raises(ChangelogFormatError, match="damaged"):
        decode_partition_record(b"\xc1")


def test_a_state_is_not_taken_for_an_unknown_type() -> None:
    assert isinstance(decode_state(encode_state(new_state())), CustomerState)
