"""Population sums by UTC day of event time: the open days of a partition, and what leaves it as they close."""

from stream_app.core.effects import Effects, Output, PopulationDay
from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.engine.shard import Shard


def open_day(memory: PartitionState, at_ms: int, lateness_ms: int) -> dict[str, float]:
    """Return the population sums of an event's day, or of the oldest open day: published days are final."""
    day = max(at_ms, memory.frontier_ms - lateness_ms) // DAY_MS
    return memory.population.setdefault(day, {})


def next_close_ms(frontier_ms: int, lateness_ms: int) -> int:
    """Return the earliest event time after the frontier at which a day closes."""
    return ((frontier_ms - lateness_ms) // DAY_MS + 1) * DAY_MS + lateness_ms


def close_days(shard: Shard, to_ms: int, lateness_ms: int, effects: Effects) -> None:
    """Publish the population sums of days that the watermark has passed, and that it has."""
    memory = shard.memory
    if to_ms < next_close_ms(memory.frontier_ms, lateness_ms):
        return
    closed_before = (to_ms - lateness_ms) // DAY_MS
    days = {day for day in memory.population if day < closed_before}
    if memory.frontier_ms > 0:
        # Even if nothing happened in them: they tell how far the partition has come. All of them, so that it does
        # not matter in how many steps time came here.
        days.update(range((memory.frontier_ms - lateness_ms) // DAY_MS, closed_before))
    for day in sorted(days):
        memory.population_revision += 1
        sums = memory.population.pop(day, {})
        body = PopulationDay(shard.partition, day, memory.population_revision, sums)
        effects.outputs.append(Output(Topic.POPULATION, f"{shard.partition}/{day}", body))
