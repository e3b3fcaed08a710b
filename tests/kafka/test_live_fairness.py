"""Profiles to report, live: what customers declare reaches the trainer with labels and outcomes, and every worker."""

import json
from typing import Any

from stream_app.adapters.assembly import fairness_watch_of
from stream_app.core.events import CustomerRecord
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.fairness_report import to_document
from stream_app.settings import Settings
from stream_app.wire.encode import decode_example
from tests.support import kafka as bench
from tests.support.kafka import NewSettings, raw
from tests.support.logs import START_MS, order, profile
from tests.support.trainers import trainer_of

CUSTOMERS, LAST_DAY = 120, 220


def shop() -> list[CustomerRecord]:
    """Return customers of two groups who order twice and fall silent, and one who keeps time going."""
    events: list[CustomerRecord] = []
    for number in range(CUSTOMERS):
        name, at_ms = f"c{number}", START_MS + number * 60_000
        said = profile(name, at_ms).model_copy(update={"attributes": {"gender": "fm"[number % 2], "shoe": "44"}})
        events += [said, order(name, at_ms + 1), order(name, at_ms + 20 * DAY_MS, f"again-{number}")]
    events += [order(f"tick{n}", START_MS + LAST_DAY * DAY_MS, f"tick-{n}") for n in range(12)]
    return sorted(events, key=lambda event: event.timestamp)


async def told(settings: Settings) -> dict[str, Any]:
    """Return the report that the topics' records make."""
    watch = fairness_watch_of(settings)
    for record in await bench.read_all(settings, settings.topic(Topic.TRAINING)):
        watch.add_example(decode_example(record.value))
    for record in await bench.read_all(settings, settings.topic(Topic.OUTCOMES)):
        watch.add_outcome(DecisionOutcome.model_validate_json(record.value))
    return to_document(watch.report())


async def test_what_customers_declare_reaches_the_report_of_every_worker(new_settings: NewSettings) -> None:
    settings = new_settings(snapshot_seconds=0.05, fairness_attributes=("gender",), policy="catalogue")
    async with bench.worker_of(settings) as worker:
        await bench.feed(settings, [raw(event) for event in shop()])
        await bench.until_processed(settings, worker)
        expected = await told(settings)
        async with trainer_of(settings):

            def is_whole() -> bool:
                shown: dict[str, Any] = json.loads(worker.views.fairness() or b"{}")
                return shown == expected

            await bench.until(is_whole, "the worker shows the trainer's whole report")
    (attribute,) = expected["attributes"]
    groups = {each["group"]: each for each in attribute["groups"]}
    assert {"f", "m"} <= set(groups)
    assert all(groups[name]["windows"] > 60 and groups[name]["offers"] > 0 for name in "fm")
    assert not expected["alarm"]
