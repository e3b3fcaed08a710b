"""Product picks from what customers bought together, with what is popular as the fallback.

All counts are a function of the customers' present lists of products bought last, and of nothing else: an owner of a
partition that starts anew rebuilds them from the states and gives the same picks. Old purchases fade by leaving those
lists.

Picks are made for points that lie behind what was observed since, because points are concluded in blocks. Changes
therefore wait in line, and a pick first lets in those that came before its point: how records were chunked leaves no
trace in the picks.
"""

from collections import Counter, deque
from heapq import nsmallest
from math import sqrt

DAMPING = 5.0
"""Added to a neighbour's popularity, so that a product bought once beside another is no certain match."""


class ItemNeighbours:
    """Co-purchase counts of one partition. An order costs a few dictionary updates; only a pick sorts."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[tuple[str, ...], tuple[str, ...]]] = deque()
        self._applied = 0
        self._owners: Counter[str] = Counter()
        self._together: dict[str, Counter[str]] = {}

    def observe(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Note that a customer's list of products bought last has changed; an empty list is no customer."""
        if before != after:
            self._waiting.append((before, after))

    @property
    def mark(self) -> int:
        """Place in the sequence of changes, for `pick`: everything observed so far, and nothing later."""
        return self._applied + len(self._waiting)

    def catch_up(self, mark: int | None = None) -> None:
        """Let in the changes up to a mark (absent: all). Call it when no earlier point is left to be concluded."""
        target = self.mark if mark is None else mark
        while self._applied < target and self._waiting:
            before, after = self._waiting.popleft()
            self._count(before, -1)
            self._count(after, 1)
            self._applied += 1

    def pick(self, bought: tuple[str, ...], count: int, mark: int | None = None) -> tuple[str, ...]:
        """Return up to `count` products that the customer has not just bought, best first, as of `mark`.

        A candidate's match is the sum over the customer's products of the cosine of their buyers, damped; candidates
        without any follow in order of popularity. Ties are in order of product ids. Marks may not go back.
        """
        self.catch_up(mark)
        own = set(bought)
        matches: dict[str, float] = {}
        for product in dict.fromkeys(bought):
            neighbours = self._together.get(product)
            if neighbours is None:
                continue
            owners = self._owners[product]
            for other, times in neighbours.items():
                if other not in own:
                    cosine = times / sqrt(owners * (self._owners[other] + DAMPING))
                    matches[other] = matches.get(other, 0.0) + cosine
        best = nsmallest(count, matches, key=lambda product: (-matches[product], product))
        if len(best) < count:
            rest = (product for product in self._owners if product not in own and product not in matches)
            best += nsmallest(count - len(best), rest, key=lambda product: (-self._owners[product], product))
        return tuple(best)

    def _count(self, products: tuple[str, ...], step: int) -> None:
        unique = tuple(dict.fromkeys(products))
        for product in unique:
            _add(self._owners, product, step)
            for other in unique:
                if other != product:
                    neighbours = self._together.setdefault(product, Counter())
                    _add(neighbours, other, step)
                    if not neighbours:
                        del self._together[product]


def _add(counts: Counter[str], key: str, step: int) -> None:
    counts[key] += step
    if not counts[key]:
        del counts[key]
