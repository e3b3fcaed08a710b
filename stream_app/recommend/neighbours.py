"""Product picks from what customers bought together, with what is popular as the fallback.

All counts are a function of the customers' present lists of products bought last, and of nothing else: an owner of a
partition that starts anew rebuilds them from the states and gives the same picks. Old purchases fade by leaving those
lists.

Picks are made for points that lie behind what was observed since, because points are concluded in blocks. Changes
therefore wait in line, and a pick first lets in those that came before its point: how records were chunked leaves no
trace in the picks.
"""

from collections import deque
from collections.abc import Container, Iterable
from heapq import nsmallest
from math import sqrt

DAMPING = 5.0
"""Added to a neighbour's popularity, so that a product bought once beside another is no certain match."""


class ItemNeighbours:
    """Co-purchase counts of one partition. An order costs a few dictionary updates; only a pick sorts."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[tuple[str, ...], tuple[str, ...]]] = deque()
        self._applied = 0
        self._owners: dict[str, int] = {}
        self._together: dict[str, dict[str, int]] = {}

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
            self._change(*self._waiting.popleft())
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

    def _change(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Count a customer's new list instead of the old one: pairs that are in both need no touch."""
        old, new = dict.fromkeys(before), dict.fromkeys(after)
        for gone in old:
            if gone not in new:
                self._leave(gone, old, new)
        for come in new:
            if come not in old:
                self._join(come, old, new)

    def _leave(self, gone: str, old: Iterable[str], new: Container[str]) -> None:
        _add(self._owners, gone, -1)
        for other in old:
            if other != gone:
                self._unpair(gone, other)
                if other in new:
                    self._unpair(other, gone)

    def _join(self, come: str, old: Container[str], new: Iterable[str]) -> None:
        _add(self._owners, come, 1)
        for other in new:
            if other != come:
                _add(self._together.setdefault(come, {}), other, 1)
                if other in old:
                    _add(self._together.setdefault(other, {}), come, 1)

    def _unpair(self, product: str, other: str) -> None:
        neighbours = self._together[product]
        _add(neighbours, other, -1)
        if not neighbours:
            del self._together[product]


def _add(counts: dict[str, int], key: str, step: int) -> None:
    count = counts.get(key, 0) + step
    if count:
        counts[key] = count
    else:
        del counts[key]
