"""`stream-app model`: list, show, pin and roll back model snapshots, straight from the topic."""

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_app.adapters.model_registry import PRIOR, ModelRefusedError, ModelRegistry, pointer_record
from stream_app.cli import agreement, card
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.registry import registry_on_topic
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings, load_settings
from stream_app.worker.trainer_publish import ModelPublisher

app = typer.Typer(no_args_is_help=True, help="List, show, pin and roll back model snapshots.")

app.command("agreement")(agreement.command)
app.command("card")(card.command)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Horizon = Annotated[int | None, typer.Option(help="One of STREAM_APP_EXTRA_HORIZONS_DAYS. Default: the first horizon.")]
MOST_WEIGHTS = 20


@app.command("list")
def list_models(horizon_days: Horizon = None, as_json: AsJson = False) -> None:
    """List the snapshots on the topic, oldest first, and say which one workers serve."""
    settings = _settings(horizon_days)
    registry = registry_on_topic(settings)
    choice = registry.choice(settings.horizon_days, settings.pinned_model)
    rows = [_row(registry, version, settings) for version in registry.snapshots]
    if as_json:
        print(json.dumps({"served": choice.version or PRIOR, "chosen_by": choice.by, "snapshots": rows}, indent=2))
        return
    table = Table("", "version", "published (UTC)", "examples", "through", "AUC", "log loss", "ECE", box=None)
    for row in rows:
        mark = ">" if row["version"] == choice.version else ""
        if "refused" in row:
            table.add_row(mark, row["version"], row["published_at"], row["refused"])
            continue
        quality = [_number(row["metrics"].get(f"recent_{name}")) for name in ("auc", "log_loss", "ece")]
        table.add_row(
            mark, row["version"], row["published_at"], f"{row['trained_examples']:,}", row["trained_through"], *quality
        )
    Console().print(table)
    by = {
        "setting": "STREAM_APP_PINNED_MODEL",
        "pin": "a pin",
        "trainer": "the trainer",
        "nobody": "nobody: no snapshot",
    }
    print(f"served: {choice.version or PRIOR} (chosen by {by[choice.by]})")


@app.command()
def show(
    version: Annotated[str, typer.Argument(help="Version; default: the one that is served.")] = "",
    horizon_days: Horizon = None,
    as_json: AsJson = False,
) -> None:
    """Show one snapshot: what it was trained on, its quality and its largest weights."""
    settings = _settings(horizon_days)
    registry = registry_on_topic(settings)
    wanted = version or registry.choice(settings.horizon_days, settings.pinned_model).version
    if wanted in {"", PRIOR}:
        raise CommandError(
            "the prior is served: it has no snapshot to show ('stream-app model list' shows what there is)"
        )
    snapshot = _load(registry, wanted, settings)
    weights = sorted(zip(snapshot.inputs, snapshot.weights, strict=True), key=lambda pair: -abs(pair[1]))
    if as_json:
        body = _summary(snapshot) | {"intercept": snapshot.intercept, "weights": dict(weights)}
        print(json.dumps(body, indent=2))
        return
    for name, value in _summary(snapshot).items():
        if name != "metrics":
            print(f"{name:<20} {value}")
    for name, value in sorted(snapshot.metrics.items()):
        print(f"{name:<30} {_number(value)}")
    print(f"largest of {len(weights)} weights (standardised inputs; positive raises the risk):")
    for name, weight in weights[:MOST_WEIGHTS]:
        print(f"  {name:<28} {weight:+.4f}")


@app.command()
def pin(
    version: Annotated[str, typer.Argument(help="Version to serve from now on; 'prior': no learned model.")] = "",
    release: Annotated[
        bool, typer.Option("--release", help="Take the pin back: the trainer's newest is served.")
    ] = False,
    horizon_days: Horizon = None,
    as_json: AsJson = False,
) -> None:
    """Let all workers serve one version until the pin is taken back; they follow within a second or two."""
    if bool(version) == release:
        raise CommandError("name a version to pin, or give --release", ExitCode.USAGE)
    settings = _settings(horizon_days)
    registry = registry_on_topic(settings)
    if version and version != PRIOR:
        _load(registry, version, settings)
    _pin(settings, registry, version, as_json=as_json)


