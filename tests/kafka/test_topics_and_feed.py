"""`stream-app topics` and `stream-app feed` on a real broker."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from stream_app.adapters.clients import client_arguments
from stream_app.adapters.feeding import Feeder, FeedError, FeedPosition
from stream_app.adapters.topics_admin import check_topics, compare, create_topics, describe_topics, plan_topics
from stream_app.cli.main import main
from stream_app.core.times import iso
from stream_app.core.topics import Topic
from stream_app.settings import Settings
from stream_app.wire.partition import partition_of
from tests.support.kafka import NewSettings

T0 = 1_767_225_600_000


def program(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run a command with these settings as its environment; return its exit code."""
    for name in settings.model_fields_set:
        monkeypatch.setenv(f"STREAM_APP_{name.upper()}", str(getattr(settings, name)))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def order(number: int, customer: str = "") -> bytes:
    customer = customer or f"c{number % 50}"
    body = {"event_id": f"e{number}", "customer_id": customer, "order_id": f"o{number}", "amount": 1.0}
    return json.dumps(body | {"timestamp": iso(T0 + number * 1000)}).encode()


def read(settings: Settings, topic: Topic) -> Iterator[tuple[int, bytes | None, bytes, int]]:
    consumer = KafkaConsumer(auto_offset_reset="earliest", **client_arguments(settings))
    places = [TopicPartition(settings.topic(topic), number) for number in range(settings.partitions)]
    consumer.assign(places)
    ends = consumer.end_offsets(places)
    missing = sum(ends.values())
    while missing:
        for records in consumer.poll(timeout_ms=1_000).values():
            for record in records:
                missing -= 1
                yield record.partition, record.key, record.value, record.timestamp
    consumer.close()


def test_created_topics_are_as_planned_and_a_second_time_changes_nothing(new_settings: NewSettings) -> None:
    settings = new_settings()

    assert check_topics(settings) == []
    again = create_topics(settings)
    assert again.created == []
    assert len(again.existing) == len(Topic) + 1


