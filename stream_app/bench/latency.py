"""Latency under an open loop: events leave on schedule, whatever comes back; slowness cannot hide by sending less.

Each event's time is its intended send time, in whole milliseconds. An intervention carries the time of the event that
led to it, and the broker stamps the moment at which it stood on the topic. Both clocks are this machine's.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from numpy.typing import NDArray

from stream_app.adapters.clients import client_arguments
from stream_app.bench.arena import Arena, BulkWriter
from stream_app.bench.contest import OURS, START_SECONDS, Say
from stream_app.bench.measuring import Commits, ContenderError
from stream_app.bench.processes import Contender, cpu_seconds, peak_memory_mebibytes
from stream_app.bench.workload import TOPICS, EventStream, Workload
from stream_app.core.times import SECOND_MS
from stream_app.core.topics import Topic
from stream_app.settings import Settings

LEAD_SECONDS = 3.0
TICK_SECONDS = 0.002
SETTLE_SECONDS = 5.0
_TIMER_TRIGGERS = frozenset({"timer"})
_PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)


class LatencyPlan(NamedTuple):
    """How to measure."""

    rate: int
    """Events a second."""
    seconds: float
    warm_up_seconds: float
    changes: Mapping[str, str]
    """Settings that differ from the benchmark's."""


class Sent(NamedTuple):
    """What the open loop did."""

    first_ms: int
    last_ms: int
    late_ms: NDArray[np.float64]
    """For each burst of sending, how late its oldest event left: part of the latency, shown to be judged."""


async def measure_latency(
    bootstrap: str, workload: Workload, folder: Path, plan: LatencyPlan, broker: str, say: Say
) -> dict[str, Any]:
    """Run a worker under the wall clock at a steady rate and return what was seen, JSON-ready.

    Raises
    ------
    ContenderError
        The worker ended, or no intervention came.
    """
    now_ms = _now_ms()
    workload = Workload(workload.customers, workload.partitions, workload.burst, workload.seed, now_ms)
    arena = Arena(bootstrap, workload, folder, "latency", "wall", plan.changes)
    app_id = f"{arena.name}-ours"
    arena.create_topics(app_id)
    loaded = await arena.preload(app_id)
    say(f"preloaded {workload.customers:,} customers in {loaded.seconds:.0f} s")
    settings = arena.settings(app_id)
    with Contender(OURS.arguments, arena.environment(app_id), folder / app_id / "process") as worker:
        await _until_it_works(arena, app_id, worker)
        say(f"the worker has restored; sending {plan.rate:,} events/s for {plan.seconds + plan.warm_up_seconds:.0f} s")
        cpu = cpu_seconds(worker.pid)
        sent = await _send_open_loop(arena, plan)
        if worker.ended is not None:
            raise ContenderError(f"the worker ended with status {worker.ended}\n{worker.log_tail()}")
        await asyncio.sleep(SETTLE_SECONDS)
        used = (cpu_seconds(worker.pid) or 0.0) - (cpu or 0.0)
        peak = peak_memory_mebibytes(worker.pid)
        from_ms = sent.first_ms + int(plan.warm_up_seconds * SECOND_MS)
        latencies, timers = await _read_interventions(settings, workload.partitions, from_ms, sent.last_ms)
    await arena.delete_topics(app_id, inputs=True)
    if not latencies:
        raise ContenderError(f"no intervention came\n{worker.log_tail()}")
    values = np.array(latencies)
    return {
        "broker": broker,
        "partitions": workload.partitions,
        "preloaded_customers": workload.customers,
        "keys": f"bursts of {workload.burst}" if workload.burst > 1 else "uniform",
        "rate_per_second": plan.rate,
        "measured_seconds": plan.seconds,
        "warm_up_seconds": plan.warm_up_seconds,
        "settings": dict(plan.changes),
        "interventions": len(latencies),
        "interventions_by_timer": timers,
        **{f"p{percent:g}_ms".replace(".", "_"): float(np.percentile(values, percent)) for percent in _PERCENTILES},
        "generator_late_p50_ms": round(median(sent.late_ms), 2),
        "generator_late_p99_ms": round(float(np.percentile(sent.late_ms, 99)), 2),
        "cpu_share": round(used / (plan.seconds + plan.warm_up_seconds + SETTLE_SECONDS), 3),
        "peak_memory_mebibytes": peak,
        "measured": "intended send time to the broker's append time of the intervention; timers' own are counted apart",
    }


