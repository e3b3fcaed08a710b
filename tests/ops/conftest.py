from collections.abc import Iterator
from pathlib import Path

import pytest

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.settings import Settings
from tests.support.ops_settings import single_partition_settings


@pytest.fixture(scope="session")
def ops_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(tmp_path_factory.mktemp("ops-broker")) as broker:
        yield broker


@pytest.fixture
def kafka_settings(ops_broker: EmbeddedBroker, tmp_path: Path) -> Settings:
    return single_partition_settings(ops_broker.bootstrap, tmp_path / "data")
