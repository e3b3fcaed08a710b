"""Everything the live page shows, as bounded aggregates of the output topics. No I/O and no clock."""

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from stream_app.core.events import OrderEvent
from stream_app.core.times import DAY_MS, day_of, from_ms, iso, to_ms
from stream_app.core.topics import Topic
from stream_app.dashboard.census import TierCensus
from stream_app.dashboard.quality import QualityCurve
from stream_app.dashboard.reports import Reports
from stream_app.dashboard.stories import Story, StoryBook
from stream_app.wire.encode import decode_dead_letter, decode_example
from stream_app.wire.headers import Headers

LATEST = 40
LATEST_OF_REASON = 6
REMEMBERED_IDS = 10_000
DAYS_SHOWN = 60
REASONS_SHOWN = 3
PICKS_SHOWN = 3
EXCERPT = 120

REPETITIONS = frozenset({"epoch"})
"""Reasons that only repeat an earlier decision: they would drown a customer's story."""

PRODUCT_NAMES = 50_000

_NO_SNAPSHOTS = ("served/", "pinned/", "report/")
"""What else stands on the topic of snapshots: pointers to them, and reports."""

Body = Mapping[str, Any]


class Board:
    """Folds records of output topics (and, for stories, of some inputs) into what a person wants to see.

    A record that it cannot read is counted in `unreadable` and changes nothing else: a page must not end because a
    newer worker says something new. Memory is bounded whatever the number of customers and records.
    """

    def __init__(self, customers_capacity: int = 500_000) -> None:
        self.census = TierCensus(customers_capacity)
        self.quality = QualityCurve()
        self.stories = StoryBook()
        self.reports = Reports()
        self.interventions: deque[dict[str, object]] = deque(maxlen=LATEST)
        self.suppressed: dict[str, deque[dict[str, object]]] = {}
        self.by_action: Counter[str] = Counter()
        self.by_reason: Counter[str] = Counter()
        self.by_day: OrderedDict[int, int] = OrderedDict()
        self.dead_letters: Counter[str] = Counter()
        self.latest_dead_letter = ""
        self.warnings = 0
        self.snapshots = 0
        self.model_version = ""
        self.cold_start = True
        self.newest_ms = 0
        self.unreadable = 0
        self.horizon_days: int | None = None
        self._product_names: OrderedDict[str, str] = OrderedDict()
        self._ids: OrderedDict[str, None] = OrderedDict()

    def apply(self, topic: Topic, key: bytes | None, value: bytes | None, headers: Headers, record_ms: int) -> None:
        """Fold one record.

        Parameters
        ----------
        topic
            Its role.
        key, value, headers
            As they stand in the log.
        record_ms
            Its Kafka timestamp in milliseconds.
        """
        try:
            self._fold(topic, (key or b"").decode("utf-8"), value, headers, record_ms)
        except (AttributeError, KeyError, TypeError, ValueError):
            self.unreadable += 1

    def _fold(self, topic: Topic, key: str, value: bytes | None, headers: Headers, record_ms: int) -> None:
        if topic is Topic.DEAD_LETTERS:
            letter = decode_dead_letter(headers)
            self.dead_letters[letter.reason] += 1
            self.latest_dead_letter = f"{letter.topic}: {letter.detail}"
        elif topic is Topic.TRAINING and value is not None:
            one = decode_example(value)
            self.quality.add(
                one.probability, churned=one.churned, weight=one.weight, contacts=one.contacts, due_ms=one.due_ms
            )
        elif topic is Topic.SNAPSHOTS:
            self.snapshots += value is not None and not key.startswith(_NO_SNAPSHOTS)
            self.reports.take(key, value)
        elif value is None:
            if topic in {Topic.SCORES, Topic.CUSTOMERS}:
                self.census.remove(key)
                self.stories.remove(key)
        elif topic is Topic.PRODUCTS:
            self._name_product(key, orjson.loads(value))
        else:
            body = orjson.loads(value)
            self._fold_event(topic, body.get("data", body) if "specversion" in body else body, record_ms)

    def _fold_event(self, topic: Topic, body: Body, record_ms: int) -> None:
        customer = str(body["customer_id"])
        at_ms = _event_ms(body, record_ms)
        match topic:
            case Topic.SCORES:
                self._score(customer, at_ms, body)
            case Topic.WARNINGS:
                text = f"Risk went from {body['previous_tier']} to {body['tier']}"
                because = _because(body)
                self.warnings += 1
                self.stories.open(customer).tell(at_ms, "tier", text, because)
            case Topic.INTERVENTIONS:
                self._intervention(customer, at_ms, body)
            case Topic.SUPPRESSED:
                self._suppressed(customer, at_ms, body)
            case _:
                self._input(topic, customer, at_ms, body)

    def _score(self, customer: str, at_ms: int, body: Body) -> None:
        tier, probability = str(body["tier"]), float(body["probability"])
        self.horizon_days = int(body["horizon_days"])
        self.model_version, self.cold_start = str(body["model_version"]), bool(body["cold_start"])
        self.newest_ms = max(self.newest_ms, at_ms)
        self.census.put(customer, tier)
        self.stories.open(customer).score(at_ms, probability, tier)

    def _intervention(self, customer: str, at_ms: int, body: Body) -> None:
        told: dict[str, object] = {
            "at": at_ms,
            "customer": customer,
            "action": body["action"],
            "channel": body["channel"],
            "tier": body["tier"],
            "probability": body["probability"],
            "expected_value": body.get("expected_value"),
            "trigger": body["trigger"],
            "reasons": _reasons(body),
            "products": [self._product_names.get(one, one) for one in body["content"]["products"][:PICKS_SHOWN]],
        }
        if not self._first_time(body["intervention_id"]):
            return
        self.by_action[body["action"]] += 1
        self.interventions.append(told)
        day = day_of(at_ms)
        self.by_day[day] = self.by_day.get(day, 0) + 1
        while len(self.by_day) > DAYS_SHOWN:
            del self.by_day[min(self.by_day)]
        action, channel = _words(body["action"]), _words(body["channel"])
        text = action if channel in action else f"{action} by {channel}"
        self.stories.contacted(customer, at_ms).tell(at_ms, "intervention", text, _because(body))

    def _suppressed(self, customer: str, at_ms: int, body: Body) -> None:
        reason, detail = body["reason"], body["detail"]
        told: dict[str, object] = {
            "at": at_ms,
            "customer": customer,
            "reason": reason,
            "detail": detail,
            "action": body.get("action"),
            "tier": body["tier"],
            "probability": body["probability"],
        }
        if not self._first_time(body["suppression_id"]):
            return
        self.by_reason[reason] += 1
        # a few of each reason: the commonest must not hide the others
        kept = 2 if reason in REPETITIONS else LATEST_OF_REASON
        self.suppressed.setdefault(reason, deque(maxlen=kept)).append(told)
        story = self.stories.find(customer)
        if story is not None and reason not in REPETITIONS:
            story.tell(at_ms, "suppressed", f"Not contacted: {_words(reason)}", detail)

    def _input(self, topic: Topic, customer: str, at_ms: int, body: Body) -> None:
        """Tell what a customer did, where a story of theirs is kept; the inputs of all others are passed over."""
        story = self.stories.find(customer)
        if story is None:
            return
        if topic is Topic.ORDERS:
            _tell_order(story, at_ms, body)
        elif topic is Topic.REVIEWS:
            text = str(body.get("text", ""))
            said = body.get("rating") or body.get("score")
            what = _words(str(body.get("kind", "review"))) + (f", {said:g}" if said is not None else "")
            story.tell(at_ms, "review", what, text[:EXCERPT] + ("…" if len(text) > EXCERPT else ""))
        elif topic is Topic.FEEDBACK:
            story.tell(at_ms, "feedback", f"Message {body['kind']}", _words(str(body.get("channel") or "")))

    def _name_product(self, key: str, body: Body) -> None:
        self._product_names[key] = str(body.get("name") or key)
        if len(self._product_names) > PRODUCT_NAMES:
            self._product_names.popitem(last=False)

    def _first_time(self, identifier: str) -> bool:
        """Tell whether an id is new: interventions may come again after a crash, under the same id."""
        if identifier in self._ids:
            return False
        self._ids[identifier] = None
        if len(self._ids) > REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def summary(self, stories: int = 6) -> dict[str, object]:
        """Return all that the page shows, ready for JSON; times are epoch milliseconds of event time."""
        return {
            "shop_time": iso(self.newest_ms) if self.newest_ms else None,
            "tiers": self.census.counts(),
            "horizon_days": self.horizon_days,
            "customers": sum(self.census.counts().values()),
            "sampling": self.census.sampling,
            "interventions": {
                "total": self.by_action.total(),
                "by_action": self.by_action.most_common(),
                "by_day": [[from_ms(day * DAY_MS).date().isoformat(), n] for day, n in sorted(self.by_day.items())],
                "latest": list(self.interventions)[::-1],
            },
            "suppressed": {
                "total": self.by_reason.total(),
                "by_reason": self.by_reason.most_common(),
                "latest": sorted((one for few in self.suppressed.values() for one in few), key=_at, reverse=True),
            },
            "warnings": self.warnings,
            "quality": self.quality.summary(),
            "lift": self.reports.lift,
            "fairness": self.reports.fairness,
            "model": {"version": self.model_version, "snapshots": self.snapshots, "prior": self.cold_start},
            "dead_letters": {
                "total": self.dead_letters.total(),
                "by_reason": self.dead_letters.most_common(),
                "latest": self.latest_dead_letter,
            },
            "unreadable": self.unreadable,
            "stories": [self.story(one) for one in self.stories.best(stories)],
        }

    @staticmethod
    def story(story: Story) -> dict[str, object]:
        """Return one customer's story, ready for JSON."""
        return {
            "customer": story.customer_id,
            "tier": story.tier,
            "probability": story.probability,
            "scores": story.scores,
            "entries": story.entries[::-1],
        }


def _event_ms(body: Body, record_ms: int) -> int:
    stamp = body.get("event_time") or body.get("timestamp")
    return to_ms(datetime.fromisoformat(stamp)) if isinstance(stamp, str) else record_ms


def _at(entry: Mapping[str, object]) -> int:
    return int(str(entry["at"]))


def _words(code: str) -> str:
    return code.replace("_", " ").replace("-", " ")


def _reasons(body: Body) -> list[str]:
    return [str(reason["text"]) for reason in body.get("reasons", ())][:REASONS_SHOWN]


def _because(body: Body) -> str:
    return " ".join(_reasons(body))


def _tell_order(story: Story, at_ms: int, body: Body) -> None:
    order = OrderEvent.model_validate(body)
    count = len(order.items)
    what = "Ordered" if order.status == "completed" else f"Order {_words(order.status)}"
    amount = f"{order.amount:,.2f}" + (f" {order.currency}" if order.currency else "")
    story.tell(at_ms, "order", f"{what}: {amount}", f"{count} item{'s' if count != 1 else ''}" if count else "")
