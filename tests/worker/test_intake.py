import logging
from typing import NamedTuple

import pytest

from stream_app.adapters.metrics import Metrics
from stream_app.core.topics import Topic
from stream_app.wire.decode import DecodeLimits
from stream_app.wire.headers import reroute_headers, source_position
from stream_app.wire.partition import librdkafka_partition_of, partition_of
from stream_app.worker.intake import FLOOD_WINDOW, MAX_LETTER_BYTES, DeadLetterFloodError, Intake, Source, Taken
from tests.support import logs

PARTITIONS = 4
ORDERS = Source(Topic.ORDERS, "shop.orders", 0)


class Polled(NamedTuple):
    """As much of aiokafka's ConsumerRecord as the intake reads."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = logs.START_MS
    headers: tuple[tuple[str, bytes], ...] = ()


def intake(flood_count: int = 1_000, metrics: Metrics | None = None) -> Intake:
    limits = DecodeLimits(future_tolerance_ms=None)
    return Intake(limits, PARTITIONS, "re", "dead", flood_count, metrics if metrics is not None else Metrics("worker"))


def order_bytes(customer: str) -> bytes:
    return logs.order(customer, logs.START_MS).model_dump_json().encode()


def polled(customer: str, *, key: bytes | None, partition: int, offset: int = 7) -> Polled:
    return Polled("shop.orders", partition, offset, key, order_bytes(customer))


def take(record: Polled, source: Source = ORDERS, known: tuple[str, ...] = (), worker: Intake | None = None) -> Taken:
    return (worker if worker is not None else intake()).take(source, record.partition, [record], known, "chunk")


HOME = partition_of(b"ada", PARTITIONS)


def test_a_record_in_its_place_becomes_an_entry() -> None:
    taken = take(polled("ada", key=b"ada", partition=HOME))
    assert taken.sides == []
    (item,) = taken.items
    assert (item.at_ms, item.offset) == (logs.START_MS, 7)
    assert item.work == "chunk"


@pytest.mark.parametrize(
    ("key", "partition", "cause"),
    [(None, HOME, "null_key"), (b"bob", HOME, "foreign_key"), (b"ada", (HOME + 1) % PARTITIONS, "wrong_partition")],
)
def test_a_record_out_of_place_is_published_again_by_customer(
    key: bytes | None, partition: int, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics("worker")
    worker = intake(metrics=metrics)
    record = polled("ada", key=key, partition=partition)
    with caplog.at_level(logging.WARNING):
        taken = take(record, worker=worker)
        take(record._replace(offset=8), worker=worker)
    assert taken.items == []
    (side,) = taken.sides
    assert (side.topic, side.partition, side.key, side.value) == ("re", HOME, b"ada", record.value)
    position = source_position(side.headers)
    assert position is not None
    assert (position.topic, position.partition, position.offset) == (Topic.ORDERS, partition, 7)
    assert f'cause="{cause}",topic="shop.orders"}} 2.0' in metrics.page().decode()
    warnings = [entry.getMessage() for entry in caplog.records]
    assert len(warnings) == 1
    assert "let the producer" in warnings[0] or "murmur2_random" in warnings[0]
    assert "ada" not in warnings[0].replace("shop.orders", "")


def test_librdkafka_is_recognised_by_name(caplog: pytest.LogCaptureFixture) -> None:
    customer = next(
        name
        for name in (f"c{number}" for number in range(100))
        if librdkafka_partition_of(name.encode(), PARTITIONS) != partition_of(name.encode(), PARTITIONS)
    )
    place = librdkafka_partition_of(customer.encode(), PARTITIONS)
    with caplog.at_level(logging.WARNING):
        take(polled(customer, key=customer.encode(), partition=place))
    assert "partitioner=murmur2_random" in caplog.text


def test_a_known_customer_needs_no_hashing_but_its_key_is_still_looked_at() -> None:
    elsewhere = (HOME + 1) % PARTITIONS
    assert take(polled("ada", key=b"ada", partition=elsewhere), known=("ada",)).sides == []
    assert take(polled("ada", key=None, partition=elsewhere), known=("ada",)).items == []


def test_a_topic_with_other_partitions_is_published_again_as_a_whole() -> None:
    taken = take(polled("ada", key=b"ada", partition=HOME), source=ORDERS._replace(lane=None))
    assert taken.items == []
    assert [side.topic for side in taken.sides] == ["re"]


def test_a_rerouted_record_keeps_its_first_position() -> None:
    first = polled("ada", key=None, partition=3, offset=99)
    (side,) = take(first).sides
    again = Polled("re", HOME, 5, side.key, side.value, headers=tuple(side.headers))  # type: ignore[arg-type]
    (item,) = take(again, source=Source(Topic.REROUTED, "re", 5)).items
    assert item.offset == 5
    assert (item.entry.position.topic, item.entry.position.offset) == (Topic.ORDERS, 99)  # type: ignore[union-attr]


def test_producers_cannot_claim_another_position() -> None:
    forged = reroute_headers(source_position(take(polled("ada", key=None, partition=3)).sides[0].headers))  # type: ignore[arg-type]
    record = polled("ada", key=b"ada", partition=HOME)._replace(headers=tuple(forged))  # type: ignore[arg-type]
    (item,) = take(record).items
    assert item.entry.position.offset == 7  # type: ignore[union-attr]


def test_bad_records_keep_their_bytes_and_say_why() -> None:
    record = Polled("shop.orders", 2, 11, b"key", b"{bad", headers=(("trace", b"1"),))
    (side,) = take(record).sides
    headers = dict(side.headers)
    assert (side.topic, side.key, side.value) == ("dead", b"key", b"{bad")
    assert headers["trace"] == b"1"
    assert headers["dlq_reason"] == b"not_json"
    assert (headers["dlq_topic"], headers["dlq_partition"], headers["dlq_offset"]) == (b"shop.orders", b"2", b"11")


def test_a_huge_record_is_cut_so_that_its_dead_letter_fits() -> None:
    (side,) = take(Polled("shop.orders", 0, 0, b"k", bytes(1_000_000))).sides
    assert side.value is not None
    assert len(side.value) == MAX_LETTER_BYTES
    assert dict(side.headers)["dlq_truncated_from_bytes"] == b"1000000"


def test_a_flood_stops_the_worker_and_scattered_bad_records_do_not() -> None:
    worker = intake(flood_count=3)
    for offset in range(0, 5 * FLOOD_WINDOW, FLOOD_WINDOW // 2):
        take(Polled("shop.orders", 0, offset, b"k", b"bad"), worker=worker)
    worker = intake(flood_count=3)
    take(Polled("shop.orders", 0, 0, b"k", b"bad"), worker=worker)
    take(Polled("shop.orders", 1, 1, b"k", b"bad"), worker=worker)
    take(Polled("shop.orders", 0, 1, b"k", b"bad"), worker=worker)
    with pytest.raises(DeadLetterFloodError, match=r"shop.orders/0 are bad, up to offset 2.*FLOOD_COUNT"):
        take(Polled("shop.orders", 0, 2, b"k", b"bad"), worker=worker)
