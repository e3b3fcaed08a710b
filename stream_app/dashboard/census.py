"""How many customers stand in which tier, in bounded memory whatever the number of customers."""

from hashlib import blake2b

from stream_app.core.outputs import TIERS


class TierCensus:
    """Counts customers by tier from the stream of their latest scores.

    One small entry is kept per customer, under a hash (so that no identifier stays in memory). Beyond `capacity`
    entries only every second, fourth, ... customer is kept, chosen by hash, and counts are scaled up: an unbiased
    estimate.
    """

    def __init__(self, capacity: int = 500_000) -> None:
        self._capacity = capacity
        self._tier_of: dict[int, int] = {}
        self._counts = [0] * len(TIERS)
        self.sampling = 1
        """One customer stands for this many."""

    def put(self, customer_id: str, tier: str) -> None:
        """Note the tier of a customer's latest score."""
        code = TIERS.index(tier) if tier in TIERS else None  # a tier of a newer version is not counted
        key = self._key(customer_id)
        if key % self.sampling:
            return
        self._forget(key)
        if code is None:
            return
        self._tier_of[key] = code
        self._counts[code] += 1
        if len(self._tier_of) > self._capacity:
            self._thin()

    def remove(self, customer_id: str) -> None:
        """Forget an erased customer."""
        self._forget(self._key(customer_id))

    def counts(self) -> dict[str, int]:
        """Return customers by tier, all tiers named, the lowest first."""
        return {tier: count * self.sampling for tier, count in zip(TIERS, self._counts, strict=True)}

    @staticmethod
    def _key(customer_id: str) -> int:
        return int.from_bytes(blake2b(customer_id.encode(), digest_size=8).digest(), "little")

    def _forget(self, key: int) -> None:
        old = self._tier_of.pop(key, None)
        if old is not None:
            self._counts[old] -= 1

    def _thin(self) -> None:
        self.sampling *= 2
        self._tier_of = {key: code for key, code in self._tier_of.items() if key % self.sampling == 0}
        self._counts = [0] * len(TIERS)
        for code in self._tier_of.values():
            self._counts[code] += 1