@app.command()
def rollback(horizon_days: Horizon = None, as_json: AsJson = False) -> None:
    """Pin the version before the one that is served; again, to go back one more."""
    settings = _settings(horizon_days)
    registry = registry_on_topic(settings)
    served = registry.choice(settings.horizon_days, settings.pinned_model).version
    versions = [
        version for version in registry.snapshots if _horizon(registry, version, settings) == settings.horizon_days
    ]
    if served == PRIOR or not versions or served not in versions:
        raise CommandError(f"nothing to roll back to: {served or PRIOR} is served")
    before = versions.index(served) - 1
    if before < 0:
        raise CommandError(f"{served} is the oldest snapshot on the topic; 'stream-app model pin prior' serves none")
    _pin(settings, registry, versions[before], as_json=as_json)


def _settings(horizon_days: int | None) -> Settings:
    """Return the settings as they are for one of the configured horizons."""
    settings = load_settings()
    if horizon_days is None or horizon_days == settings.horizon_days:
        return settings
    if horizon_days not in settings.extra_horizons_days:
        known = ", ".join(map(str, (settings.horizon_days, *settings.extra_horizons_days)))
        raise CommandError(
            f"no model of {horizon_days} days is served: choose {known}, or add it to STREAM_APP_EXTRA_HORIZONS_DAYS",
            ExitCode.USAGE,
        )
    pinned = settings.pinned_model if settings.pinned_model == PRIOR else ""
    return settings.model_copy(update={"horizon_days": horizon_days, "pinned_model": pinned})


def _pin(settings: Settings, registry: ModelRegistry, version: str, *, as_json: bool) -> None:
    async def send() -> None:
        async with ModelPublisher(settings) as publisher:
            await publisher.send(pointer_record("pinned", settings.horizon_days, version))

    asyncio.run(send())
    served = version or registry.pointer("served", settings.horizon_days) or PRIOR
    overruled = settings.pinned_model
    if as_json:
        print(json.dumps({"pinned": version or None, "served": overruled or served}))
        return
    print(f"pinned: {version}" if version else f"pin released: {served} is served")
    if overruled:
        print(f"but STREAM_APP_PINNED_MODEL={overruled} stands above pins wherever it is set")


def _load(registry: ModelRegistry, version: str, settings: Settings) -> ModelSnapshot:
    try:
        return registry.load(version, settings.model_key.get_secret_value().encode(), settings.horizon_days)
    except ModelRefusedError as error:
        raise CommandError(str(error)) from error


def _horizon(registry: ModelRegistry, version: str, settings: Settings) -> int | None:
    try:
        return registry.load(version, settings.model_key.get_secret_value().encode(), None).horizon_days
    except ModelRefusedError:
        return None


def _row(registry: ModelRegistry, version: str, settings: Settings) -> dict[str, Any]:
    stored = registry.snapshots[version]
    row: dict[str, Any] = {"version": version, "model": stored.model, "published_at": _utc(stored.stored_at_ms)}
    row["age_seconds"] = round(time.time() - stored.stored_at_ms / 1_000)
    try:
        snapshot = registry.load(version, settings.model_key.get_secret_value().encode(), None)
    except ModelRefusedError as error:
        return row | {"refused": str(error)}
    return row | _summary(snapshot)


def _summary(snapshot: ModelSnapshot) -> dict[str, Any]:
    return {
        "version": snapshot.version,
        "model": snapshot.model,
        "horizon_days": snapshot.horizon_days,
        "trained_examples": snapshot.trained_examples,
        "trained_through": _utc(snapshot.trained_through_ms),
        "features_hash": snapshot.features_hash,
        "metrics": snapshot.metrics,
    }


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
