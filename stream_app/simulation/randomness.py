"""Chance as a pure function: every draw is keyed by (seed, purpose, customer, counters), none by the order of calls.

A stream of random numbers would tie each draw to how many were made before it, so that one coupon would change
everybody's fate. Keyed draws keep the fate of a customer's day the same under every policy: that is what makes
potential outcomes, paired comparisons and treated-equals-untreated laws exact. The mixing is SplitMix64's finaliser
(Steele, Lea and Flood, 2014), whose output passes the usual batteries, applied once per key level; it vectorises over
customers, which numpy's Philox does not.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]
Keys = NDArray[np.uint64]
Counters = NDArray[np.int64] | NDArray[np.int32] | int

_WEYL = np.uint64(0x9E3779B97F4A7C15)
_SECOND_WEYL = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_UNIT = 2.0**-53


def _mixed(keys: Keys) -> Keys:
    """Return well-mixed bits; works in place, so the caller must own `keys`."""
    keys ^= keys >> np.uint64(30)
    keys *= _MIX_1
    keys ^= keys >> np.uint64(27)
    keys *= _MIX_2
    keys ^= keys >> np.uint64(31)
    return keys


def purpose_key(seed: int, purpose: str) -> np.uint64:
    """Return the key of one use of chance; distinct purposes are independent."""
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def customer_keys(seed: int, count: int, first: int = 0) -> Keys:
    """Return one key per customer number `first` .. `first + count - 1`."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    return _mixed(numbers * _WEYL + purpose_key(seed, "customer"))


class Chance:
    """Draws for one shop; stateless, so that it may be shared and called in any order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._purposes: dict[str, np.uint64] = {}

    def _purpose(self, purpose: str) -> np.uint64:
        key = self._purposes.get(purpose)
        if key is None:
            key = self._purposes[purpose] = purpose_key(self.seed, purpose)
        return key

    def uniforms(self, purpose: str, keys: Keys, day: Counters = 0, item: Counters = 0) -> Floats:
        """Return one number strictly between 0 and 1 per key, for a purpose, a day and a running number."""
        days = np.asarray(day, dtype=np.int64).view(np.uint64)
        items = np.asarray(item, dtype=np.int64).view(np.uint64)
        with np.errstate(over="ignore"):
            offset = self._purpose(purpose) + days * _WEYL + items * _SECOND_WEYL
            bits = _mixed(keys + offset)
        unit: Floats = (bits >> np.uint64(11)).astype(np.float64)
        unit += 0.5
        unit *= _UNIT
        return unit

    def normals(self, purpose: str, keys: Keys, day: Counters = 0, item: Counters = 0) -> Floats:
        """Return standard normal draws, by inversion."""
        drawn: Floats = ndtri(self.uniforms(purpose, keys, day, item))
        return drawn

    def single(self, purpose: str, number: int = 0) -> float:
        """Return one uniform draw about the shop itself rather than a customer."""
        keys = np.asarray([self._purpose("shop")], dtype=np.uint64)
        return float(self.uniforms(purpose, keys, number)[0])
