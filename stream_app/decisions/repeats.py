"""Telling a matured decision from its repeat: after a crash a worker tells its last batch again, never older ones."""

from hashlib import blake2b

REMEMBERED = 50_000
"""Outcomes whose repeats are known."""


def is_first(told: dict[int, None], outcome_id: str) -> bool:
    """Say whether an outcome comes for the first time, and remember it.

    Parameters
    ----------
    told
        Hashes of the last outcomes, oldest first; changed in place.
    outcome_id
        As the worker gave it.
    """
    key = int.from_bytes(blake2b(outcome_id.encode(), digest_size=8).digest())
    if key in told:
        return False
    told[key] = None
    if len(told) > REMEMBERED:
        del told[next(iter(told))]
    return True
