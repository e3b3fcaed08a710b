"""What a million customers take: `python -m stream_app.bench.footprint 1000000` prints it as JSON, without a broker.

The benchmark's customers are loaded into memory stores as a restore does, and their partitions opened as their owner
does. What a worker's clients and buffers take besides comes on top.
"""

import gc
import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.stores import MemoryStore
from stream_app.bench.population import Population
from stream_app.bench.workload import DEFAULT_START_MS, customer_key, customer_partitions
from stream_app.settings import Settings

PARTITIONS = 12
_CHUNK = 500
_MEGABYTE = 1e6
_PAGE_BYTES = 4096


class Footprint(NamedTuple):
    """Memory is of this process; a customer's is bytes of memory, key and containers included."""

    customers: int
    mean_state_bytes: float
    median_state_bytes: float
    heaviest_hundredth_state_bytes: float
    """99 % of states are smaller."""
    base_megabytes: float
    """Before a customer was loaded."""
    total_megabytes: float
    bytes_a_customer: float
    open_microseconds_a_customer: float
    """Processor time of opening the partitions: the index of what is due, counts by tier, neighbours."""


def measure(customers: int) -> Footprint:
    """Load customers and open their partitions. Linux only: reads this process's memory from /proc."""
    settings = Settings(_env_file=None, clock="event", actions_mode="live", unknown_consent="allow")
    population, engine = Population(settings, 1, DEFAULT_START_MS), engine_of(settings)
    places = customer_partitions(customers, PARTITIONS)
    stores = [MemoryStore() for _ in range(PARTITIONS)]
    sizes = np.zeros(customers, dtype=np.int32)
    gc.collect()
    base_bytes = _resident_bytes()
    for number, store in enumerate(stores):
        members = np.flatnonzero(places == number)
        for first in range(0, len(members), _CHUNK):
            chunk = {}
            for index in members[first : first + _CHUNK].tolist():
                customer_id = customer_key(index).decode()
                chunk[customer_id] = population.state(customer_id)
                sizes[index] = len(chunk[customer_id])
            store.load(chunk)
    before_s = time.process_time()
    # Held until the memory was read: its indexes are part of what customers take.
    shards = [engine.open_shard(number, store, population.memory()) for number, store in enumerate(stores)]
    opened_s = time.process_time() - before_s
    gc.collect()
    total_bytes = _resident_bytes()
    del shards
    return Footprint(
        customers=sum(len(store) for store in stores),
        mean_state_bytes=round(float(sizes.mean()), 1),
        median_state_bytes=float(np.median(sizes)),
        heaviest_hundredth_state_bytes=float(np.quantile(sizes, 0.99)),
        base_megabytes=round(base_bytes / _MEGABYTE, 1),
        total_megabytes=round(total_bytes / _MEGABYTE, 1),
        bytes_a_customer=round((total_bytes - base_bytes) / customers, 1),
        open_microseconds_a_customer=round(opened_s * 1e6 / customers, 2),
    )


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


if __name__ == "__main__":
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
    sys.stdout.write(json.dumps(found._asdict(), indent=2) + "\n")
