"""The broker of docker-compose.yml: its environment, turned into properties as the image does, starts Apache Kafka."""

import re
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker, free_port
from tests.support.compose import compose_services


class ComposeKafka(ApacheKafka):
    """Apache Kafka with the properties of Compose's environment; hosts, ports and folder are this test's."""

    def _prepare(self) -> None:
        environment = compose_services({"STREAM_APP_API_TOKEN": "t"})["kafka"].environment
        inside, controller = self.port, free_port()
        places = {":9092": f":{inside}", ":9093": f":{controller}", ":9094": f":{free_port()}"}
        super()._prepare()
        lines = []
        for name, value in environment.items():
            told = re.sub(r":909[234]", lambda match: places[match[0]], value)
            told = (
                told.replace("@kafka:", "@127.0.0.1:")
                .replace("//kafka:", "//127.0.0.1:")
                .replace("//:", "//127.0.0.1:")
            )
            lines.append(f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={told}\n")
        logs = f"log.dirs={self.data_dir / 'logs'}\n"
        self._config_file.write_text("".join(line for line in lines if not line.startswith("log.dirs=")) + logs)


@pytest.mark.apache
async def test_the_composed_broker_starts_and_makes_no_topics_by_itself(
    broker: EmbeddedBroker | ApacheKafka | None, tmp_path: Path
) -> None:
    if not isinstance(broker, ApacheKafka):
        pytest.skip("needs Apache Kafka's jars: set STREAM_APP_TEST_BROKER=apache")
    with ComposeKafka(tmp_path, broker.jars_dir) as kafka:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            cluster = await admin.describe_cluster()
            producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=2_000)
            await producer.start()
            try:
                with pytest.raises(KafkaError):
                    await producer.send_and_wait("typo-in-a-topic", b"")
            finally:
                await producer.stop()
            topics = await admin.list_topics()
        finally:
            await admin.close()

    assert len(cluster["brokers"]) == 1
    assert "typo-in-a-topic" not in topics
