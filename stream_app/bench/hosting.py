"""What every peer does the same: the product's engine, decoding and encoding, with another library around them."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from stream_app.adapters.assembly import engine_of
from stream_app.bench.population import Population
from stream_app.bench.workload import TOPICS, Workload
from stream_app.core.effects import Effects
from stream_app.core.partition import PartitionState
from stream_app.core.records import Entry
from stream_app.core.state import CustomerState
from stream_app.settings import load_settings
from stream_app.wire.decode import decode
from stream_app.wire.encode import Encoded, encode
from stream_app.wire.rejection import Rejection
from stream_app.wire.state_codec import decode_state


class Sending(NamedTuple):
    """One record to send, under the name that the topic has on this broker."""

    topic: str
    encoded: Encoded


class BadRecordError(RuntimeError):
    """The benchmark's own events are all good: a rejection means that the benchmark is broken."""


class Host:
    """The engine for a peer. Settings come from the environment, the workload as the first argument (JSON)."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.workload = msgspec.json.decode(sys.argv[1], type=Workload)
        self.engine = engine_of(self.settings)
        self.population = Population(self.settings, self.workload.seed, self.workload.start_ms)
        self.roles = {self.settings.topic(role): role for role in TOPICS}
        self._limits = self.settings.decode_limits()
        self._encoding = self.settings.encode_policy()
        self._memories: dict[int, PartitionState] = {}

    @property
    def bootstrap(self) -> str:
        """Where the broker is."""
        return self.settings.bootstrap

    def memory(self, partition: int) -> PartitionState:
        """Return what a partition remembers; kept in this process only, which spares the peers a write."""
        memory = self._memories.get(partition)
        if memory is None:
            memory = self._memories[partition] = self.population.memory()
        return memory

    def decode(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Any, partition: int, offset: int, at_ms: int
    ) -> Entry:
        """Return a record as the engine takes it.

        Raises
        ------
        BadRecordError
            It is refused.
        """
        entry = decode(self.roles[topic], key, value, headers, partition, offset, at_ms, self._limits)
        if isinstance(entry, Rejection):
            raise BadRecordError(f"{topic}/{partition}/{offset}: {entry}")
        return entry

    def known_state(self, customer_id: str) -> CustomerState:
        """Return the state of a preloaded customer whom the peer's store does not hold yet."""
        return decode_state(self.population.state(customer_id))

    def sendings(self, effects: Effects) -> list[Sending]:
        """Return the outputs of a batch as records.

        Raises
        ------
        BadRecordError
            The engine refused an event.
        """
        if effects.rejected:
            raise BadRecordError(str(effects.rejected[0]))
        made = []
        for output in (*effects.outputs, *effects.interventions):
            encoded = encode(output, self._encoding)
            made.append(Sending(self.settings.topic(encoded.topic), encoded))
        return made

    def process_customer(
        self, partition: int, customer_id: str, state: CustomerState, entries: Sequence[Entry]
    ) -> tuple[CustomerState, list[Sending]]:
        """Run the engine where only one customer's state can be reached; what is due for others waits for them."""
        store = OneCustomer(customer_id, state)
        shard = self.engine.open_shard(partition, store, self.memory(partition))
        effects = self.engine.process(shard, entries)
        return store.state, self.sendings(effects)


class OneCustomer:
    """A `StateStore` of one customer: all that a library with state by key lets a step see."""

    def __init__(self, customer_id: str, state: CustomerState) -> None:
        self.customer_id = customer_id
        self.state = state

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the state of this customer, None for any other."""
        return self.state if customer_id == self.customer_id else None

    def put(self, customer_id: str, state: CustomerState) -> None:
        """Keep the state."""
        assert customer_id == self.customer_id
        self.state = state

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Yield the one customer."""
        yield self.customer_id, self.state
