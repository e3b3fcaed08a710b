"""One partition's worth of customers: states, partition memory and the index of what is due."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Protocol

from stream_app.core.partition import PartitionState
from stream_app.core.state import CustomerState
from stream_app.engine.timers import TimerIndex
from stream_app.recommend.neighbours import ItemNeighbours


class StateStore(Protocol):
    """Where the customers of one partition live. `get` returns the live, mutable state; `put` marks it changed."""

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the state, or None for a customer never seen."""
        ...

    def put(self, customer_id: str, state: CustomerState) -> None:
        """Keep the state and mark it for the next changelog batch. Calling it twice in a batch costs nothing more."""
        ...

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through all customers, for rebuilding indexes on recovery and for inspection; order is not defined."""
        ...


class DictStore:
    """The plain store of replay, evaluation and tests."""

    def __init__(self) -> None:
        self.states: dict[str, CustomerState] = {}

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the state, or None for a customer never seen."""
        return self.states.get(customer_id)

    def put(self, customer_id: str, state: CustomerState) -> None:
        """Keep the state."""
        self.states[customer_id] = state

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through all customers in the order in which they were first seen."""
        yield from self.states.items()


class Shard:
    """The owner's view of one partition. `Engine.open_shard` makes one, and rebuilds the indexes."""

    def __init__(
        self, partition: int, store: StateStore, memory: PartitionState, due_of: Callable[["Shard", str], int]
    ) -> None:
        self.partition = partition
        self.store = store
        self.memory = memory
        self.timers = TimerIndex(lambda customer_id: due_of(self, customer_id))
        self.neighbours = ItemNeighbours()
        self.tiers: Counter[int] = Counter()
        """Customers by tier index, for the gauge; -1 is not scored."""
