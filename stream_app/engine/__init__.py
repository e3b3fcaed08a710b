"""Batches of events to new customer state and effects; deterministic, without Kafka and without a clock."""
