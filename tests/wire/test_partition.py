"""murmur2 as Kafka's own clients compute it."""

from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from stream_app.wire.partition import librdkafka_partition_of, murmur2, partition_of


@given(st.binary(max_size=64))
def test_murmur2_agrees_with_aiokafka(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_aiokafka(key) & 0xFFFFFFFF


def test_murmur2_agrees_with_the_values_of_apache_kafka() -> None:
    # From Apache Kafka's own UtilsTest (signed there).
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}

    assert {key: murmur2(key) - (1 << 32) for key in known} == known


@given(st.binary(max_size=64), st.integers(1, 1024))
def test_partitions_are_in_range(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions
    assert 0 <= librdkafka_partition_of(key, partitions) < partitions


def test_the_two_partitioners_disagree_on_most_keys() -> None:
    keys = [f"c-{number}".encode() for number in range(1_000)]
    same = sum(partition_of(key, 12) == librdkafka_partition_of(key, 12) for key in keys)

    assert same < 200
