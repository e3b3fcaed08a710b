"""What a partition as a whole remembers: how far event time has come, sequences and budget."""

import msgspec


class PartitionState(msgspec.Struct, array_like=True):
    """Engine-owned memory of one partition, written with every batch. Fields may only be appended."""

    frontier_ms: int = 0
    """Largest event time let through: timers up to here have fired. The watermark is this less the lateness."""
    example_sequence: int = 0
    model_version: str = ""
    """Version of the model snapshot in force, noted before its first use."""
    catalogue_version: str = ""
    budget_day: int = -1
    budget_spent: float = 0.0
    budget_count: int = 0
    breaker_window_ms: int = 0
    breaker_count: int = 0
    breaker_baseline: float = 0.0
    population: dict[int, dict[str, float]] = {}
    """Additive sums per UTC day that has not been published for good."""
    population_revision: int = 0
    policy_version: str = ""
    """Version of the policy (what is believed of actions) in force, noted before its first use."""
