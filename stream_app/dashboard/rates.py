"""Events a second, from a count that is read now and then; time is an argument."""

from collections import deque

WINDOW_SECONDS = 5.0
HISTORY = 90


class RateMeter:
    """Turns a growing count, read now and then, into a rate over the last five seconds and its recent history."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()
        self.history: deque[float] = deque(maxlen=HISTORY)
        self.count = 0

    def read(self, count: int, now_seconds: float) -> float:
        """Note a count at a time (any monotonic clock) and return events per second; a count that fell starts anew."""
        if count < self.count:
            self._readings.clear()
        self.count = count
        self._readings.append((now_seconds, count))
        while len(self._readings) > 2 and now_seconds - self._readings[1][0] >= WINDOW_SECONDS:  # noqa: PLR2004 - a rate needs two readings
            self._readings.popleft()
        first_at, first_count = self._readings[0]
        elapsed = now_seconds - first_at
        rate = (count - first_count) / elapsed if elapsed > 0 else 0.0
        self.history.append(round(rate, 1))
        return rate
