"""`stream-app bench`: the worker beside other stream libraries, latency, and what growth costs.

In full this takes about an hour and a half. A short form of everything, about 25 minutes on two idle cores:

    stream-app bench --seconds 20 --warm-up 5 --rounds 2 --json
    stream-app bench --uniform --seconds 20 --warm-up 5 --rounds 1 --peer ours --peer quix --peer floor --json
    stream-app bench latency --seconds 60 --json
    stream-app bench scaling --seconds 15 --warm-up 5 --rounds 1 --json
"""

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from stream_app.bench.arena import Arena
from stream_app.bench.contest import DEFAULT_PEERS, PEERS, Peer, Plan, compete, conditions, peers_named
from stream_app.bench.latency import LatencyPlan, measure_latency
from stream_app.bench.report import as_json as report_json
from stream_app.bench.report import as_table
from stream_app.bench.scaling import measure_scaling, scaling_table
from stream_app.bench.stage import Stage, broker_of
from stream_app.bench.workload import BURST, Workload
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.settings import Settings

app = typer.Typer(rich_markup_mode=None)

EXPECTED_RATE = 90_000
"""Events a second for which a backlog is made, unless told otherwise; the floor drains it sooner, and says so."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")]
Broker = Annotated[str, typer.Option(help="apache (started here), embedded (smoke only), or host:port.")]
Seconds = Annotated[float, typer.Option(min=1, help="Length of each measured window.")]
WarmUp = Annotated[float, typer.Option(min=0, help="Seconds before it, from the first commit on.")]
Rounds = Annotated[int, typer.Option(min=1, help="Runs of each; medians are shown.")]
Preload = Annotated[int, typer.Option(min=1, help="Customers that are known before the first event.")]
Partitions = Annotated[int, typer.Option(min=1, help="Partitions of all customer topics.")]
Processes = Annotated[int, typer.Option(min=1, help="Processes of our worker; CPU and memory are those of all.")]
Uniform = Annotated[bool, typer.Option("--uniform", help="Every event of another customer, instead of bursts of 8.")]
Events = Annotated[int, typer.Option(min=0, help="Backlog to feed; 0: enough for the window.")]

Change = Annotated[
    list[str] | None, typer.Option("--set", help="A contender's setting, e.g. max_chunk_records=500; repeat for more.")
]


@app.callback(invoke_without_command=True)
def contest(
    context: typer.Context,
    peer: Annotated[
        list[str] | None, typer.Option(help=f"Only these, repeated: {', '.join(one.name for one in PEERS)}.")
    ] = None,
    seconds: Seconds = 60,
    warm_up: WarmUp = 10,
    rounds: Rounds = 3,
    preload: Preload = 1_000_000,
    partitions: Partitions = 12,
    processes: Processes = 1,
    uniform: Uniform = False,
    events: Events = 0,
    broker: Broker = "apache",
    change: Change = None,
    as_json: AsJson = False,
) -> None:
    r"""Run the worker and its peers on the same backlog with the same engine, and count committed events.

    \b
    Examples:
      stream-app bench --json                                   as in the goals: a minute each, three rounds
      stream-app bench --peer ours --peer faust --seconds 15 --rounds 1 --preload 100000
      stream-app bench --seconds 20 --warm-up 5 --rounds 2      the short form, all peers
      stream-app bench --peer ours --processes 2                one worker of two processes
      stream-app bench latency --rate 10000 --seconds 300
      stream-app bench scaling
    """
    if context.invoked_subcommand is not None:
        return
    peers, changes = _peers(peer or DEFAULT_PEERS), _changes(change)
    workload = Workload(customers=preload, partitions=partitions, burst=1 if uniform else BURST)
    plan = Plan(seconds, warm_up, rounds, events or int((seconds + warm_up) * EXPECTED_RATE), processes)

    async def run(stage: Stage, folder: Path) -> None:
        arena = Arena(stage.bootstrap, workload, folder, "bench", changes=changes)
        arena.create_topics(arena.name)
        state_bytes = _mean_state_bytes(arena)
        loaded = await arena.feed(plan.backlog)
        _say(f"fed {loaded.records:,} events of {loaded.bytes / loaded.records:.0f} bytes in {loaded.seconds:.0f} s")
        standings = await compete(arena, peers, plan, stage.pid, _say)
        await arena.delete_topics(arena.name, inputs=True)
        told = conditions(arena, plan, stage.description, state_bytes)
        print(json.dumps(report_json(told, standings), indent=2) if as_json else as_table(told, standings))

    _on_stage(broker, run)


@app.command()
def latency(
    rate: Annotated[int, typer.Option(min=1, help="Events a second, sent on schedule whatever comes back.")] = 10_000,
    seconds: Seconds = 300,
    warm_up: WarmUp = 20,
    preload: Preload = 1_000_000,
    partitions: Partitions = 12,
    uniform: Uniform = False,
    broker: Broker = "apache",
    change: Change = None,
    as_json: AsJson = False,
) -> None:
    """Measure from an event's intended send time to its intervention on the topic, open loop, all clocks running."""
    workload = Workload(customers=preload, partitions=partitions, burst=1 if uniform else BURST)

    async def run(stage: Stage, folder: Path) -> None:
        report = await measure_latency(
            stage.bootstrap,
            workload,
            folder,
            LatencyPlan(rate, seconds, warm_up, _changes(change)),
            stage.description,
            _say,
        )
        print(
            json.dumps(report, indent=2) if as_json else "\n".join(f"{name}: {value}" for name, value in report.items())
        )

    _on_stage(broker, run)


