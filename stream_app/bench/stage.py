"""The broker that a benchmark runs on: one of ours for as long as it lasts, or one that is there."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stream_app.adapters.broker import ApacheKafka, BrokerError, EmbeddedBroker, resolve_kafka_jars
from stream_app.adapters.topics_admin import TopicsError, describe_topics
from stream_app.settings import Settings

KAFKA_POM = Path(__file__).resolve().parents[2] / "tests" / "kafka" / "pom.xml"
JARS_VARIABLE = "STREAM_APP_TEST_KAFKA_JARS"
HEAP_MEBIBYTES = 1024
READY_SECONDS = 60.0


class Stage(NamedTuple):
    """A broker in use."""

    bootstrap: str
    description: str
    pid: int | None


@contextmanager
def broker_of(kind: str, folder: Path) -> Iterator[Stage]:
    """Give a broker: `apache` and `embedded` are started here and ended afterwards, `host:port` is taken as it is.

    Raises
    ------
    BrokerError
        It cannot be started.
    """
    if kind == "apache":
        with ApacheKafka(folder / "kafka", _jars(), heap_megabytes=HEAP_MEBIBYTES) as broker:
            _wait_until_it_answers(broker.bootstrap)
            yield Stage(broker.bootstrap, "Apache Kafka, one node on this machine", broker.pid)
    elif kind == "embedded":
        with EmbeddedBroker(folder / "embedded") as embedded:
            _wait_until_it_answers(embedded.bootstrap)
            yield Stage(embedded.bootstrap, "embedded broker: smoke only, not comparable", embedded.pid)
    elif ":" in kind:
        yield Stage(kind, f"given: {kind}", None)
    else:
        raise BrokerError(f"--broker {kind}: give apache, embedded, or host:port")


def _wait_until_it_answers(bootstrap: str) -> None:
    """Wait on: a broker listens before it can answer, and on a busy machine long before."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            describe_topics(Settings(_env_file=None, bootstrap=bootstrap), [])
        except TopicsError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def _jars() -> Path:
    given = os.environ.get(JARS_VARIABLE)
    if given:
        return Path(given)
    if not KAFKA_POM.exists():
        raise BrokerError(
            "Apache Kafka's jars are resolved by tests/kafka/pom.xml: run this from a clone, or --broker host:port"
        )
    return resolve_kafka_jars(KAFKA_POM, Path.home() / ".cache" / "stream-app" / "kafka-4.1.0")
