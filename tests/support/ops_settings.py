"""Settings of a test that has a broker: topics of its own, made with one partition each."""

import uuid
from pathlib import Path

from stream_app.adapters.topics_admin import create_topics
from stream_app.core.topics import Topic
from stream_app.settings import Settings


def single_partition_settings(bootstrap: str, data_dir: Path) -> Settings:
    mark = f"ops{uuid.uuid4().hex[:8]}"
    topics = {f"topic_{topic.value.replace('-', '_')}": f"{mark}-{topic.value}" for topic in Topic}
    settings = Settings(
        bootstrap=bootstrap,
        app_id=mark,
        partitions=1,
        data_dir=data_dir,
        metrics_host="127.0.0.1",
        metrics_port=0,
        api_port=0,
        session_timeout_seconds=6,
        checkpoint_seconds=1,
        snapshot_seconds=0.2,
        snapshot_examples=10,
        **topics,  # type: ignore[arg-type]  # mypy cannot see that all of these fields are strings
    )
    create_topics(settings)
    return settings