@app.command()
def scaling(
    customers: Annotated[str, typer.Option(help="Preloaded customers, comma-separated.")] = "10000,100000,1000000",
    partitions: Annotated[str, typer.Option(help="Partition counts, comma-separated.")] = "1,12,96",
    workers: Annotated[str, typer.Option(help="Numbers of workers, comma-separated.")] = "1,2",
    seconds: Seconds = 30,
    warm_up: WarmUp = 10,
    rounds: Rounds = 3,
    events: Events = 0,
    broker: Broker = "apache",
    change: Change = None,
    as_json: AsJson = False,
) -> None:
    """Measure the worker's cost an event against customers, partitions and workers; one is varied at a time.

    An empty list leaves that variation out: --customers "" --partitions "" measures workers only.
    """
    plan = Plan(seconds, warm_up, rounds, events or int((seconds + warm_up) * EXPECTED_RATE))
    varied = (_counts(customers), _counts(partitions), _counts(workers))

    async def run(stage: Stage, folder: Path) -> None:
        report = await measure_scaling(stage, folder, plan, *varied, _changes(change), _say)
        print(json.dumps(report, indent=2) if as_json else scaling_table(report))

    _on_stage(broker, run)


def _on_stage(broker: str, run: Callable[[Stage, Path], Coroutine[Any, Any, None]]) -> None:
    # Topics are made and deleted all the time: the client's retries until leaders are known are no news.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="stream-app-bench-") as folder, broker_of(broker, Path(folder)) as stage:
        asyncio.run(run(stage, Path(folder)))


def _mean_state_bytes(arena: Arena) -> float:
    population = arena.population()
    sizes = [len(population.state(f"c{index:011d}")) for index in range(min(2_000, arena.workload.customers))]
    return sum(sizes) / len(sizes)


def _peers(names: list[str] | tuple[str, ...]) -> list[Peer]:
    try:
        return peers_named(names)
    except KeyError as unknown:
        known = ", ".join(peer.name for peer in PEERS)
        raise CommandError(f"--peer {unknown.args[0]}: there are {known}", ExitCode.USAGE) from None


def _changes(given: list[str] | None) -> dict[str, str]:
    changes = {}
    for one in given or ():
        name, separator, value = one.partition("=")
        if not separator or name not in Settings.model_fields:
            raise CommandError(f"--set {one}: give NAME=VALUE of a setting (see 'stream-app settings')", ExitCode.USAGE)
        changes[name] = value
    return changes


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",") if part]
    except ValueError:
        counts = [0]
    if min(counts, default=1) < 1:
        raise CommandError(f"{text!r}: give whole numbers, comma-separated", ExitCode.USAGE)
    return counts


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
