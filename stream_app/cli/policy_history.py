"""`stream-app policy history|pin|rollback`: the learned policies on the topic, and which one workers follow."""

import asyncio
import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_app.adapters.model_events import event_record, policy_event_of, read_log
from stream_app.adapters.model_registry import PRIOR, ModelRefusedError, ModelRegistry
from stream_app.adapters.policy_versions import PolicyMethod, policy_pin
from stream_app.adapters.topic_reading import TopicMissingError
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.registry import registry_on_topic
from stream_app.core.model_events import ModelEvent, PolicyStep
from stream_app.decisions.policy import PolicySnapshot
from stream_app.settings import Settings, load_settings
from stream_app.worker.trainer_publish import ModelPublisher

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str, typer.Option(envvar="USER", help="Who asks; stands in the audit trail.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
WIDE = 140


class Method(StrEnum):
    """How a policy is learned."""

    LEARNED = "learned"
    Q_LEARNING = "q_learning"

    @property
    def name_of_policies(self) -> PolicyMethod:
        """Return the method as the registry names it."""
        return "learned" if self is Method.LEARNED else "q_learning"


def method_of(settings: Settings) -> PolicyMethod:
    """Return by which method the policy is learned that workers with these settings follow."""
    return "q_learning" if settings.policy == "q_learning" else "learned"


def history(as_json: AsJson = False) -> None:
    r"""List the learned policies on the topic, oldest first, which one workers follow, and who pinned what and why.

    \b
    Examples:
      stream-app policy history
      stream-app policy history --json
    """
    settings = load_settings()
    registry = registry_on_topic(settings)
    followed, by = _followed(registry, settings)
    rows = [_row(registry, version, settings) for version in registry.policies.named]
    events = [event for event in _events(settings) if event.policy]
    if as_json:
        told = [event.model_dump(mode="json") for event in events]
        print(json.dumps({"followed": followed, "chosen_by": by, "policies": rows, "events": told}, indent=2))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=WIDE)
    table = Table("", "version", "method", "published (UTC)", "actions", box=None)
    for row in rows:
        mark = ">" if row["version"] == followed else ""
        table.add_row(
            mark, row["version"], row["method"], row["published_at"], str(row.get("actions", row.get("refused")))
        )
    console.print(table)
    trail = Table("at (UTC)", "what", "policy", "instead of", "by", "why", box=None)
    for event in events:
        what = event.kind.removeprefix("policy_").replace("_", " ")
        trail.add_row(f"{event.at:%Y-%m-%d %H:%M}", what, event.policy, event.former, event.by, event.reason)
    if events:
        console.print(trail)
    print(f"workers follow: {followed} (chosen by {by})")


def pin(
    version: Annotated[
        str, typer.Argument(help="Version to decide by from now on; 'prior': the catalogue's beliefs.")
    ] = "",
    release: Annotated[bool, typer.Option("--release", help="Take the pin back: workers follow the trainer.")] = False,
    by: By = "",
    why: Why = "",
    as_json: AsJson = False,
) -> None:
    r"""Let all workers decide by one learned policy until the pin is taken back; they follow within a second or two.

    \b
    Examples:
      stream-app policy pin learned-12000-1a2b3c4d --by ada --why "before the spring sale"
      stream-app policy pin prior --by ada
      stream-app policy pin --release --by ada
    """
    if bool(version) == release:
        raise CommandError("name a version to pin, or give --release", ExitCode.USAGE)
    settings = load_settings()
    registry = registry_on_topic(settings)
    if version and version != PRIOR:
        _load(registry, version, settings)
    _pin(settings, registry, version, "policy_released" if release else "policy_pinned", by, why, as_json=as_json)


def rollback(by: By = "", why: Why = "", as_json: AsJson = False) -> None:
    r"""Pin the policy before the one that workers follow; again, to go back one more.

    \b
    Example:
      stream-app policy rollback --by ada --why "complaints doubled"
    """
    settings = load_settings()
    registry = registry_on_topic(settings)
    followed, _ = _followed(registry, settings)
    stored = registry.policies.named.get(followed)
    if stored is None:
        raise CommandError(f"nothing to roll back to: workers follow {followed}, which is no named policy of the topic")
    versions = registry.policies.of_method(stored.model)
    before = versions.index(followed) - 1
    if before < 0:
        raise CommandError(
            f"{followed} is the oldest of its kind on the topic; 'stream-app policy pin prior' goes behind it"
        )
    _load(registry, versions[before], settings)
    _pin(settings, registry, versions[before], "policy_rolled_back", by, why, as_json=as_json)


def _pin(
    settings: Settings, registry: ModelRegistry, version: str, step: PolicyStep, by: str, why: str, *, as_json: bool
) -> None:
    if not by:
        raise CommandError("say who asks: --by NAME", ExitCode.USAGE)
    former, _ = _followed(registry, settings)
    registry.policies.pinned = version
    followed, _ = _followed(registry, settings)
    event = policy_event_of(step, settings.horizon_days, followed, former, by, datetime.now(UTC), why)

    async def send() -> None:
        # The trail first: nothing happens that is not in it.
        async with ModelPublisher(settings) as publisher:
            await publisher.send(event_record(event))
            await publisher.send(policy_pin(version))

    asyncio.run(send())
    if as_json:
        print(json.dumps({"pinned": version or None, "followed": followed, "event": event.event_id}))
        return
    print(f"pinned: {version}" if version else f"pin released: workers follow {followed}")
    if settings.policy == "catalogue" or settings.policy_file is not None:
        setting = "STREAM_APP_POLICY=catalogue" if settings.policy_file is None else "STREAM_APP_POLICY_FILE"
        print(f"but {setting} stands above pins wherever it is set")


def _followed(registry: ModelRegistry, settings: Settings) -> tuple[str, str]:
    """Return the version that workers follow by the topic, and who says so."""
    choice = registry.policies.choice(method_of(settings))
    if choice.version:
        return choice.version, choice.by
    if choice.stored is None:
        return PRIOR, choice.by
    try:
        policy = registry.policies.load_chosen(method_of(settings), _key(settings))
    except ModelRefusedError as error:
        raise CommandError(str(error)) from error
    return (PRIOR if policy is None else policy.version), choice.by


def _load(registry: ModelRegistry, version: str, settings: Settings) -> PolicySnapshot:
    try:
        return registry.policies.load(version, _key(settings))
    except ModelRefusedError as error:
        raise CommandError(str(error)) from error


def _key(settings: Settings) -> bytes:
    return settings.model_key.get_secret_value().encode()


def _events(settings: Settings) -> tuple[ModelEvent, ...]:
    try:
        return asyncio.run(read_log(settings)).events
    except TopicMissingError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure


def _row(registry: ModelRegistry, version: str, settings: Settings) -> dict[str, Any]:
    stored = registry.policies.named[version]
    published = datetime.fromtimestamp(stored.stored_at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    row: dict[str, Any] = {"version": version, "method": stored.model, "published_at": published}
    try:
        policy = registry.policies.load(version, _key(settings))
    except ModelRefusedError as error:
        return row | {"refused": str(error)}
    return row | {"actions": len(policy.beliefs)}
