"""The topics that stream-app needs, as data, and how to create and check them on a broker."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError

from stream_app.adapters.clients import client_arguments
from stream_app.core.times import DAY_MS, HOUR_MS
from stream_app.core.topics import CUSTOMER_TOPICS, Topic
from stream_app.settings import ENV_PREFIX, Settings

_TOPIC_EXISTS = 36
_BOOTSTRAP_TIMEOUT_MS = 5_000
_MIN_COPIES_FOR_INSYNC = 3
_SHORT_RETENTION_MS = 7 * DAY_MS
_FOR_EVER_MS = -1
_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
"""Our own records carry event times, which may lie years back: retention and compaction must count from writing."""

_KEYED_OUTPUTS = (Topic.INTERVENTIONS, Topic.WARNINGS, Topic.SUPPRESSED, Topic.DEAD_LETTERS)
_Answer = TypeVar("_Answer")


class TopicsError(RuntimeError):
    """The broker could not be asked; the message says what to do."""


class TopicPlan(NamedTuple):
    """What one topic must be like. `config` holds only what matters to us; everything else is the platform's."""

    name: str
    purpose: str
    partitions: int
    replication_factor: int
    config: dict[str, str]


class TopicFacts(NamedTuple):
    """What one topic is like on the broker."""

    partitions: int
    replication_factor: int
    config: dict[str, str]


class Difference(NamedTuple):
    """One way in which a topic is not as planned."""

    topic: str
    property: str
    expected: str
    found: str
    remedy: str


class Creation(NamedTuple):
    """What `create_topics` did."""

    created: list[str]
    existing: list[str]


def plan_topics(settings: Settings) -> list[TopicPlan]:
    """Return every topic of an installation, the changelog included, in the order of `Topic`."""
    keyed, single = settings.partitions, 1
    compact = {"cleanup.policy": "compact"}

    def delete(retention_ms: int) -> dict[str, str]:
        return {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}

    history = delete(settings.input_retention_ms)
    shapes: dict[Topic, tuple[int, dict[str, str]]] = {
        **dict.fromkeys(CUSTOMER_TOPICS, (keyed, history)),
        Topic.CUSTOMERS: (keyed, compact),
        Topic.PRODUCTS: (single, compact),
        Topic.CALENDAR: (single, compact),
        **dict.fromkeys(_KEYED_OUTPUTS, (keyed, delete(settings.output_retention_ms) | _APPEND_TIME)),
        Topic.SCORES: (keyed, compact | _APPEND_TIME),
        Topic.REROUTED: (keyed, delete(_SHORT_RETENTION_MS) | _APPEND_TIME),
        Topic.TICKS: (keyed, delete(_SHORT_RETENTION_MS) | _APPEND_TIME),
        Topic.TRAINING: (single, delete(settings.training_retention_ms) | _APPEND_TIME),
        Topic.OUTCOMES: (single, delete(settings.training_retention_ms) | _APPEND_TIME),
        Topic.POPULATION: (single, compact | _APPEND_TIME),
        # Small segments: every worker reads this topic whole at its start, and only closed segments are compacted.
        Topic.SNAPSHOTS: (
            single,
            compact | _APPEND_TIME | {"segment.bytes": str(16 << 20), "segment.ms": str(HOUR_MS)},
        ),
        Topic.MODEL_EVENTS: (single, delete(_FOR_EVER_MS) | _APPEND_TIME),
    }
    plans = [
        TopicPlan(settings.topic(role), role.value, partitions, settings.replication_factor, dict(config))
        for role in Topic
        for partitions, config in (shapes[role],)
    ]
    # A former owner that wakes from a pause must still find the records that it may contradict, so that a successor
    # sees both: nothing is compacted away within the lag. The rest keeps the changelog short, and recovery with it.
    changelog = compact | _APPEND_TIME
    changelog |= {
        "min.compaction.lag.ms": str(HOUR_MS),
        "min.cleanable.dirty.ratio": "0.2",
        "segment.ms": str(6 * HOUR_MS),
    }
    plans.append(TopicPlan(settings.changelog_topic, "changelog", keyed, settings.replication_factor, changelog))
    if settings.replication_factor >= _MIN_COPIES_FOR_INSYNC:
        for plan in plans:
            plan.config["min.insync.replicas"] = str(settings.replication_factor - 1)
    return plans


