"""The store on disk: states outlive the process, so that a restart reads only what the changelog has since.

States and checkpoint are written in one RocksDB write batch, after the changelog has acknowledged them: what is on
disk is always a prefix of the changelog. A directory that does not fit its changelog is thrown away by its owner,
never repaired.
"""

import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stream_app.adapters.stores import Checkpoint, StateCache
from stream_app.core.state import CustomerState
from stream_app.wire.state_codec import decode_state, encode_state

_OFFSET = struct.Struct(">q")
_CHECKPOINT = b"\xff\x00checkpoint"
"""No UTF-8, so that no customer id can equal it."""

BLOCK_CACHE_BYTES = 32 << 20
WRITE_BUFFER_BYTES = 16 << 20


class RocksdbMissingError(RuntimeError):
    """The extra is not installed; the message says how to get it."""


class RocksdbStore:
    """One partition's states in a RocksDB of its own.

    Parameters
    ----------
    folder
        Its files; of one app id and partition.
    cached_states
        How many decoded states to keep, roughly.

    Raises
    ------
    RocksdbMissingError
        `rocksdict` is not installed.
    """

    def __init__(self, folder: Path, cached_states: int = 20_000) -> None:
        self._folder = folder
        self._cache = StateCache(cached_states)
        self._unwritten: dict[str, bytes | None] = {}
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._database = _open(folder)
        self._count = sum(1 for _ in self._stored_ids())

    def __len__(self) -> int:
        new = sum(1 for customer_id in self._cache.dirty if not self._is_known(customer_id))
        return self._count + new

    def __contains__(self, customer_id: object) -> bool:
        return isinstance(customer_id, str) and (customer_id in self._cache.dirty or self._is_known(customer_id))

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the live state, or None for a customer never seen."""
        state = self._cache.get(customer_id)
        if state is None:
            encoded = self._encoded(customer_id)
            if encoded is None:
                return None
            state = decode_state(encoded)
            self._cache.keep(customer_id, state)
        return state

    def put(self, customer_id: str, state: CustomerState) -> None:
        """Keep the state and mark it for the next changelog batch."""
        self._cache.change(customer_id, state)

    def peek(self, customer_id: str) -> CustomerState | None:
        """Return a state for inspection; it must not be changed."""
        state = self._cache.peek(customer_id)
        if state is None and (encoded := self._encoded(customer_id)) is not None:
            state = decode_state(encoded)
        return state

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through all customers; those that come meanwhile are left out, those that go are skipped."""
        for customer_id in self._ids():
            state = self.peek(customer_id)
            if state is not None:
                yield customer_id, state

    def load(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded states while restoring; None forgets a customer. Durable with the next `commit`."""
        for customer_id, encoded in changes.items():
            self._cache.forget(customer_id)
            self._keep(customer_id, encoded)

    def touch(self, customer_id: str) -> None:
        """Mark a known customer for the next changelog batch though nothing changed."""
        state = self.get(customer_id)
        if state is not None:
            self.put(customer_id, state)

    def drain(self) -> list[tuple[str, bytes]]:
        """Encode and return what was put since the last call, each customer once."""
        changed = [(customer_id, encode_state(state)) for customer_id, state in self._cache.dirty.items()]
        for customer_id, encoded in changed:
            self._keep(customer_id, encoded)
        self._cache.settle()
        return changed

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write what was drained or loaded, and how far in the changelog that is, as one."""
        batch = _new_batch()
        for customer_id, encoded in self._unwritten.items():
            if encoded is None:
                batch.delete(customer_id.encode())
            else:
                batch.put(customer_id.encode(), encoded)
        batch.put(_CHECKPOINT, _OFFSET.pack(checkpoint.next_offset) + checkpoint.partition_record)
        self._database.write(batch)
        self._unwritten.clear()

    def checkpoint(self) -> Checkpoint | None:
        """Return where restoring can begin, or None: at the changelog's beginning."""
        value = self._database.get(_CHECKPOINT)
        if value is None:
            return None
        return Checkpoint(value[_OFFSET.size :], _OFFSET.unpack_from(value)[0])

    def clear(self) -> None:
        """Forget everything, on disk too: it does not fit the changelog."""
        self.close()
        shutil.rmtree(self._folder)
        self._database = _open(self._folder)
        self._count = 0

    def close(self) -> None:
        """Release the files; the states stay on disk."""
        self._cache = StateCache(0)
        self._unwritten.clear()
        self._database.close()

    def _keep(self, customer_id: str, encoded: bytes | None) -> None:
        self._count += (encoded is not None) - self._is_known(customer_id)
        self._unwritten[customer_id] = encoded

    def _is_known(self, customer_id: str) -> bool:
        if customer_id in self._unwritten:
            return self._unwritten[customer_id] is not None
        return self._database.get(customer_id.encode()) is not None

    def _encoded(self, customer_id: str) -> bytes | None:
        if customer_id in self._unwritten:
            return self._unwritten[customer_id]
        encoded: bytes | None = self._database.get(customer_id.encode())
        return encoded

    def _stored_ids(self) -> Iterator[str]:
        for key in self._database.keys():  # noqa: SIM118 - a RocksDB is no dict: iterating it is not defined
            if key != _CHECKPOINT:
                yield key.decode()

    def _ids(self) -> list[str]:
        ids = dict.fromkeys(self._stored_ids())
        ids |= dict.fromkeys(self._unwritten)
        return list(ids | dict.fromkeys(self._cache.dirty))


def _open(folder: Path) -> Any:
    rocksdict = _rocksdict()
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(rocksdict.Cache(BLOCK_CACHE_BYTES))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return rocksdict.Rdict(str(folder), options)


def _new_batch() -> Any:
    return _rocksdict().WriteBatch(raw_mode=True)


def _rocksdict() -> Any:
    try:
        import rocksdict  # noqa: PLC0415 - an optional extra, loaded only by those who ask for this store
    except ImportError:
        raise RocksdbMissingError(
            "STREAM_APP_STORE=rocksdb needs an extra: pip install 'stream-app[rocksdb]', or use the memory store"
        ) from None
    return rocksdict
