"""Clicks of a chunk, read all at once and joined to runs: most of what a shop sends comes in visits."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from stream_app.core.records import ClickRun, Position, Record
from stream_app.core.times import HOUR_MS
from stream_app.core.topics import Topic
from stream_app.wire.clicks import read_clicks
from stream_app.wire.decode import EARLIEST_MS, LATEST_MS, DecodeLimits
from stream_app.wire.headers import traceparent_of

LONGEST_RUN = 256
"""Clicks."""

LONGEST_RUN_MS = HOUR_MS
"""Event time: a run is one step of the merge and of a batch, so it must not reach far."""

_FEW = 4
"""So many clicks are read one by one where reading them together failed."""


class Joined(NamedTuple):
    """Consecutive records of a chunk."""

    records: Sequence[Any]
    entry: Record | ClickRun | None
    """All of them: one customer's, by one and the same key. None: they have to be looked at one by one."""


def join_clicks(records: Sequence[Any], partition: int, limits: DecodeLimits) -> Iterator[Joined]:
    """Yield the records of a chunk of the clickstream in their order, read and joined where they are as usual.

    What `decode` says of each of them is the same (law: tests/worker/test_click_runs.py).

    Parameters
    ----------
    records
        Of the clickstream itself, by offset; read are their key, value, headers, timestamp and offset.
    partition
        Theirs.
    limits
        As for `decode`.
    """
    read = _read(records, limits)
    if read is not None:
        yield from _runs(records, read, partition, limits.source_epoch)
    elif len(records) <= _FEW:
        yield Joined(records, None)
    else:
        half = len(records) // 2
        yield from join_clicks(records[:half], partition, limits)
        yield from join_clicks(records[half:], partition, limits)


def _read(records: Sequence[Any], limits: DecodeLimits) -> tuple[list[Any], list[int]] | None:
    """Return clicks and event times if every record is a click in its usual shape, of a time that can be."""
    values = [record.value for record in records]
    if not all(values) or max(map(len, values)) > limits.max_bytes:
        return None
    read = read_clicks(values)
    if read is None:
        return None
    times_ms = read[1]
    latest_ms = max(times_ms)
    if min(times_ms) < EARLIEST_MS or latest_ms > LATEST_MS:
        return None
    if limits.future_tolerance_ms is not None:
        recorded_ms = [recorded for record in records if (recorded := record.timestamp) > 0]
        if recorded_ms and min(recorded_ms) < latest_ms - limits.future_tolerance_ms:
            return None
    return read


def _runs(
    records: Sequence[Any], read: tuple[list[Any], list[int]], partition: int, source_epoch: int
) -> Iterator[Joined]:
    clicks, times_ms = read
    count = len(records)
    keys = [record.key for record in records]
    traceparents = [traceparent_of(headers) if (headers := record.headers) else "" for record in records]
    first = 0
    while first < count:
        key, customer_id, before_ms = keys[first], clicks[first].customer_id, times_ms[first]
        end, longest, last_ms = first + 1, first + LONGEST_RUN, before_ms + LONGEST_RUN_MS
        if not traceparents[first]:
            while (
                end < count
                and keys[end] == key
                and clicks[end].customer_id == customer_id
                and before_ms <= times_ms[end] <= last_ms
                and not traceparents[end]
                and end < longest
            ):
                before_ms = times_ms[end]
                end += 1
            if records[end - 1].offset - records[first].offset != end - 1 - first:
                end = first + 1
        record = records[first]
        position = Position(Topic.CLICKSTREAM, partition, record.offset, source_epoch)
        if end - first > 1:
            run = ClickRun(position, customer_id, clicks[first:end], times_ms[first:end])
            yield Joined(records[first:end], run)
        else:
            entry = Record(
                position, customer_id, times_ms[first], clicks[first], max(record.timestamp, 0), traceparents[first]
            )
            yield Joined((record,), entry)
        first = end
