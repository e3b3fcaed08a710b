"""Named policies: the fold of the topic, compacted or not, says the same; the oldest leave, never the pinned one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.adapters.model_registry import PRIOR, ModelRecord, ModelRefusedError, ModelRegistry
from stream_app.adapters.policy_versions import KEPT_VERSIONS, PolicyMethod, PolicyVersions, policy_pin, policy_records
from stream_app.decisions.policy import CONTEXT, PolicySnapshot

VERSIONS = [f"v{number}" for number in range(8)]
METHODS: tuple[PolicyMethod, ...] = ("learned", "q_learning")


def policy(version: str) -> PolicySnapshot:
    return PolicySnapshot(version, CONTEXT, {})


def publish(version: str, method: PolicyMethod = "learned") -> tuple[ModelRecord, ...]:
    return policy_records(policy(version), b"", method)


def fold(log: list[ModelRecord]) -> PolicyVersions:
    registry = ModelRegistry()
    for record in log:
        registry.apply(record.key, record.value, record.headers, 1)
    assert not registry.snapshots
    return registry.policies


def compacted(log: list[ModelRecord]) -> list[ModelRecord]:
    """Keep the last record of each key, where it stands, as the broker does; tombstones stay a while."""
    last = {record.key: place for place, record in enumerate(log)}
    return [record for place, record in enumerate(log) if last[record.key] == place]


steps = st.one_of(
    st.tuples(st.sampled_from(VERSIONS), st.sampled_from(METHODS)).map(lambda step: list(publish(*step))),
    st.sampled_from(["", PRIOR, *VERSIONS]).map(lambda version: [policy_pin(version)]),
)


@given(st.lists(steps, max_size=30), st.integers(1, 5))
def test_a_compacted_topic_says_the_same_and_what_is_kept_stays_within_its_number(
    log_steps: list[list[ModelRecord]], kept: int
) -> None:
    log: list[ModelRecord] = []
    for step in log_steps:
        log += step
        log += fold(log).surplus(kept)
        policies = fold(log)
        for method in METHODS:
            assert len([v for v in policies.of_method(method) if v != policies.pinned]) <= kept
    whole, short = fold(log), fold(compacted(log))
    assert whole.named == short.named
    assert list(whole.named) == list(short.named)
    for method in METHODS:
        assert whole.choice(method) == short.choice(method)


def test_a_pin_stands_above_the_newest_and_leaves_only_by_release() -> None:
    log = [record for version in VERSIONS for record in publish(version)]
    assert fold(log).load_chosen("learned", b"") == policy("v7")
    pinned = [*log, policy_pin("v1")]
    assert fold(pinned).load_chosen("learned", b"") == policy("v1")
    assert fold([*pinned, *publish("v8")]).load_chosen("learned", b"") == policy("v1")
    assert [record.key for record in fold(pinned).surplus(2)] == [
        f"policies/learned/v{n}".encode() for n in (0, 2, 3, 4, 5)
    ]
    assert fold([*pinned, policy_pin("")]).load_chosen("learned", b"") == policy("v7")
    assert fold([*pinned, policy_pin(PRIOR)]).load_chosen("learned", b"") is None
    assert KEPT_VERSIONS >= 2


def test_what_is_pinned_and_missing_or_damaged_is_refused() -> None:
    log = list(publish("v1"))
    with pytest.raises(ModelRefusedError, match="no policy 'v9' is on the topic"):
        fold([*log, policy_pin("v9")]).load_chosen("learned", b"")
    broken = [record._replace(value=b"{}") for record in log]
    with pytest.raises(ModelRefusedError, match="SHA-256"):
        fold(broken).load("v1", b"")
    assert fold([ModelRecord(b"pinned/policy", b"[", [])]).pinned == ""
