"""Records with consecutive clicks of one customer joined to runs, as the worker's intake joins them."""

from collections.abc import Callable, Sequence

from stream_app.core.events import Click
from stream_app.core.records import ClickRun, Entry, Record


def never(_: int) -> bool:
    """Join whatever can be joined."""
    return False


def with_runs(records: Sequence[Record], breaks: Callable[[int], bool] = never) -> list[Entry]:
    """Return the records with clicks in their lean form joined to runs where offsets and times follow each other.

    Parameters
    ----------
    breaks
        Whether a run ends before the record at this index though it could go on.
    """
    entries: list[Entry] = []
    together: list[Record] = []
    for index, record in enumerate(records):
        if together and (breaks(index) or not _goes_on(together[-1], record)):
            entries.append(_joined(together))
            together = []
        together.append(record)
    if together:
        entries.append(_joined(together))
    return entries


def _goes_on(before: Record, after: Record) -> bool:
    first, second = before.position, after.position
    return (
        isinstance(before.event, Click)
        and isinstance(after.event, Click)
        and before.customer_id == after.customer_id
        and (first.topic, first.partition, first.epoch) == (second.topic, second.partition, second.epoch)
        and first.offset + 1 == second.offset
        and before.at_ms <= after.at_ms
        and not before.traceparent
        and not after.traceparent
    )


def _joined(records: Sequence[Record]) -> Entry:
    if len(records) == 1:
        return records[0]
    clicks = [record.event for record in records if isinstance(record.event, Click)]
    return ClickRun(records[0].position, records[0].customer_id, clicks, [record.at_ms for record in records])
