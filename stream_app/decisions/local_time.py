"""Clocks where customers live, for every point at which a decision is due; a calendar is asked once an hour."""

from datetime import UTC, datetime, time, timedelta
from functools import lru_cache

from stream_app.core.times import HOUR_MS, from_ms, to_ms
from stream_app.decisions.signals import zone_of

_MILLISECOND = timedelta(milliseconds=1)
_MIDNIGHT = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def steady_offset_ms(zone_name: str, hour: int) -> int | None:
    """Return the offset from UTC that a zone keeps through an hour since the epoch.

    None where there is no such zone, or its clocks change within the hour.
    """
    zone = zone_of(zone_name)
    if zone is None:
        return None
    first, last = (from_ms(at_ms).astimezone(zone).utcoffset() for at_ms in (hour * HOUR_MS, (hour + 1) * HOUR_MS - 1))
    return first // _MILLISECOND if first is not None and first == last else None


@lru_cache(maxsize=4096)
def moments_of(zone_name: str, day: int, clock: time) -> tuple[int, int]:
    """Return when clocks in a zone show a time on a local day since the epoch.

    Where they go back past it, that is twice; otherwise, both moments are the same.
    """
    moment = datetime.combine((_MIDNIGHT + timedelta(days=day)).date(), clock, tzinfo=zone_of(zone_name))
    return to_ms(moment), to_ms(moment.replace(fold=1))


@lru_cache(maxsize=64)
def clock_ms(clock: time) -> float:
    """Return the milliseconds from midnight to a time of day."""
    return clock.hour * HOUR_MS + clock.minute * 60_000 + clock.second * 1_000 + clock.microsecond / 1_000