async def _until_it_works(arena: Arena, app_id: str, worker: Contender) -> None:
    """Send a first event to every partition and wait until all of them are committed."""
    workload = arena.workload
    writer = BulkWriter(arena.settings(app_id))
    await writer.start()
    needed = set(range(workload.partitions))
    probe = Workload(workload.customers, workload.partitions, 1, workload.seed + 1)
    sent = 0
    count = workload.partitions * 40
    times = np.full(count, _now_ms(), dtype=np.int64)
    for event in EventStream(probe, count, times):
        if event.partition in needed:
            needed.discard(event.partition)
            name = f"{arena.name}-{TOPICS[event.topic].value}"
            await writer.add(name, event.partition, event.key, event.value, event.at_ms)
            sent += 1
    await writer.stop()
    deadline = time.monotonic() + START_SECONDS
    async with Commits(arena.settings(app_id), arena.input_names()) as commits:
        while await commits.total() < sent:
            if worker.ended is not None or time.monotonic() > deadline:
                raise ContenderError(f"the worker did not come to work\n{worker.log_tail()}")
            await asyncio.sleep(0.2)


async def _send_open_loop(arena: Arena, plan: LatencyPlan) -> Sent:
    count = int(plan.rate * (plan.seconds + plan.warm_up_seconds))
    first_ms = _now_ms() + int(LEAD_SECONDS * SECOND_MS)
    times = first_ms + (np.arange(count) * (SECOND_MS / plan.rate)).astype(np.int64)
    writer = BulkWriter(arena.settings(arena.name))
    await writer.start()
    names = [f"{arena.name}-{role.value}" for role in TOPICS]
    late: list[float] = []
    waiting = 0
    oldest_ms = 0
    try:
        for event in EventStream(arena.workload, count, times):
            now_ms = time.time() * SECOND_MS
            if event.at_ms > now_ms:
                if waiting:
                    await writer.push()
                    late.append(now_ms - oldest_ms)
                    waiting = 0
                await asyncio.sleep(max(TICK_SECONDS, (event.at_ms - time.time() * SECOND_MS) / SECOND_MS))
            if not waiting:
                oldest_ms = event.at_ms
            waiting += 1
            await writer.add(names[event.topic], event.partition, event.key, event.value, event.at_ms)
    finally:
        await writer.stop()
    return Sent(first_ms, int(times[-1]), np.array(late or [0.0]))


async def _read_interventions(settings: Settings, partitions: int, from_ms: int, to_ms: int) -> tuple[list[float], int]:
    """Return the latencies of interventions that events led to within a span, and how many timers led to."""
    topic = settings.topic(Topic.INTERVENTIONS)
    places = [TopicPartition(topic, number) for number in range(partitions)]
    consumer = AIOKafkaConsumer(enable_auto_commit=False, auto_offset_reset="earliest", **client_arguments(settings))
    await consumer.start()
    latencies: list[float] = []
    timers = 0
    try:
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        await consumer.seek_to_beginning(*places)
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    body = orjson.loads(record.value)
                    at_ms = _parse_ms(body["event_time"])
                    if not from_ms <= at_ms <= to_ms:
                        continue
                    if body["trigger"] in _TIMER_TRIGGERS:
                        timers += 1
                    else:
                        latencies.append(float(record.timestamp - at_ms))
    finally:
        await consumer.stop()
    return latencies, timers


def _parse_ms(text: str) -> int:
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
