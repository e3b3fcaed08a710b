"""The broker that a benchmark runs on: one of ours for as long as it lasts, or one that is there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from stream_app.adapters.broker import ApacheKafka, BrokerError, EmbeddedBroker, resolve_kafka_jars

KAFKA_POM = Path(__file__).resolve().parents[2] / "tests" / "kafka" / "pom.xml"
JARS_VARIABLE = "STREAM_APP_TEST_KAFKA_JARS"
HEAP_MEBIBYTES = 1024


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
            yield Stage(broker.bootstrap, "Apache Kafka, one node on this machine", broker.pid)
    elif kind == "embedded":
        with EmbeddedBroker(folder / "embedded") as embedded:
            yield Stage(embedded.bootstrap, "embedded broker: smoke only, not comparable", embedded.pid)
    elif ":" in kind:
        yield Stage(kind, f"given: {kind}", None)
    else:
        raise BrokerError(f"--broker {kind}: give apache, embedded, or host:port")


def _jars() -> Path:
    given = os.environ.get(JARS_VARIABLE)
    if given:
        return Path(given)
    if not KAFKA_POM.exists():
        raise BrokerError(
            "Apache Kafka's jars are resolved by tests/kafka/pom.xml: run this from a clone, or --broker host:port"
        )
    return resolve_kafka_jars(KAFKA_POM, Path.home() / ".cache" / "stream-app" / "kafka-4.1.0")
