"""Liveness by progress: a process that has work and does none is dead, however well it answers."""

from collections.abc import Mapping

from stream_app.worker.http_ports import Progress, Readiness

UNREADY_PATIENCE = 10
"""How many times longer than a stall an unready process is left alone: restoring and rebalancing take their time."""


class ProgressWatch:
    """Decides from samples whether the process still gets on.

    Topics of one partition number are judged together: they are merged by event time, so that one of them may rightly
    stand still while another catches up. One is stalled when it has lag and none of its committed offsets has
    moved for `stall_seconds`. Time is an argument, from a clock that never goes back.

    Parameters
    ----------
    stall_seconds
        How long a partition with lag may stand still; well above the commit interval.
    """

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._moved_at: dict[int, tuple[frozenset[tuple[str, int]], float]] = {}
        self._unready_since: float | None = None
        self.standstill_seconds = 0.0
        """At the last sample: for how long the slowest partition with lag, or the unready process, had stood still."""

    def sample(self, readiness: Readiness, progress: Mapping[tuple[str, int], Progress], now_seconds: float) -> str:
        """Take a sample and return what is wrong, in words; an empty string if nothing is."""
        if not readiness.ready:
            self._moved_at.clear()
            if self._unready_since is None:
                self._unready_since = now_seconds
            waited = self.standstill_seconds = now_seconds - self._unready_since
            if waited > UNREADY_PATIENCE * self._stall_seconds:
                return f"not ready for {waited:.0f} s: {readiness.reason}"
            return ""
        self._unready_since = None
        stalled = self._stalled(progress, now_seconds)
        if not stalled:
            return ""
        names = ", ".join(str(partition) for partition in stalled)
        return f"partitions {names} have lag and committed nothing for {self._stall_seconds:.0f} s"

    def _stalled(self, progress: Mapping[tuple[str, int], Progress], now_seconds: float) -> list[int]:
        committed: dict[int, set[tuple[str, int]]] = {}
        lag_records: dict[int, int] = {}
        for (topic, partition), one in progress.items():
            committed.setdefault(partition, set()).add((topic, one.committed))
            lag_records[partition] = lag_records.get(partition, 0) + one.lag_records
        for partition in self._moved_at.keys() - committed.keys():
            del self._moved_at[partition]
        stalled = []
        self.standstill_seconds = 0.0
        for partition, positions in committed.items():
            before = self._moved_at.get(partition)
            if before is None or before[0] != positions or lag_records[partition] == 0:
                self._moved_at[partition] = (frozenset(positions), now_seconds)
            else:
                stood_still = now_seconds - before[1]
                self.standstill_seconds = max(self.standstill_seconds, stood_still)
                if stood_still > self._stall_seconds:
                    stalled.append(partition)
        return sorted(stalled)
