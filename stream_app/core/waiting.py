"""Observations that wait for their labels."""

import msgspec


class Observation(msgspec.Struct, array_like=True, gc=False):
    """A customer's features at `at_ms`, waiting for the label: did an order come by the end of the horizon."""

    at_ms: int
    kind: int
    """0: after an order; 1: on the calendar."""
    weight: float = 1.0
    """1 / probability with which it was taken (thinning of busy customers)."""
    retained: bool = False
    packed: bytes = b""
    """Features, packed by `core.observations`; empty until the block is scored."""
    probability: float = -1.0
    """The score at `at_ms`; -1 until the block is scored."""
    model_version: str = ""
    contacts: int = 0
    """Interventions sent in (at, at + horizon]."""
    arm: int = 0
    """0: never drawn; 1: treatment; 2: holdout."""
    stay_propensity: float = 1.0
    """Probability of having stayed uncontacted so far."""


class FurtherObservation(Observation, array_like=True, gc=False):
    """The same moment under a longer horizon: with features, score, answer and contacts of its own."""

    horizon_days: int = 0
    handed_ms: int = 0
    """Event time at which the label is handed over: the end of the horizon and the allowed lateness."""
