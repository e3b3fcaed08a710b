"""Event time as integer milliseconds since the Unix epoch, and the few conversions that need a calendar."""

from datetime import UTC, datetime, timedelta

SECOND_MS = 1_000
MINUTE_MS = 60 * SECOND_MS
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MS = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Return the whole milliseconds from the epoch to an aware datetime, rounded down."""
    return (moment - _EPOCH) // _ONE_MS


def from_ms(at_ms: int) -> datetime:
    """Return the aware UTC datetime of an event time; the inverse of `to_ms` for whole milliseconds."""
    return _EPOCH + at_ms * _ONE_MS


def iso(at_ms: int) -> str:
    """Return an event time as ISO-8601 in UTC with milliseconds, as every output carries it."""
    return from_ms(at_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % SECOND_MS:03d}Z"


def day_of(at_ms: int) -> int:
    """Return the number of the UTC calendar day (days since the epoch) that an event time falls on."""
    return at_ms // DAY_MS
