"""The store on disk: states outlive the process, so that a restart reads only what the changelog has since.

States and checkpoint are written in one RocksDB write batch, after the changelog has acknowledged them: what is on
disk is always a prefix of the changelog. A directory that does not fit its changelog is thrown away by its owner,
never repaired.
"""

import functools
import shutil
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stream_app.adapters.stores import CachedStore, Checkpoint, StateCache

_OFFSET = struct.Struct(">q")
_OURS = b"\xff\x00"
"""Begins keys of the store's own: no UTF-8, so that no customer id can begin so."""

_CHECKPOINT = _OURS + b"checkpoint"
_COUNT = _OURS + b"count"
"""Of customers, so that opening does not go through them: a worker opens stores while it works."""

BLOCK_CACHE_BYTES = 256 << 20
"""Of all stores of a worker together: with standbys it has twice as many as it owns partitions."""

WRITE_BUFFER_BYTES = 16 << 20


class RocksdbMissingError(RuntimeError):
    """The extra is not installed; the message says how to get it."""


class RocksdbStore(CachedStore):
    """One partition's states in a RocksDB of its own.

    Parameters
    ----------
    folder
        Its files; of one app id and partition.
    cached_states
        How many decoded states to keep, roughly.
    block_cache_bytes
        Of all stores of this process together; one size for all of them.

    Raises
    ------
    RocksdbMissingError
        `rocksdict` is not installed.
    """

    def __init__(self, folder: Path, cached_states: int = 20_000, block_cache_bytes: int = BLOCK_CACHE_BYTES) -> None:
        super().__init__(cached_states)
        self._folder = folder
        self._block_cache_bytes = block_cache_bytes
        self._unwritten: dict[str, bytes | None] = {}
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._database = _open(folder, block_cache_bytes)
        counted = self._database.get(_COUNT)
        self._count: int | None = None if counted is None else _OFFSET.unpack(counted)[0]

    def load(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded states while restoring; None forgets a customer."""
        # Who of them is new is not asked: looking each up costs more than writing it. Whoever wants to know counts.
        self._count = None
        super().load(changes)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Write what was drained or loaded, and how far in the changelog that is, as one."""
        batch = _new_batch()
        for customer_id, encoded in self._unwritten.items():
            if encoded is None:
                batch.delete(customer_id.encode())
            else:
                batch.put(customer_id.encode(), encoded)
        batch.put(_CHECKPOINT, _OFFSET.pack(checkpoint.next_offset) + checkpoint.partition_record)
        if self._count is None:
            batch.delete(_COUNT)
        else:
            batch.put(_COUNT, _OFFSET.pack(self._count))
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
        self._database = _open(self._folder, self._block_cache_bytes)
        self._count = 0

    def close(self) -> None:
        """Release the files; the states stay on disk."""
        self._cache = StateCache(0)
        self._unwritten.clear()
        self._database.close()

    def _keep(self, changes: Mapping[str, bytes | None]) -> None:
        if self._count is not None:
            self._count += sum((encoded is not None) - self._is_known(name) for name, encoded in changes.items())
        self._unwritten |= changes

    def _is_known(self, customer_id: str) -> bool:
        if customer_id in self._unwritten:
            return self._unwritten[customer_id] is not None
        return self._database.get(customer_id.encode()) is not None

    def _known_count(self) -> int:
        return len(self._known_ids()) if self._count is None else self._count

    def _encoded(self, customer_id: str) -> bytes | None:
        if customer_id in self._unwritten:
            return self._unwritten[customer_id]
        encoded: bytes | None = self._database.get(customer_id.encode())
        return encoded

    def _stored_ids(self) -> Iterator[str]:
        for key in self._database.keys():  # noqa: SIM118 - a RocksDB is no dict: iterating it is not defined
            if not key.startswith(_OURS):
                yield key.decode()

    def _known_ids(self) -> list[str]:
        known = [customer_id for customer_id in self._stored_ids() if customer_id not in self._unwritten]
        known += [customer_id for customer_id, encoded in self._unwritten.items() if encoded is not None]
        self._count = len(known)
        return known


def remove_left_stores(folder: Path, kept: Collection[int], before_seconds: float) -> list[int]:
    """Remove what partitions left behind that went to other workers for good, and return their numbers.

    Customers who are erased meanwhile are not erased there. What was left lately stays: the partition may come back.

    Parameters
    ----------
    folder
        Of all stores of an app id, each in a folder named by its partition.
    kept
        Partitions that are open, or are to be opened.
    before_seconds
        Stores in which nothing was written since this moment (Unix time) are removed.
    """
    removed = []
    for left in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not left.name.isdecimal() or int(left.name) in kept:
            continue
        if max((file.stat().st_mtime for file in left.iterdir()), default=0.0) < before_seconds:
            shutil.rmtree(left)
            removed.append(int(left.name))
    return removed


def _open(folder: Path, block_cache_bytes: int) -> Any:
    rocksdict = _rocksdict()
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    table = rocksdict.BlockBasedOptions()
    table.set_block_cache(_block_cache(block_cache_bytes))
    table.set_bloom_filter(10, False)
    options.set_block_based_table_factory(table)
    return rocksdict.Rdict(str(folder), options)


@functools.cache
def _block_cache(size_bytes: int) -> Any:
    return _rocksdict().Cache(size_bytes)


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
