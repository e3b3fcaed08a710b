"""Where the customers of one partition live in a worker, beside the changelog from which they can be restored.

Encoded bytes are the store; decoded states are a cache in two generations, bounded, in which changed states stay until
they are written. So a million customers cost their bytes, and an active one costs no decoding.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from stream_app.core.state import CustomerState
from stream_app.engine.shard import StateStore
from stream_app.wire.state_codec import decode_state, encode_state


class Checkpoint(NamedTuple):
    """What a durable store remembers of the changelog."""

    partition_record: bytes
    """The newest partition record that is in the store, envelope included."""
    next_offset: int
    """Changelog offset from which on the store knows nothing."""


class PartitionStore(StateStore, Protocol):
    """A store of encoded states; one contract suite holds for all kinds."""

    def __len__(self) -> int:
        """Return the number of customers."""
        ...

    def __contains__(self, customer_id: object) -> bool:
        """Tell whether a customer is known, without decoding."""
        ...

    def peek(self, customer_id: str) -> CustomerState | None:
        """Return a state for inspection without making it part of the cache; it must not be changed."""
        ...

    def load(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded states while restoring; None forgets a customer."""
        ...

    def touch(self, customer_id: str) -> None:
        """Mark a known customer for the next changelog batch though nothing changed."""
        ...

    def drain(self) -> list[tuple[str, bytes]]:
        """Encode and return what was put since the last call, each customer once, in the order of first change."""
        ...

    def commit(self, checkpoint: Checkpoint) -> None:
        """Note that all that was drained is in the changelog: durable stores write states and checkpoint atomically."""
        ...

    def checkpoint(self) -> Checkpoint | None:
        """Return where restoring can begin, or None: at the changelog's beginning."""
        ...

    def clear(self) -> None:
        """Forget everything, checkpoint included: it does not fit the changelog."""
        ...

    def close(self) -> None:
        """Release files; the partition went to another owner."""
        ...


class StateCache:
    """Decoded states in two generations: what was not asked for during a whole generation is dropped at a turn.

    Parameters
    ----------
    capacity
        Decoded states to keep, roughly; changed ones are never dropped before `settle`.
    """

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._young: dict[str, CustomerState] = {}
        self._old: dict[str, CustomerState] = {}
        self.dirty: dict[str, CustomerState] = {}

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the cached state, or None."""
        state = self._young.get(customer_id)
        if state is None:
            state = self._old.pop(customer_id, None)
            if state is not None:
                self._young[customer_id] = state
        return state

    def keep(self, customer_id: str, state: CustomerState) -> None:
        """Cache a state that was just decoded."""
        self._young[customer_id] = state

    def change(self, customer_id: str, state: CustomerState) -> None:
        """Keep a state until `settle`."""
        self.dirty[customer_id] = state
        self._young[customer_id] = state

    def peek(self, customer_id: str) -> CustomerState | None:
        """Return the cached state without counting it as used."""
        return self._young.get(customer_id) or self._old.get(customer_id)

    def forget(self, customer_id: str) -> None:
        """Drop a state that is no longer true."""
        self._young.pop(customer_id, None)
        self._old.pop(customer_id, None)
        self.dirty.pop(customer_id, None)

    def settle(self) -> None:
        """Note that changed states were encoded, and turn the generations where the young one is full."""
        self.dirty.clear()
        if len(self._young) > self._half:
            self._old = self._young
            self._young = {}


class CachedStore(ABC):
    """What all stores share: the decoded states in front of the encoded ones, wherever these lie.

    Parameters
    ----------
    cached_states
        How many decoded states to keep, roughly.
    """

    def __init__(self, cached_states: int) -> None:
        self._cache = StateCache(cached_states)

    def __len__(self) -> int:
        return self._known_count() + sum(1 for new in self._cache.dirty if not self._is_known(new))

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
        known = self._known_ids()
        for customer_id in [*known, *(new for new in self._cache.dirty if not self._is_known(new))]:
            state = self.peek(customer_id)
            if state is not None:
                yield customer_id, state

    def load(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded states while restoring; None forgets a customer."""
        for customer_id in changes:
            self._cache.forget(customer_id)
        self._keep(changes)

    def touch(self, customer_id: str) -> None:
        """Mark a known customer for the next changelog batch though nothing changed."""
        state = self.get(customer_id)
        if state is not None:
            self.put(customer_id, state)

    def drain(self) -> list[tuple[str, bytes]]:
        """Encode and return what was put since the last call, each customer once."""
        changed = [(customer_id, encode_state(state)) for customer_id, state in self._cache.dirty.items()]
        self._keep(dict(changed))
        self._cache.settle()
        return changed

    @abstractmethod
    def _encoded(self, customer_id: str) -> bytes | None:
        """Return the bytes of a state, or None for a customer never kept."""

    @abstractmethod
    def _keep(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over bytes; None forgets a customer."""

    @abstractmethod
    def _is_known(self, customer_id: str) -> bool:
        """Tell whether there are bytes of a customer."""

    @abstractmethod
    def _known_count(self) -> int:
        """Return of how many customers there are bytes."""

    @abstractmethod
    def _known_ids(self) -> list[str]:
        """Return of whom there are bytes."""


class MemoryStore(CachedStore):
    """All states as bytes in memory; restoring reads the whole changelog.

    Parameters
    ----------
    cached_states
        How many decoded states to keep, roughly.
    """

    def __init__(self, cached_states: int = 20_000) -> None:
        super().__init__(cached_states)
        self._bytes: dict[str, bytes] = {}

    def commit(self, checkpoint: Checkpoint) -> None:
        """Nothing outlives this process, so nothing is noted."""

    def checkpoint(self) -> Checkpoint | None:
        """Return None: restoring begins at the changelog's beginning."""
        return None

    def clear(self) -> None:
        """Forget everything."""
        self.close()

    def close(self) -> None:
        """Release the memory."""
        self._bytes.clear()
        self._cache = StateCache(0)

    def _encoded(self, customer_id: str) -> bytes | None:
        return self._bytes.get(customer_id)

    def _keep(self, changes: Mapping[str, bytes | None]) -> None:
        kept = self._bytes
        for customer_id, encoded in changes.items():
            if encoded is None:
                kept.pop(customer_id, None)
            else:
                kept[customer_id] = encoded

    def _is_known(self, customer_id: str) -> bool:
        return customer_id in self._bytes

    def _known_count(self) -> int:
        return len(self._bytes)

    def _known_ids(self) -> list[str]:
        return list(self._bytes)
