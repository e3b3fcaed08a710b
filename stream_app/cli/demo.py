"""`stream-app demo`: the whole product on this machine, with a simulated shop or a file of real events."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from stream_app.cli.demo_crew import LOOPBACK, RunFolder, choose_port
from stream_app.cli.demo_stage import Stage
from stream_app.cli.errors import CommandError
from stream_app.core.times import DAY_MS, SECOND_MS
from stream_app.settings import ENV_PREFIX, Settings, load_settings

SECONDS_VARIABLE = "STREAM_APP_DEMO_SECONDS"
CUSTOMERS = 600
DAYS = 500
"""The shop ends today. A few hundred events a second for so long: the embedded broker forgets nothing."""


def demo(
    data: Annotated[
        Path | None, typer.Option(help="Feed this file of real events instead of simulating a shop.", exists=True)
    ] = None,
    seconds: Annotated[
        float, typer.Option(help="End so long after the shop opened; 0: at Ctrl-C.", envvar=SECONDS_VARIABLE, min=0)
    ] = 0.0,
    days_per_second: Annotated[float, typer.Option(help="How fast the shop's time passes.", min=0.01)] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed is another shop.")] = 7,
    folder: Annotated[Path, typer.Option(help="Where logs and data of the runs go.")] = Path(".stream-app/demo"),
) -> None:
    r"""Watch it work: embedded broker, worker, trainer, a simulated shop at a day a second, and a live page.

    Prints a JSON summary as its last line. Exits 1 when it was to end by itself and no intervention came.

    \b
    Examples:
      stream-app demo
      stream-app demo --data orders.jsonl.gz
      STREAM_APP_DEMO_SECONDS=60 stream-app demo
    """
    if data is None:
        shop = ["simulate", "--kafka", "--respond", "--customers", str(CUSTOMERS), "--days", str(DAYS)]
        shop += ["--seed", str(seed), "--speed", str(days_per_second)]
    else:
        shop = ["feed", str(data.absolute()), "--speed", str(days_per_second * DAY_MS / SECOND_MS)]
    run = RunFolder(folder)
    settings = _only_the_demos_settings(run.path, consents_unknown=data is not None)
    summary = asyncio.run(Stage(run, settings, _say).play(shop, seconds=seconds))
    _say(f"ended; the logs stay in {run.path} until the next demo")
    print(json.dumps(summary), flush=True)
    if seconds and not summary["interventions"]:
        raise CommandError(f"no intervention came in {seconds:.0f} seconds; the logs are in {run.path}")


def _say(text: str) -> None:
    """Tell the person at the terminal; standard output is for the summary alone."""
    print(text, file=sys.stderr, flush=True)


def _only_the_demos_settings(run_dir: Path, *, consents_unknown: bool) -> Settings:
    """Put the demo's settings into the environment, which the children inherit, and return them.

    Whatever else is set there or in a `.env` belongs to another installation, maybe to production: none of it counts.
    """
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        del os.environ[name]
    os.chdir(run_dir)
    wanted = {"broker": 9092, "metrics": 9464, "api": 6066, "dashboard": 8080}
    ports = {}
    for name, preferred in wanted.items():
        ports[name], free = choose_port(preferred)
        if not free:
            _say(f"port {preferred} is taken by another program: the {name} uses {ports[name]}")
    chosen = {
        "BOOTSTRAP": f"{LOOPBACK}:{ports['broker']}",
        "METRICS_HOST": LOOPBACK,
        "METRICS_PORT": str(ports["metrics"]),
        "API_PORT": str(ports["api"]),
        "DASHBOARD_PORT": str(ports["dashboard"]),
        "DATA_DIR": str(run_dir),
        "PARTITIONS": "4",
        "CLOCK": "event",
        "ACTIONS_MODE": "live",
        # a file of orders says nothing about consent, and without any nobody would be contacted
        "UNKNOWN_CONSENT": "allow" if consents_unknown else "as_written",
        "FAIRNESS_ATTRIBUTES": "[]" if consents_unknown else '["age_band"]',
        "SNAPSHOT_SECONDS": "5",
        "SNAPSHOT_EXAMPLES": "250",
        "CHECKPOINT_SECONDS": "5",
    }
    os.environ.update({ENV_PREFIX + name: value for name, value in chosen.items()})
    return load_settings()


command = demo
