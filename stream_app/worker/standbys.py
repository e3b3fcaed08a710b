"""Warm copies of partitions that another worker owns: a takeover then reads only the tail of their changelog.

A copy is the fold of the changelog as far as it was read, made by the very `Restorer` that a new owner uses: what no
partition record closed, and what an owner of an older epoch wrote, is not in it. It changes nothing for anybody else,
so nothing waits for it: not readiness, not the data path, and a copy that fails is dropped, not mourned.
"""

from collections.abc import Callable, Sequence
from typing import Any

from stream_app.adapters.stores import PartitionStore
from stream_app.worker.restoring import Restorer, restorer_of


class ChangelogReplacedError(RuntimeError):
    """The changelog goes back behind what a copy has of it: it was deleted and created again."""


class Standbys:
    """The copies that this worker keeps. Everything here is done at once: no await, so no lock.

    Parameters
    ----------
    open_store
        Makes the store of a partition, with what is left of it on disk. One opener at a time: whoever takes a partition
        over must ask `hand_over` first.
    """

    def __init__(self, open_store: Callable[[int], PartitionStore]) -> None:
        self._open_store = open_store
        self._wanted: set[int] = set()
        self._copies: dict[int, Restorer] = {}

    @property
    def copies(self) -> dict[int, Restorer]:
        """Return the open copies by partition; the dict is the caller's."""
        return dict(self._copies)

    def follow(self, partitions: set[int]) -> None:
        """Keep copies of these partitions and of no others."""
        for number in self._copies.keys() - partitions:
            self._close(number)
        self._wanted = set(partitions)

    def missing(self) -> set[int]:
        """Return the partitions that are to be copied and have no open copy."""
        return self._wanted - self._copies.keys()

    def open(self, number: int, end_offset: int) -> Restorer:
        """Open a wanted partition's copy, as its store on disk knows it.

        Parameters
        ----------
        number
            Of the partition.
        end_offset
            Where its changelog ends: a store that knows more is of another changelog, and is thrown away.
        """
        store = self._open_store(number)
        try:
            copy = restorer_of(number, store, end_offset)
        except BaseException:
            store.close()
            raise
        self._copies[number] = copy
        return copy

    def take(self, number: int, copy: Restorer, records: Sequence[Any]) -> bool:
        """Fold records into a copy; False if that copy was given away since they were asked for.

        Raises
        ------
        ChangelogFormatError
            A value that no owner of this release or an older one can have written.
        ChangelogReplacedError
            These records come before what the copy has.
        """
        if self._copies.get(number) is not copy:
            return False
        if records and records[0].offset < copy.next_offset:
            raise ChangelogReplacedError(
                f"offset {records[0].offset} came after offset {copy.next_offset - 1}: was the changelog created again?"
            )
        copy.take(records)
        return True

    def hand_over(self, number: int) -> Restorer | None:
        """Give a copy to the new owner of its partition, this worker, as it stands; None where there is none.

        Either way the partition is no longer followed, and its files are nobody's but the owner's.
        """
        self._wanted.discard(number)
        copy = self._copies.pop(number, None)
        if copy is not None:
            copy.begin_counting()
        return copy

    def drop(self, number: int) -> None:
        """Stop following a partition until `follow` is called again: its copy cannot be kept."""
        self._wanted.discard(number)
        if number in self._copies:
            self._close(number)

    def close(self) -> None:
        """Let go of all copies; what is on disk stays."""
        self.follow(set())

    def _close(self, number: int) -> None:
        self._copies.pop(number).store.close()
