"""Faust's assignor with standbys, made fair: a worker that joins gets its part of the work, too.

With standbys Faust takes partitions only from workers that hold more than the rounded-up share: where twelve partitions
lie on four workers, a fifth gets none; and it promotes standbys before it looks who has least. So before Faust assigns,
whoever has less than the rounded-down share is given what nobody owns, and then of those who have more. All else is
Faust's: sticking to owners, promoting standbys, choosing new ones.
Overrides an internal of faust-streaming 0.15.3 (pinned); tests/worker/test_transport_contract.py fails when it changes.
"""

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment
from faust.assignor.partition_assignor import PartitionAssignor

Held = Mapping[str, tuple[set[int], set[int]]]
"""What members own and copy of one topic, by their ids."""


class EvenAssignor(PartitionAssignor):  # type: ignore[misc]
    """Faust's `PartitionAssignor`, beginning from `evened` holdings."""

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, Any]) -> Any:
        if not self.replicas:
            return super()._perform_assignment(cluster, member_metadata)
        known = {member: self._get_client_metadata(metadata) for member, metadata in member_metadata.items()}
        # Topics that are assigned together hold the same partitions, so what is done to one is done to all.
        for topic in sorted({topic for metadata in member_metadata.values() for topic in metadata.subscription}):
            count = len(cluster.partitions_for_topic(topic) or ())
            members = [member for member, metadata in member_metadata.items() if topic in metadata.subscription]
            held = {member: _held(known[member].assignment, topic, count) for member in members}
            for member, (owned, copied) in evened(held, count).items():
                known[member].assignment.actives[topic] = sorted(owned)
                known[member].assignment.standbys[topic] = sorted(copied)
        even = {
            member: ConsumerProtocolMemberMetadata(metadata.version, metadata.subscription, known[member].dumps())
            for member, metadata in member_metadata.items()
        }
        return super()._perform_assignment(cluster, even)


def evened(held: Held, partitions: int) -> Held:
    """Return holdings in which everybody has at least the rounded-down share.

    Parameters
    ----------
    held
        Who owns and copies what. What nobody owns, and nobody needs for that share, stays so: it is Faust's to give.
    partitions
        How many there are.
    """
    moved = {member: (set(owned), set(copied)) for member, (owned, copied) in held.items()}
    share = partitions // max(1, len(moved))
    unowned = set(range(partitions)).difference(*(owned for owned, _ in moved.values()))
    while moved:
        poor = min(moved, key=lambda member: (len(moved[member][0]), member))
        if len(moved[poor][0]) >= share:
            break
        given = _gift(moved, poor, unowned)
        if given is None:
            # Some are claimed by several, as after a pause; Faust settles that.
            break
        unowned.discard(given)
        for owned, _ in moved.values():
            owned.discard(given)
        moved[poor][0].add(given)
        moved[poor][1].discard(given)
    return moved


def _gift(held: Held, poor: str, unowned: set[int]) -> int | None:
    """Choose what a member gets: best is what it has a copy of, worst what another one has a copy of."""
    copied = held[poor][1]
    if unowned:
        elsewhere = set[int]().union(*(copies for _, copies in held.values())) - copied
        return min(unowned, key=lambda number: (number not in copied, number in elsewhere, number))
    rich = max(held, key=lambda member: (len(held[member][0]), member))
    if len(held[rich][0]) <= len(held[poor][0]) + 1:
        return None
    return min(held[rich][0], key=lambda number: (number not in copied, number))


def _held(assignment: ClientAssignment, topic: str, count: int) -> tuple[set[int], set[int]]:
    existing = range(count)
    owned = {number for number in assignment.actives.get(topic, ()) if number in existing}
    return owned, {number for number in assignment.standbys.get(topic, ()) if number in existing}
