"""A broker for the whole session, by STREAM_APP_TEST_BROKER=embedded|apache or STREAM_APP_TEST_BOOTSTRAP=host:port."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker, resolve_kafka_jars
from stream_app.adapters.topics_admin import create_topics
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from tests.support.kafka import Broker, NewSettings

KIND = os.environ.get("STREAM_APP_TEST_BROKER", "embedded")
JARS = Path(os.environ.get("STREAM_APP_TEST_KAFKA_JARS", Path.home() / ".cache" / "stream-app" / "kafka-4.1.0"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything here, and skip what needs several group members where the broker cannot have them."""
    here = Path(__file__).parent
    for item in items:
        if here in Path(item.path).parents:
            item.add_marker(pytest.mark.kafka)
            if (
                item.get_closest_marker("apache")
                and KIND == "embedded"
                and "STREAM_APP_TEST_BOOTSTRAP" not in os.environ
            ):
                item.add_marker(pytest.mark.skip(reason="needs Apache Kafka: set STREAM_APP_TEST_BROKER=apache"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The broker, if this session started one; None for a given bootstrap."""
    if "STREAM_APP_TEST_BOOTSTRAP" in os.environ:
        yield None
        return
    folder = tmp_path_factory.mktemp("broker")
    if KIND == "apache":
        jars = resolve_kafka_jars(Path(__file__).with_name("pom.xml"), JARS)
        with ApacheKafka(folder, jars) as kafka:
            yield kafka
        return
    with EmbeddedBroker(folder) as embedded:
        yield embedded


@pytest.fixture
def new_settings(broker: Broker, tmp_path: Path) -> NewSettings:
    """Make settings under the event clock with an app id and topics of the test's own, the topics created."""
    bootstrap = broker.bootstrap if broker is not None else os.environ["STREAM_APP_TEST_BOOTSTRAP"]

    def make(**changes: object) -> Settings:
        mark = f"t{uuid.uuid4().hex[:8]}"
        values: dict[str, object] = {
            "bootstrap": bootstrap,
            "app_id": mark,
            "partitions": 3,
            "clock": "event",
            "alignment_wait_ms": -1,
            "allowed_lateness_seconds": 0,
            "actions_mode": "live",
            "unknown_consent": "allow",
            "data_dir": tmp_path / "data",
            "metrics_host": "127.0.0.1",
            "metrics_port": 0,
            "api_port": 0,
            "session_timeout_seconds": 6,
            **{f"topic_{topic.value.replace('-', '_')}": f"{mark}-{topic.value}" for topic in Topic},
            **changes,
        }
        settings = Settings.model_validate(values)
        create_topics(settings)
        return settings

    return make


@pytest.fixture
def worker_settings(new_settings: NewSettings) -> Settings:
    return new_settings()
