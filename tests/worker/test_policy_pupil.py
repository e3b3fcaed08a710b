"""The trainer's policy: the same beliefs whatever the cuts, restarts and repeats, learned once, published when due."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import shipped_catalogue_file
from stream_app.decisions.policy import PolicyError, PolicySnapshot, prior_snapshot
from stream_app.decisions.policy_record import decode_policy
from stream_app.decisions.q_learning import QLearner
from stream_app.settings import Settings
from stream_app.worker.policy_pupil import LEAST_NEW, PolicyPupil
from stream_app.worker.pupils import Publication, Pupil
from stream_app.worker.trainer import pupils_of
from stream_app.worker.trainer_run import TrainingRun
from tests.support import tiring_shop
from tests.support.decision_shop import CATALOGUE, outcomes
from tests.support.decisions import SHIPPED

KIND = PolicyPupil.kind(Settings(model_key=SecretStr("key")))
TOLD = list(outcomes(prior_snapshot(CATALOGUE), 400, 1))


def taught(told: Sequence[DecisionOutcome], cuts: Sequence[int] = (), pupil: Pupil | None = None) -> Pupil:
    pupil = pupil or KIND.fresh()
    bounds = sorted({0, len(told), *(cut for cut in cuts if cut < len(told))})
    for start, end in pairwise(bounds):
        pupil.learn(Topic.OUTCOMES, told[start:end])
    return pupil


def policy_in(publication: Publication, key: bytes = b"key") -> PolicySnapshot:
    registry = ModelRegistry()
    for record in publication.records:
        registry.apply(record.key, record.value, record.headers, 1)
    assert not registry.snapshots
    [newest] = registry.policies.newest.values()
    policy = decode_policy(newest.value, key)
    assert registry.policies.load(policy.version, key) == policy
    return policy


ALL_AT_ONCE = policy_in(taught(TOLD).publication())


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=4), st.integers(0, 400), st.integers(0, 40))
def test_cuts_restarts_and_repeats_leave_no_trace(cuts: list[int], restart_at: int, repeated: int) -> None:
    first = taught(TOLD[:restart_at], cuts)
    second = taught(TOLD[max(0, restart_at - repeated) :], cuts, KIND.restored(first.checkpoint()))
    assert policy_in(second.publication()) == ALL_AT_ONCE
    assert second.checkpoint() == taught(TOLD).checkpoint()


def test_it_believes_what_the_command_line_learns_from_the_same_log() -> None:
    learner = PolicyLearner(SHIPPED)
    for outcome in TOLD:
        learner.learn(outcome)
    assert learner.snapshot() == ALL_AT_ONCE
    assert ALL_AT_ONCE.version.startswith(f"learned-{learner.learned}-")
    assert ALL_AT_ONCE.beliefs != prior_snapshot(SHIPPED).beliefs


def test_the_trainer_teaches_it_from_the_topic_and_goes_on_from_its_checkpoint() -> None:
    kinds = pupils_of(Settings())
    run = TrainingRun(kinds)
    for offset, outcome in enumerate(TOLD[:200]):
        assert run.accept(Topic.OUTCOMES, 0, offset, outcome.model_dump_json().encode())
    again = TrainingRun.restored(run.checkpoint(), kinds)
    for offset, outcome in enumerate(TOLD):
        assert again.accept(Topic.OUTCOMES, 0, offset, outcome.model_dump_json().encode()) == (offset >= 200)
    # Told again by a worker that crashed: other offsets, the same decisions.
    for offset, outcome in enumerate(TOLD[-30:], start=len(TOLD)):
        assert again.accept(Topic.OUTCOMES, 0, offset, outcome.model_dump_json().encode())
    assert "policy" in again.due()
    assert policy_in(again.publication("policy"), b"") == ALL_AT_ONCE


def test_it_is_due_with_enough_news_and_once_after_a_restart() -> None:
    pupil = KIND.fresh()
    assert not pupil.is_due()
    taught(TOLD[: LEAST_NEW - 1], pupil=pupil)
    assert not pupil.is_due()
    taught(TOLD, pupil=pupil)
    assert pupil.is_due()
    restarted = KIND.restored(pupil.checkpoint())
    version = pupil.publication().version
    assert not pupil.is_due()
    taught(TOLD, pupil=pupil)
    assert not pupil.is_due()
    assert restarted.is_due()
    assert restarted.publication().version == version


def test_actions_come_and_go_over_a_restart(tmp_path: Path) -> None:
    text = shipped_catalogue_file().read_text(encoding="utf-8")
    (tmp_path / "actions.yaml").write_text(text.replace("name: coupon-10", "name: coupon-11"), encoding="utf-8")
    other = PolicyPupil.kind(Settings(catalogue_file=tmp_path / "actions.yaml"))
    body = taught(TOLD).checkpoint()
    moved = policy_in(other.restored(body).publication(), b"")
    assert "coupon-10" not in moved.beliefs
    assert "coupon-11" in moved.beliefs
    before, after = ALL_AT_ONCE.beliefs["product-picks"], moved.beliefs["product-picks"]
    assert after.means != prior_snapshot(SHIPPED).beliefs["product-picks"].means
    assert after.take_rate == before.take_rate


def test_a_new_action_is_learned_without_a_restart_and_a_wrong_catalogue_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, text = tmp_path / "actions.yaml", shipped_catalogue_file().read_text(encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    pupil = taught(TOLD[:200], pupil=PolicyPupil.kind(Settings(catalogue_file=file)).fresh())
    pupil.publication()
    file.write_text("format: [", encoding="utf-8")
    moved = {"coupon-10": "coupon-11"}
    taught([TOLD[200].model_copy(update={"catalogue_version": "broken"})], pupil=pupil)
    assert "catalogue not taken over" in caplog.text
    file.write_text(text.replace("name: coupon-10", "name: coupon-11"), encoding="utf-8")
    later = [
        outcome.model_copy(
            update={
                "catalogue_version": "next",
                "action": moved.get(outcome.action, outcome.action),
                "alternatives": {moved.get(name, name): share for name, share in outcome.alternatives.items()},
            }
        )
        for outcome in TOLD[201:]
    ]
    taught(later[:1], pupil=pupil)
    assert pupil.is_due()
    before = policy_in(pupil.publication(), b"").beliefs
    taught(later, pupil=pupil)
    after = policy_in(pupil.publication(), b"").beliefs
    assert before.keys() == after.keys()
    assert "coupon-10" not in after
    assert sum(after["coupon-11"].deviations) < sum(before["coupon-11"].deviations)


def test_sequences_are_learned_beside_and_published_under_a_name_of_their_own() -> None:
    kind = PolicyPupil.kind(Settings(model_key=SecretStr("key")), "q_learning")
    steps = list(tiring_shop.outcomes(prior_snapshot(tiring_shop.CATALOGUE), 60, 5, 1))
    whole = taught(steps, pupil=kind.fresh())
    halves = taught(steps[140:], pupil=kind.restored(taught(steps[:150], [40, 41], kind.fresh()).checkpoint()))
    publication = whole.publication()
    assert halves.publication() == publication
    assert halves.checkpoint() == whole.checkpoint()
    learner = QLearner(SHIPPED)
    for step in steps:
        assert learner.learn(step)
    assert policy_in(publication) == learner.snapshot()
    assert [record.key for record in publication.records] == [
        f"policies/q_learning/{publication.version}".encode(),
        b"policy/q_learning",
    ]
    assert all(len(record.value or b"") < 1_000_000 for record in publication.records)
    assert taught(TOLD, pupil=kind.fresh()).is_due() is False  # logged without the course


def test_sums_of_another_context_are_left_behind_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    sums, told = msgspec.msgpack.decode(taught(TOLD).checkpoint(), strict=False)
    body = msgspec.msgpack.encode([{**sums, "context": ["x"]}, told])
    with caplog.at_level(logging.WARNING):
        pupil = KIND.restored(body)
    assert "learned anew" in caplog.text
    assert policy_in(pupil.publication()) == policy_in(KIND.fresh().publication())


def test_what_is_published_is_signed_shown_and_fits_into_a_record() -> None:
    publication = taught(TOLD).publication()
    assert publication.version == ALL_AT_ONCE.version
    with pytest.raises(PolicyError, match="STREAM_APP_MODEL_KEY"):
        policy_in(publication, b"another")
    named, newest = publication.records
    assert named.key == f"policies/learned/{ALL_AT_ONCE.version}".encode()
    assert newest.key == b"policy/learned"
    assert named.value == newest.value
    assert len(newest.value or b"") < 1_000_000
    metrics = Metrics("trainer")
    for measure in publication.measures:
        metrics.gauge(measure.name, measure.value, **measure.labels)
    learned = ALL_AT_ONCE.version.split("-")[1]
    assert f"stream_app_policy_learned_outcomes {float(learned)}" in metrics.page().decode()
