"""Who owns and copies what, over any coming and going of workers."""

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from hypothesis import given
from hypothesis import strategies as st

from stream_app.settings import Settings
from stream_app.worker.app import create_app
from stream_app.worker.assignor import EvenAssignor

TOPICS = ("clicks", "orders", "shop-customers-changelog")
Numbers = Mapping[str, tuple[frozenset[int], frozenset[int]]]


class Group:
    """A group whose leader assigns, as the brokers ask it to."""

    def __init__(self, partitions: int, standbys: int, store: str = "rocksdb") -> None:
        settings = Settings.model_validate(
            {"app_id": "shop", "partitions": partitions, "standbys": standbys, "store": store}
        )
        self._assignor = create_app(settings).assignor
        assert isinstance(self._assignor, EvenAssignor)
        self._cluster = SimpleNamespace(partitions_for_topic=lambda _: set(range(partitions)))
        self._known: dict[str, ClientAssignment] = {}

    def rebalance(self, members: Iterable[str]) -> Numbers:
        """Assign to these members, each of which remembers what it had; return what each owns and copies."""
        metadata = {member: self._metadata(member) for member in members}
        assigned = self._assignor._perform_assignment(self._cluster, metadata)
        self._known = {member: self._read(answer) for member, answer in assigned.items()}
        return {member: numbers_of(assignment) for member, assignment in self._known.items()}

    def _metadata(self, member: str) -> ConsumerProtocolMemberMetadata:
        assignment = self._known.get(member) or ClientAssignment(actives={}, standbys={})
        known = ClientMetadata(assignment=assignment, url=f"http://{member}", changelog_distribution={})
        return ConsumerProtocolMemberMetadata(4, list(TOPICS), known.dumps())

    def _read(self, answer: Any) -> ClientAssignment:
        assignment: ClientAssignment = ClientMetadata.loads(self._assignor._decompress(answer.user_data)).assignment
        return assignment


def numbers_of(assignment: ClientAssignment) -> tuple[frozenset[int], frozenset[int]]:
    owned = {frozenset(assignment.actives[topic]) for topic in TOPICS}
    copied = {frozenset(assignment.standbys[topic]) for topic in TOPICS}
    assert (len(owned), len(copied)) == (1, 1), "topics of a customer are assigned together"
    return owned.pop(), copied.pop()


@given(
    partitions=st.integers(1, 24),
    standbys=st.integers(1, 3),
    crews=st.lists(st.sets(st.sampled_from("abcdefg"), min_size=1), min_size=1, max_size=8),
    data=st.data(),
)
def test_every_partition_has_one_owner_and_its_copies_and_nobody_is_idle(
    partitions: int, standbys: int, crews: list[set[str]], data: st.DataObject
) -> None:
    group = Group(partitions, standbys)
    for crew in crews:
        members = data.draw(st.permutations(sorted(crew)))
        held = group.rebalance(members)
        owners = sorted(number for owned, _ in held.values() for number in owned)
        assert owners == list(range(partitions))
        counts = [len(owned) for owned, _ in held.values()]
        assert max(counts) - min(counts) <= 1
        for number in range(partitions):
            copying = [member for member, (owned, copied) in held.items() if number in copied and number not in owned]
            assert len(copying) == min(standbys, len(members) - 1)
        assert group.rebalance(members) == held, "who stays keeps what it has"


def test_what_a_dead_worker_owned_goes_to_those_who_have_it_warm() -> None:
    group = Group(partitions=12, standbys=1)
    group.rebalance("abc")
    before = group.rebalance("abc")
    after = group.rebalance("ab")
    dead = before["c"][0]
    taken = {member: after[member][0] - before[member][0] for member in "ab"}
    assert taken["a"] | taken["b"] == dead
    warm = sum(len(taken[member] & before[member][1]) for member in "ab")
    # Evenness comes first: what one has warm beyond its share is the other's.
    assert warm == sum(min(2, len(dead & before[member][1])) for member in "ab")
    assert warm >= len(dead) // 2


@pytest.mark.parametrize(("store", "standbys"), [("memory", 2), ("rocksdb", 0)])
def test_without_standbys_nobody_copies_anything(store: str, standbys: int) -> None:
    group = Group(12, standbys, store)
    held = group.rebalance("abcde")
    assert all(not copied for _, copied in held.values())
    assert sorted(len(owned) for owned, _ in held.values()) == [2, 2, 2, 3, 3]
