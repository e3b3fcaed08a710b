"""Contenders side by side: all read the same backlog with the same engine, one after the other, round by round."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from statistics import median
from typing import Any, NamedTuple

import msgspec

from stream_app.bench.arena import Arena
from stream_app.bench.measuring import Commits, ContenderError, Measured, Watch
from stream_app.bench.processes import Contender

START_SECONDS = 300.0
"""How long a contender may take to its first commit: a worker restores a million customers first."""

Say = Callable[[str], None]


class Peer(NamedTuple):
    """One contender: how to start it and what its figures mean."""

    name: str
    arguments: tuple[str, ...]
    needs: str
    """The package that must be importable."""
    meaning: str
    durability: str = "none: it writes nothing"
    """What has happened to states and outputs by the time that an offset is committed."""
    takes_workload: bool = True
    is_preloaded: bool = False
    """States are written to its changelog, and restored before it starts; peers get them at a store's first miss."""


_FAUST_DURABILITY = "weaker: commits wait neither for the changelog nor for the outputs"
_OUR_DURABILITY = "full: states, partition memory and outputs are acknowledged by all replicas before each commit"

PEERS = (
    Peer(
        "faust",
        ("-m", "stream_app.bench.peer_faust"),
        "faust",
        "stock Faust, a table write an event",
        _FAUST_DURABILITY,
    ),
    Peer(
        "faust-linger",
        ("-m", "stream_app.bench.peer_faust"),
        "faust",
        "the same with producer_linger=0.02",
        _FAUST_DURABILITY,
    ),
    Peer(
        "quix",
        ("-m", "stream_app.bench.peer_quix"),
        "quixstreams",
        "Quix Streams, RocksDB state with changelog",
        "equal: outputs and changelog are flushed and acknowledged before each commit, every 5 s; partition memory "
        "is not written",
    ),
    Peer(
        "bytewax",
        ("-m", "stream_app.bench.peer_bytewax"),
        "bytewax",
        "Bytewax, stateful_batch with recovery",
        "weaker: states are in a local SQLite file, not on the broker; outputs are flushed with every batch",
    ),
    Peer("ours", ("-m", "stream_app", "worker"), "faust", "the worker, as in production", _OUR_DURABILITY, False, True),
    Peer(
        "floor",
        ("-m", "stream_app.bench.peer_floor"),
        "aiokafka",
        "aiokafka and orjson alone: no engine",
        takes_workload=False,
    ),
)
"""In the order of the table. `faust` is what the goal of fifteen times is about."""

DEFAULT_PEERS = ("faust", "faust-linger", "quix", "bytewax", "ours", "floor")
OURS = next(peer for peer in PEERS if peer.name == "ours")


class Plan(NamedTuple):
    """How to measure."""

    seconds: float
    warm_up_seconds: float
    rounds: int
    backlog: int
    """Events that are fed before anyone starts."""
    processes: int = 1
    """Of our worker; the other contenders have one."""


class Standing(NamedTuple):
    """What became of one contender."""

    peer: str
    meaning: str
    durability: str
    status: str
    """ok, not installed, or failed."""
    detail: str
    runs: list[Measured]
    events_per_second: float | None
    """Median over the runs."""
    cpu_microseconds_per_event: float | None


def peers_named(names: Sequence[str]) -> list[Peer]:
    """Return peers in the order of the table.

    Raises
    ------
    KeyError
        An unknown name.
    """
    known = {peer.name: peer for peer in PEERS}
    wanted = {known[name].name for name in names}
    return [peer for peer in PEERS if peer.name in wanted]


async def compete(arena: Arena, peers: Sequence[Peer], plan: Plan, broker_pid: int | None, say: Say) -> list[Standing]:
    """Run all rounds and return the standings. A peer that is not installed, or fails, is told, never left out.

    Parameters
    ----------
    arena
        Where; its backlog must have been fed.
    peers
        Who.
    plan
        How.
    broker_pid
        The broker's process, where it is ours.
    say
        Progress for a person.
    """
    runs: dict[str, list[Measured]] = {peer.name: [] for peer in peers}
    troubles: dict[str, tuple[str, str]] = {}
    for turn in range(plan.rounds):
        for peer in peers:
            if peer.name in troubles:
                continue
            if find_spec(peer.needs) is None:
                troubles[peer.name] = ("not installed", f"pip install 'stream-app[bench]' brings {peer.needs}")
                continue
            try:
                measured = await run_once(arena, peer, plan, broker_pid, f"{arena.name}-{peer.name}-{turn}")
            except ContenderError as failure:
                troubles[peer.name] = ("failed", str(failure))
                say(f"round {turn + 1}: {peer.name} failed: {failure}")
                continue
            runs[peer.name].append(measured)
            say(f"round {turn + 1}: {peer.name} {measured.events_per_second:,.0f} events/s")
    return [_standing(peer, runs[peer.name], troubles.get(peer.name)) for peer in peers]


async def run_once(
    arena: Arena, peer: Peer, plan: Plan, broker_pid: int | None, app_id: str, workers: int = 1
) -> Measured:
    """Start one contender from nothing, measure it, end it and delete its topics.

    Raises
    ------
    ContenderError
        It failed.
    """
    arena.create_topics(app_id)
    try:
        if peer.is_preloaded:
            await arena.preload(app_id)
        environment = arena.environment(app_id)
        workload = (msgspec.json.encode(arena.workload).decode(),) if peer.takes_workload else ()
        extra = ("linger",) if peer.name == "faust-linger" else ()
        processes = plan.processes if peer.name == OURS.name else 1
        if processes > 1:
            extra = (*extra, "--processes", str(processes))
        async with Commits(arena.settings(app_id), arena.input_names()) as commits:
            with ExitStack() as stack:
                contenders = [
                    stack.enter_context(
                        Contender(
                            [*peer.arguments, *workload, *extra],
                            environment,
                            arena.folder / app_id / f"process-{number}",
                            processes,
                        )
                    )
                    for number in range(workers)
                ]
                watch = Watch(commits, contenders, broker_pid, plan.backlog)
                return await watch.measure(plan.warm_up_seconds, plan.seconds, START_SECONDS)
    finally:
        await arena.delete_topics(app_id)


def conditions(arena: Arena, plan: Plan, broker: str, state_bytes: float) -> dict[str, Any]:
    """Return everything that a figure depends on, for the report."""
    return {
        "broker": broker,
        "partitions": arena.workload.partitions,
        "preloaded_customers": arena.workload.customers,
        "mean_state_bytes": round(state_bytes),
        "keys": f"bursts of {arena.workload.burst}" if arena.workload.burst > 1 else "uniform",
        "shares": "94 % clicks, 5 % orders, 1 % reviews",
        "processes_of_ours": plan.processes,
        "backlog_events": plan.backlog,
        "warm_up_seconds": plan.warm_up_seconds,
        "window_seconds": plan.seconds,
        "runs": plan.rounds,
        "counted": "offsets committed by the consumer group, from commit to commit",
        "scores": "the prior model; all actions live",
        "settings": arena.changes,
        "python": sys.version.split()[0],
        "seed": arena.workload.seed,
    }


def _standing(peer: Peer, runs: list[Measured], trouble: tuple[str, str] | None) -> Standing:
    status, detail = trouble or ("ok", "")
    cpu = [run.cpu_microseconds_per_event for run in runs if run.cpu_microseconds_per_event is not None]
    return Standing(
        peer.name,
        peer.meaning,
        peer.durability,
        status,
        detail,
        runs,
        median(run.events_per_second for run in runs) if runs else None,
        median(cpu) if cpu else None,
    )