def test_what_differs_is_named_with_a_remedy(
    new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = new_settings()
    other = settings.model_copy(update={"partitions": 5, "input_retention_ms": 1_000})
    differences = {(found.topic, found.property) for found in check_topics(other)}

    assert (settings.topic(Topic.ORDERS), "partitions") in differences
    assert (settings.topic(Topic.ORDERS), "retention.ms") in differences
    assert (settings.changelog_topic, "partitions") in differences
    assert (settings.topic(Topic.TRAINING), "partitions") not in differences
    assert program(settings, monkeypatch, "topics", "check") == 0
    capsys.readouterr()
    monkeypatch.setenv("STREAM_APP_TOPIC_REVIEWS", "somewhere-else")
    with pytest.raises(SystemExit) as ended:
        main(["topics", "check", "--json"])
    assert ended.value.code == 1
    (found,) = json.loads(capsys.readouterr().out)["differences"]
    assert (found["topic"], found["property"]) == ("somewhere-else", "exists")
    assert "topics create" in found["remedy"]


def test_an_existing_topic_of_another_shape_is_left_alone(new_settings: NewSettings) -> None:
    settings = new_settings()
    taken = settings.topic(Topic.ORDERS) + "-mine"
    admin = KafkaAdminClient(**client_arguments(settings))
    admin.create_topics({taken: {"num_partitions": 2, "replication_factor": 1}})
    admin.close()
    mine = settings.model_copy(update={"topic_orders": taken})
    create_topics(mine)

    assert describe_topics(mine, [taken])[taken].partitions == 2
    (first, *_) = check_topics(mine)
    assert (first.topic, first.property, first.found) == (taken, "partitions", "2")


def test_records_are_kept_whole_in_order_and_where_murmur2_says(
    new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = new_settings()
    lines = [order(number) for number in range(3_000)]
    lines.insert(100, b"broken")
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"\n".join(lines))

    assert program(settings, monkeypatch, "feed", str(path)) == 0

    got = list(read(settings, Topic.ORDERS))
    assert sorted(value for _, _, value, _ in got) == sorted(lines)
    sequence: dict[int, int] = {}
    for partition, key, value, timestamp in got:
        if key is None:
            assert value == b"broken"
            continue
        event = json.loads(value)
        number = int(event["event_id"][1:])
        assert key == event["customer_id"].encode()
        assert partition == partition_of(key, settings.partitions)
        assert timestamp == T0 + number * 1000
        assert number > sequence.get(partition, -1)
        sequence[partition] = number


def test_a_record_timestamp_never_passes_the_present(
    new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = new_settings()
    path = tmp_path / "orders.jsonl"
    path.write_bytes(order(1).replace(b"2026-", b"2199-"))
    program(settings, monkeypatch, "feed", str(path))
    ((_, _, _, timestamp),) = read(settings, Topic.ORDERS)

    assert timestamp < 7_226_582_400_000


def test_a_feed_goes_on_where_it_stopped(
    new_settings: NewSettings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = new_settings()
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"\n".join(order(number) for number in range(100)))
    identity = [f"{path.resolve()}:{path.stat().st_size}", "", "", settings.bootstrap, settings.app_id]
    position = FeedPosition(settings.data_dir / "feeds", identity)
    position.save(60)

    assert program(settings, monkeypatch, "feed", str(path), "--resume", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["records"], report["skipped"]) == (40, 60)
    assert sorted(json.loads(value)["event_id"] for _, _, value, _ in read(settings, Topic.ORDERS)) == sorted(
        f"e{number}" for number in range(60, 100)
    )
    assert position.load() == 0, "a feed that is done is forgotten"


LISTENING_TO_CTRL_C = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from stream_app.cli.main import main; main()"
)
"""A job in the background inherits that Ctrl-C is ignored, and a test suite may be one."""


def test_an_interrupted_feed_keeps_its_place(
    new_settings: NewSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = new_settings()
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b"\n".join(order(number * 3_600) for number in range(10)))
    for name in settings.model_fields_set:
        monkeypatch.setenv(f"STREAM_APP_{name.upper()}", str(getattr(settings, name)))
    # At one second of event time a second, the second record is due in an hour: the feed waits.
    command = [sys.executable, "-c", LISTENING_TO_CTRL_C, "feed", str(path), "--speed", "1"]
    consumer = KafkaConsumer(settings.topic(Topic.ORDERS), auto_offset_reset="earliest", **client_arguments(settings))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as feed:
        try:
            while not consumer.poll(timeout_ms=1_000):
                assert feed.poll() is None
            consumer.close()
            feed.send_signal(signal.SIGINT)
            _, error = feed.communicate(timeout=30)
        finally:
            feed.kill()

    assert feed.returncode == 130
    assert "interrupted after 1 acknowledged records: --resume goes on there" in error
    assert program(settings, monkeypatch, "feed", str(path), "--resume", "--json") == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    assert len(list(read(settings, Topic.ORDERS))) == 10


def test_a_missing_topic_is_named(new_settings: NewSettings) -> None:
    settings = new_settings().model_copy(update={"topic_orders": "nowhere"})

    async def feed() -> None:
        async with Feeder(settings) as feeder:
            await feeder.send(Topic.ORDERS, "c", b"{}", T0)

    with pytest.raises(FeedError, match=r"no topic nowhere.*STREAM_APP_TOPIC_ORDERS"):
        asyncio.run(feed())


def test_a_record_larger_than_a_batch_arrives(new_settings: NewSettings) -> None:
    settings = new_settings()
    values = [b"a" * 10, b"b" * 600_000, b"c" * 10]

    async def feed() -> None:
        async with Feeder(settings) as feeder:
            for value in values:
                await feeder.send(Topic.REVIEWS, "c1", value, T0)

    asyncio.run(feed())
    assert [value for _, _, value, _ in read(settings, Topic.REVIEWS)] == values


def test_comparing_needs_no_broker() -> None:
    settings = Settings(replication_factor=3)
    for plan in plan_topics(settings):
        assert plan.config["min.insync.replicas"] == "2"
        assert compare(plan, None)[0].property == "exists"
