"""Fast ISO-8601 text for many event times of one UTC day."""

from datetime import date, timedelta
from functools import lru_cache

from stream_app.core.times import DAY_MS, SECOND_MS

SECONDS: tuple[str, ...] = tuple(
    f"T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d}." for n in range(DAY_MS // SECOND_MS)
)
"""Time of day by its second."""
MILLIS: tuple[str, ...] = tuple(f"{n:03d}Z" for n in range(SECOND_MS))


@lru_cache(maxsize=4096)
def date_text(day: int) -> str:
    """Return the date of a day number (days since 1970-01-01)."""
    return (date(1970, 1, 1) + timedelta(days=day)).isoformat()


def time_text(prefix: str, ms_of_day: int) -> str:
    """Return ISO-8601 in UTC with milliseconds, equal to `core.times.iso`; `prefix` is the `date_text` of the day."""
    return prefix + SECONDS[ms_of_day // SECOND_MS] + MILLIS[ms_of_day % SECOND_MS]
