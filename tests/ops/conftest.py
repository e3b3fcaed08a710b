import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker, resolve_kafka_jars
from stream_app.settings import Settings
from tests.support.ops_settings import single_partition_settings

NewBroker = Callable[[Path], EmbeddedBroker | ApacheKafka]


@pytest.fixture(scope="session")
def new_broker() -> NewBroker:
    """Make brokers of the kind that STREAM_APP_TEST_BROKER names, not yet started."""
    if os.environ.get("STREAM_APP_TEST_BROKER", "embedded") != "apache":
        return EmbeddedBroker
    cache = Path.home() / ".cache" / "stream-app" / "kafka-4.1.0"
    pom = Path(__file__).parents[1] / "kafka" / "pom.xml"
    jars = resolve_kafka_jars(pom, Path(os.environ.get("STREAM_APP_TEST_KAFKA_JARS", cache)))
    return lambda folder: ApacheKafka(folder, jars)


@pytest.fixture(scope="session")
def ops_bootstrap(new_broker: NewBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    given = os.environ.get("STREAM_APP_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    with new_broker(tmp_path_factory.mktemp("ops-broker")) as broker:
        yield broker.bootstrap


@pytest.fixture
def kafka_settings(ops_bootstrap: str, tmp_path: Path) -> Settings:
    return single_partition_settings(ops_bootstrap, tmp_path / "data")
