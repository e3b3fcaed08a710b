"""On which partition a key lands: the default of Java, aiokafka and kafka-python, and how to recognise librdkafka's.

References
----------
murmur2, 32 bits, as Apache Kafka's `Utils.murmur2` defines it (seed 0x9747b28c);
librdkafka's `consistent_random` is CRC-32 (zlib).
"""

from zlib import crc32

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """Return Kafka's 32-bit murmur2 hash of a key, as an unsigned integer."""
    length = len(key)
    h = _SEED ^ length
    body = length & ~3
    for start in range(0, body, 4):
        k = (int.from_bytes(key[start : start + 4], "little") * _M) & _MASK
        k = ((k ^ (k >> 24)) * _M) & _MASK
        h = ((h * _M) & _MASK) ^ k
    if body != length:
        h = ((h ^ int.from_bytes(key[body:], "little")) * _M) & _MASK
    h = ((h ^ (h >> 13)) * _M) & _MASK
    return h ^ (h >> 15)


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition on which every stream-app client puts a key.

    Parameters
    ----------
    key
        The record key: the UTF-8 bytes of the customer id.
    partitions
        Partition count of the topic, at least 1.
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def librdkafka_partition_of(key: bytes, partitions: int) -> int:
    """Return where librdkafka's default partitioner puts a key: for telling a producer's misconfiguration by name."""
    return crc32(key) % partitions
