"""One contract for every kind of partition store."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.stores import Checkpoint, MemoryStore, PartitionStore
from stream_app.adapters.stores_rocksdb import RocksdbStore, remove_left_stores
from stream_app.core.state import ClicksState, CustomerState, new_state
from stream_app.wire.partition_record import PARTITION, envelope
from stream_app.wire.state_codec import decode_state, encode_state


def state_with(number: int) -> CustomerState:
    state = new_state()
    state.clicks = ClicksState(sessions=number)
    return state


def sessions(state: CustomerState | None) -> int | None:
    return state.clicks.sessions if state is not None and state.clicks is not None else None


KINDS: dict[str, Callable[[Path], PartitionStore]] = {
    "memory": lambda _: MemoryStore(cached_states=4),
    "rocksdb": lambda folder: RocksdbStore(folder / "store", cached_states=4),
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PartitionStore]:
    store = KINDS[request.param](tmp_path)
    yield store
    store.close()


def test_get_returns_the_live_state_until_it_is_written(store: PartitionStore) -> None:
    store.put("ada", state_with(1))
    live = store.get("ada")
    assert live is not None
    assert live.clicks is not None
    live.clicks.sessions = 2
    store.put("ada", live)
    assert sessions(store.get("ada")) == 2
    ((customer, encoded),) = store.drain()
    assert customer == "ada"
    assert sessions(decode_state(encoded)) == 2
    assert store.drain() == []


def test_unknown_customers_are_none(store: PartitionStore) -> None:
    assert store.get("ada") is None
    assert store.peek("ada") is None
    assert "ada" not in store
    assert len(store) == 0


def test_states_outlive_the_cache(store: PartitionStore) -> None:
    for number in range(50):
        store.put(f"c{number}", state_with(number))
        store.drain()
        store.commit(Checkpoint(envelope(PARTITION, 1, number), number))
    assert len(store) == 50
    assert [sessions(store.get(f"c{number}")) for number in range(50)] == list(range(50))


def test_a_touched_customer_is_written_again_and_an_unknown_one_is_not(store: PartitionStore) -> None:
    store.put("ada", state_with(1))
    store.drain()
    store.touch("ada")
    store.touch("nobody")
    assert [customer for customer, _ in store.drain()] == ["ada"]


def test_loading_replaces_and_forgets(store: PartitionStore) -> None:
    store.load({"ada": encode_state(state_with(1)), "bob": encode_state(state_with(2))})
    assert sessions(store.get("ada")) == 1
    store.load({"ada": encode_state(state_with(3)), "bob": None})
    assert sessions(store.get("ada")) == 3
    assert "bob" not in store
    assert store.drain() == []


def test_items_bears_change_while_it_runs(store: PartitionStore) -> None:
    store.load({f"c{number}": encode_state(state_with(number)) for number in range(10)})
    seen = []
    for customer, _ in store.items():  # noqa: PERF102 - a store is no dict, and its items are the subject
        seen.append(customer)
        store.put("new", state_with(99))
        if customer == "c3":
            store.load({"c9": None})
    assert set(seen) >= {f"c{number}" for number in range(9)}
    assert "c9" not in seen[seen.index("c3") :]


def test_clearing_forgets_everything(store: PartitionStore) -> None:
    store.put("ada", state_with(1))
    store.drain()
    store.commit(Checkpoint(envelope(PARTITION, 1, 0), 5))
    store.clear()
    assert len(store) == 0
    assert store.get("ada") is None
    assert store.checkpoint() is None


def test_what_was_committed_is_there_after_a_restart_and_nothing_else(tmp_path: Path) -> None:
    store = RocksdbStore(tmp_path / "store")
    assert store.checkpoint() is None
    store.load({"gone": encode_state(state_with(9))})
    store.put("ada", state_with(1))
    store.drain()
    store.load({"gone": None})
    checkpoint = Checkpoint(envelope(PARTITION, 3, 7) + b"record", 42)
    store.commit(checkpoint)
    store.put("ada", state_with(2))
    store.put("bob", state_with(3))
    store.drain()
    store.close()
    again = RocksdbStore(tmp_path / "store")
    assert again.checkpoint() == checkpoint
    assert {name: sessions(state) for name, state in again.items()} == {"ada": 1}
    assert len(again) == 1
    again.close()


def test_a_store_counts_the_same_after_a_restart_as_before(tmp_path: Path) -> None:
    store = RocksdbStore(tmp_path / "store")
    store.load({f"c{number}": encode_state(state_with(number)) for number in range(5)})
    store.load({"c1": None, "nobody": None, "c2": encode_state(state_with(9))})
    store.commit(Checkpoint(envelope(PARTITION, 1, 0), 7))
    store.load({"never-committed": encode_state(state_with(1))})
    assert len(store) == 5
    store.close()
    again = RocksdbStore(tmp_path / "store")
    assert len(again) == len(list(again.items())) == 4
    again.clear()
    again.commit(Checkpoint(envelope(PARTITION, 1, 0), 1))
    again.close()
    emptied = RocksdbStore(tmp_path / "store")
    assert len(emptied) == 0
    emptied.close()


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["put", "get", "drain", "touch"]), st.sampled_from("abcdef"), st.integers(1, 99)),
        max_size=60,
    )
)
def test_memory_store_behaves_like_a_dict(steps: list[tuple[str, str, int]]) -> None:
    store, model, dirty = MemoryStore(cached_states=2), dict[str, int](), set[str]()
    for step, customer, number in steps:
        match step:
            case "put":
                store.put(customer, state_with(number))
                model[customer] = number
                dirty.add(customer)
            case "get":
                assert sessions(store.get(customer)) == model.get(customer)
            case "touch":
                store.touch(customer)
                dirty |= {customer} & model.keys()
            case _:
                drained = dict(store.drain())
                assert {name: sessions(decode_state(encoded)) for name, encoded in drained.items()} == {
                    name: model[name] for name in dirty
                }
                dirty.clear()
        assert len(store) == len(model)
        assert {name: sessions(state) for name, state in store.items()} == model


def test_only_stores_that_were_left_long_ago_are_removed(tmp_path: Path) -> None:
    stores = tmp_path / "customers"
    assert remove_left_stores(stores, (), 0.0) == []
    for name, written_seconds in {"0": 100.0, "1": 100.0, "2": 300.0, "notes": 100.0}.items():
        (stores / name).mkdir(parents=True)
        for file in ("older", "newer"):
            (stores / name / file).write_text("ada")
            os.utime(stores / name / file, (written_seconds, written_seconds - 50 * (file == "older")))
    assert remove_left_stores(stores, {1}, 200.0) == [0]
    assert sorted(left.name for left in stores.iterdir()) == ["1", "2", "notes"]


def test_an_open_store_looks_as_new_as_it_is(tmp_path: Path) -> None:
    begun_seconds = tmp_path.stat().st_mtime
    store = RocksdbStore(tmp_path / "stores" / "3", cached_states=4)
    store.close()
    assert remove_left_stores(tmp_path / "stores", (), begun_seconds - 1) == []
    assert remove_left_stores(tmp_path / "stores", (), begun_seconds + 3_600) == [3]
