"""Where the customers of one partition live in a worker, beside the changelog from which they can be restored.

Encoded bytes are the store; decoded states are a cache in two generations, bounded, in which changed states stay until
they are written. So a million customers cost their bytes, and an active one costs no decoding.
"""

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


class MemoryStore:
    """All states as bytes in memory; restoring reads the whole changelog.

    Parameters
    ----------
    cached_states
        How many decoded states to keep, roughly.
    """

    def __init__(self, cached_states: int = 20_000) -> None:
        self._encoded: dict[str, bytes] = {}
        self._cache = StateCache(cached_states)

    def __len__(self) -> int:
        new = sum(1 for customer_id in self._cache.dirty if customer_id not in self._encoded)
        return len(self._encoded) + new

    def __contains__(self, customer_id: object) -> bool:
        return customer_id in self._encoded or customer_id in self._cache.dirty

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the live state, or None for a customer never seen."""
        state = self._cache.get(customer_id)
        if state is None:
            encoded = self._encoded.get(customer_id)
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
        if state is None and (encoded := self._encoded.get(customer_id)) is not None:
            state = decode_state(encoded)
        return state

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through all customers; those that come meanwhile are left out, those that go are skipped."""
        for customer_id in [*self._encoded, *(new for new in self._cache.dirty if new not in self._encoded)]:
            state = self.peek(customer_id)
            if state is not None:
                yield customer_id, state

    def load(self, changes: Mapping[str, bytes | None]) -> None:
        """Take over encoded states while restoring; None forgets a customer."""
        for customer_id, encoded in changes.items():
            self._cache.forget(customer_id)
            if encoded is None:
                self._encoded.pop(customer_id, None)
            else:
                self._encoded[customer_id] = encoded

    def touch(self, customer_id: str) -> None:
        """Mark a known customer for the next changelog batch though nothing changed."""
        state = self.get(customer_id)
        if state is not None:
            self.put(customer_id, state)

    def drain(self) -> list[tuple[str, bytes]]:
        """Encode and return what was put since the last call, each customer once."""
        changed = [(customer_id, encode_state(state)) for customer_id, state in self._cache.dirty.items()]
        self._encoded.update(changed)
        self._cache.settle()
        return changed

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
        self._encoded.clear()
        self._cache = StateCache(0)
