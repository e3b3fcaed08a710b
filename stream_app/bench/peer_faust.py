"""Stock Faust: one agent, one table write an event, outputs sent by the app's producer. No batch delivery.

Raw serializers and a bounded cache of decoded states are the kinder reading of its documentation. Its at-least-once
commit waits neither for the changelog nor for the outputs, which is less than what the worker promises, to Faust's
advantage. The second argument "linger" sets `producer_linger`, which is 0 by default and costs one request a write.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import faust

from stream_app.adapters.stores import StateCache
from stream_app.bench.hosting import Host
from stream_app.core.state import CustomerState
from stream_app.wire.state_codec import decode_state, encode_state

CACHED_STATES = 40_000
LINGER_SECONDS = 0.02


class TableStore:
    """The engine's store over a Faust table, for one partition.

    Parameters
    ----------
    table
        Keys and values are bytes.
    host
        Knows the preloaded customers.
    partition
        Its number.
    """

    def __init__(self, table: Any, host: Host, partition: int) -> None:
        self._table = table
        self._host = host
        self._cache = StateCache(CACHED_STATES)
        self.shard = host.engine.open_shard(partition, self, host.memory(partition))

    def get(self, customer_id: str) -> CustomerState | None:
        """Return the state: from the cache, the table, or as preloaded."""
        state = self._cache.get(customer_id)
        if state is None:
            encoded = self._table.get(customer_id.encode())
            if encoded is not None:
                state = decode_state(encoded)
            else:
                state = self._host.known_state(customer_id)
                self._host.engine.index(self.shard, customer_id, state)
            self._cache.keep(customer_id, state)
        return state

    def put(self, customer_id: str, state: CustomerState) -> None:
        """Keep the state until `write`."""
        self._cache.change(customer_id, state)

    def items(self) -> Iterator[tuple[str, CustomerState]]:
        """Yield nothing: a benchmark begins with an empty table."""
        yield from ()

    def write(self) -> None:
        """Write what the last event changed to the table."""
        for customer_id, state in self._cache.dirty.items():
            self._table[customer_id.encode()] = encode_state(state)
        self._cache.settle()


class EndingApp(faust.App):  # type: ignore[misc]
    """Ends when its agent errs: Faust starts it again behind the event, and what was measured is how often it fails."""

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        await super()._on_agent_error(agent, exc)
        traceback.print_exception(exc)
        sys.stderr.flush()
        os._exit(1)


def create_app(host: Host, linger_seconds: float) -> faust.App:
    """Return the app with its agent."""
    app = EndingApp(
        host.settings.app_id,
        broker=f"aiokafka://{host.bootstrap}",
        store="memory://",
        key_serializer="raw",
        value_serializer="raw",
        producer_linger=linger_seconds,
        topic_disable_leader=True,
        web_enabled=False,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=0,
    )
    table = app.Table("customers", partitions=host.workload.partitions, key_type=bytes, value_type=bytes)
    source = app.topic(*host.roles, key_serializer="raw", value_serializer="raw")
    outputs: dict[str, Any] = {}
    stores: dict[int, TableStore] = {}

    def store_of(partition: int) -> TableStore:
        if partition not in stores:
            stores[partition] = TableStore(table, host, partition)
        return stores[partition]

    def topic_of(name: str) -> Any:
        if name not in outputs:
            outputs[name] = app.topic(name, key_serializer="raw", value_serializer="raw")
        return outputs[name]

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def customers(stream: Any) -> None:
        async for event in stream.events():
            message = event.message
            entry = host.decode(
                message.topic,
                message.key,
                message.value,
                message.headers,
                message.partition,
                message.offset,
                int(message.timestamp * 1000),
            )
            store = store_of(message.partition)
            effects = host.engine.process(store.shard, [entry])
            store.write()
            for name, encoded in host.sendings(effects):
                timestamp = encoded.timestamp_ms / 1000 if encoded.timestamp_ms >= 0 else None
                await topic_of(name).send(
                    key=encoded.key, value=encoded.value, headers=list(encoded.headers), timestamp=timestamp
                )

    assert customers is not None
    return app


if __name__ == "__main__":
    linger = LINGER_SECONDS if "linger" in sys.argv[2:] else 0.0
    faust.Worker(create_app(Host(), linger), loglevel="WARNING").execute_from_commandline()