def create_topics(settings: Settings) -> Creation:
    """Create the topics that do not exist; those that do are left as they are (see `check_topics`).

    Raises
    ------
    TopicsError
        When the broker cannot be reached or refuses.
    """
    plans = plan_topics(settings)
    wanted = {
        plan.name: {
            "num_partitions": plan.partitions,
            "replication_factor": plan.replication_factor,
            "configs": plan.config,
        }
        for plan in plans
    }

    def create(admin: Any) -> Creation:
        existing = set(admin.list_topics())
        missing = {name: shape for name, shape in wanted.items() if name not in existing}
        if missing:
            answer = admin.create_topics(missing, raise_errors=False, wait_for_metadata=True)
            refused = [
                f"{result['name']}: {result['error_message'] or result['error_code']}"
                for result in answer["topics"]
                if result["error_code"] not in {0, _TOPIC_EXISTS}
            ]
            if refused:
                raise TopicsError("the broker refused to create " + "; ".join(refused))
        return Creation([name for name in wanted if name in missing], [name for name in wanted if name in existing])

    return _ask(settings, create)


def describe_topics(settings: Settings, names: Sequence[str]) -> dict[str, TopicFacts]:
    """Return what the named topics are like; those that do not exist are left out.

    Raises
    ------
    TopicsError
        When the broker cannot be reached or refuses.
    """

    def describe(admin: Any) -> dict[str, TopicFacts]:
        present = sorted(set(names) & set(admin.list_topics()))
        if not present:
            return {}
        resources = [ConfigResource("topic", name) for name in present]
        configs: Mapping[str, Any] = admin.describe_configs(resources, config_filter="all").get("topic", {})
        return {
            topic["name"]: TopicFacts(
                len(topic["partitions"]),
                min((len(partition["replica_nodes"]) for partition in topic["partitions"]), default=0),
                {key: str(entry["value"]) for key, entry in configs.get(topic["name"], {}).items()},
            )
            for topic in admin.describe_topics(present)
        }

    return _ask(settings, describe)


def check_topics(settings: Settings) -> list[Difference]:
    """Return everything in which the topics on the broker are not as planned; empty when all is well.

    Raises
    ------
    TopicsError
        When the broker cannot be reached or refuses.
    """
    plans = plan_topics(settings)
    facts = describe_topics(settings, [plan.name for plan in plans])
    return [difference for plan in plans for difference in compare(plan, facts.get(plan.name))]


def compare(plan: TopicPlan, facts: TopicFacts | None) -> list[Difference]:
    """Return in what a topic differs from its plan, with the remedy of each.

    Parameters
    ----------
    plan
        What it must be like.
    facts
        What it is like; None where it does not exist. Settings that the broker does not report are not judged.
    """
    if facts is None:
        return [Difference(plan.name, "exists", "yes", "no", "run: stream-app topics create")]
    found = []
    if facts.partitions != plan.partitions:
        remedy = _partitions_remedy(plan, facts)
        found.append(Difference(plan.name, "partitions", str(plan.partitions), str(facts.partitions), remedy))
    if facts.replication_factor < plan.replication_factor:
        remedy = f"reassign its replicas, or set {ENV_PREFIX}REPLICATION_FACTOR"
        expected, actual = str(plan.replication_factor), str(facts.replication_factor)
        found.append(Difference(plan.name, "replication factor", expected, actual, remedy))
    for key, expected in plan.config.items():
        actual = facts.config.get(key, expected)
        if actual != expected:
            remedy = f"kafka-configs.sh --alter --topic {plan.name} --add-config {key}={expected}"
            if key == "retention.ms":
                remedy += f", or set {ENV_PREFIX}{_retention_setting(plan)}"
            found.append(Difference(plan.name, key, expected, actual, remedy))
    return found


def _partitions_remedy(plan: TopicPlan, facts: TopicFacts) -> str:
    if plan.partitions == 1:
        return "create it anew with one partition: one learner reads it in order"
    return (
        f"set {ENV_PREFIX}PARTITIONS={facts.partitions} if all customer topics have so many (only before the "
        f"first run of an app id), or feed a topic with {plan.partitions} partitions"
    )


def _retention_setting(plan: TopicPlan) -> str:
    if plan.purpose in CUSTOMER_TOPICS:
        return "INPUT_RETENTION_MS"
    return "TRAINING_RETENTION_MS" if plan.partitions == 1 else "OUTPUT_RETENTION_MS"


def _ask(settings: Settings, question: Callable[[Any], _Answer]) -> _Answer:
    try:
        with closing(
            KafkaAdminClient(
                client_id="stream-app-topics", bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS, **client_arguments(settings)
            )
        ) as admin:
            return question(admin)
    except KafkaError as failure:
        raise TopicsError(
            f"no usable answer from the broker at {settings.bootstrap} ({type(failure).__name__}): is it running, "
            f"and are {ENV_PREFIX}BOOTSTRAP and {ENV_PREFIX}SECURITY_PROTOCOL right?"
        ) from failure
