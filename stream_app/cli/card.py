"""`stream-app model card`: what is known of the model that serves, from the running system."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import orjson
import typer
from aiokafka import ConsumerRecord

from stream_app.adapters.model_card import CardEvidence, ModelCard, build_card
from stream_app.adapters.model_card_page import card_page
from stream_app.adapters.model_events import read_log
from stream_app.adapters.model_registry import PRIOR, ModelRefusedError, ModelRegistry
from stream_app.adapters.topic_reading import TopicMissingError, read_topics
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.topics import Topic
from stream_app.settings import Settings, load_settings
from stream_app.wire.encode import decode_example

MOST_LABELS = 200_000


class _Profile(msgspec.Struct):
    attributes: dict[str, str] = {}


def command(
    out: Annotated[Path | None, typer.Option(help="File to write; absent: the terminal.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of Markdown.")] = False,
    attribute: Annotated[str, typer.Option(help="Declared attribute of profiles to compare groups by.")] = "",
    labels: Annotated[int, typer.Option(min=1, help="Newest labels to judge the scores on.")] = MOST_LABELS,
) -> None:
    r"""Write the model card: data, definition, quality, calibration, fairness, drift, cost and limits.

    \b
    Example:
      stream-app model card --attribute region --out model-card.md
    """
    card = asyncio.run(_card(load_settings(), attribute, labels))
    text = msgspec.json.format(msgspec.json.encode(card)).decode() if as_json else card_page(card)
    if out is None:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
        print(f"{out}: card of {card.model['version']}")


async def _card(settings: Settings, attribute: str, labels: int) -> ModelCard:
    registry, evidence = ModelRegistry(), CardEvidence(settings.horizon_days, attribute)

    def take(topic: Topic, record: ConsumerRecord) -> None:
        match topic:
            case Topic.SNAPSHOTS:
                registry.apply(record.key, record.value, record.headers, record.timestamp)
            case Topic.CUSTOMERS:
                _take_profile(evidence, record)
            case Topic.INTERVENTIONS:
                _take_intervention(evidence, record)
            case _:
                _take_example(evidence, record)

    try:
        await read_topics(settings, (Topic.SNAPSHOTS, Topic.CUSTOMERS), take)
        await read_topics(settings, (Topic.TRAINING, Topic.INTERVENTIONS), take, newest=labels)
        log = await read_log(settings)
    except TopicMissingError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure
    choice = registry.choice(settings.horizon_days, settings.pinned_model)
    if choice.version in {"", PRIOR}:
        raise CommandError("the prior is served: there is no learned model to tell of yet")
    try:
        snapshot = registry.load(choice.version, settings.model_key.get_secret_value().encode(), settings.horizon_days)
    except ModelRefusedError as failure:
        raise CommandError(str(failure)) from failure
    stored_at_ms = registry.snapshots[choice.version].stored_at_ms
    return build_card(settings, snapshot, choice.by, stored_at_ms, evidence, log)


def _take_profile(evidence: CardEvidence, record: ConsumerRecord) -> None:
    customer_id = (record.key or b"").decode("utf-8", "replace")
    if record.value is None:
        evidence.add_profile(customer_id, None)
        return
    try:
        evidence.add_profile(customer_id, msgspec.json.decode(record.value, type=_Profile).attributes)
    except (msgspec.DecodeError, UnicodeDecodeError):
        evidence.counts["unreadable"] += 1


def _take_intervention(evidence: CardEvidence, record: ConsumerRecord) -> None:
    try:
        act = orjson.loads(record.value or b"{}")
        act = act.get("data", act)
        evidence.add_intervention(act["intervention_id"], act["customer_id"], float(act["cost"]))
    except (ValueError, KeyError, AttributeError, TypeError):
        evidence.counts["unreadable"] += 1


def _take_example(evidence: CardEvidence, record: ConsumerRecord) -> None:
    try:
        evidence.add_example(decode_example(record.value or b""))
    except ValueError:
        evidence.counts["unreadable"] += 1
