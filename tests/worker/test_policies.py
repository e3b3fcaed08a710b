"""A learned policy is taken over between batches; what does not fit changes nothing, and files and settings pin."""

import logging
import math
from pathlib import Path

import msgspec
import pytest
import yaml
from pydantic import SecretStr

from stream_app.adapters.assembly import DeciderMaker
from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import ModelRecord, ModelRegistry
from stream_app.adapters.policy_versions import policy_pin, policy_record, policy_records
from stream_app.core.ledger import Ledger
from stream_app.core.partition import PartitionState
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.decisions.catalogue import Catalogue, shipped_catalogue_file
from stream_app.decisions.decider import CatalogueDecider
from stream_app.decisions.policy import CONTEXT, Belief, PolicySnapshot, choose, prior_snapshot
from stream_app.decisions.q_learning import QLearner
from stream_app.decisions.types import Act, Decider
from stream_app.engine.shard import DictStore
from stream_app.settings import Settings
from stream_app.worker.policies import PolicyFollower
from tests.support.decisions import SHIPPED, point
from tests.support.engines import build_engine
from tests.support.logs import START_MS, log_of, order

KEY = b"key"
WIDTH = len(CONTEXT)
PRIOR = prior_snapshot(SHIPPED)
COUPON = PRIOR.beliefs["coupon-10"]


def learned(version: str, **beliefs: Belief) -> PolicySnapshot:
    named = {name.replace("_", "-"): belief for name, belief in beliefs.items()}
    return PolicySnapshot(version, CONTEXT, {**PRIOR.beliefs, **named})


def kept(means: float = 0.01, deviations: float = 0.1, take_rate: float | None = 0.1) -> Belief:
    return Belief((means,) * WIDTH, (deviations,) * WIDTH, take_rate=take_rate)


class Served:
    """A follower over a registry of its own, and what it handed over."""

    def __init__(self, settings: Settings | None = None) -> None:
        settings = settings or Settings(model_key=SecretStr(KEY.decode()))
        self.metrics = Metrics("worker")
        self.maker = DeciderMaker(settings, 4)
        self.deciders: list[Decider] = [self.maker.decider()]
        self.registry = ModelRegistry()
        self.follower = PolicyFollower(
            settings, self.version, self.maker.with_policy, self.deciders.append, self.metrics
        )

    @property
    def version(self) -> str:
        return self.deciders[-1].policy_version

    def publish(self, record: ModelRecord) -> bool:
        self.registry.apply(record.key, record.value, record.headers, 1)
        return self.follower.look(self.registry)

    def shown(self) -> list[str]:
        lines = self.metrics.page().decode().splitlines()
        return [line for line in lines if line.startswith(("stream_app_policy_info{", "stream_app_policies"))]


def test_a_published_policy_is_in_force_and_shown() -> None:
    served = Served()
    assert served.version == PRIOR.version
    assert not served.follower.look(served.registry)
    policy = learned("learned-1", coupon_10=kept())
    assert served.publish(policy_record(policy, KEY))
    assert served.version == served.follower.version == "learned-1"
    assert isinstance(served.deciders[-1], CatalogueDecider)
    assert served.deciders[-1].policy == policy
    assert 'stream_app_policy_info{version="learned-1"} 1.0' in served.shown()
    assert not any(PRIOR.version in line for line in served.shown())
    assert not served.publish(policy_record(policy, KEY))
    assert "stream_app_policies_loaded_total 1.0" in served.shown()


def test_a_policy_that_is_taken_back_leaves_the_catalogues_beliefs() -> None:
    served = Served()
    gone = ModelRecord(b"policy/learned", None, [])
    assert not served.publish(gone)
    served.publish(policy_record(learned("learned-1"), KEY))
    assert served.publish(gone)
    assert served.version == PRIOR.version


def test_beliefs_of_unknown_actions_are_ignored() -> None:
    served = Served()
    assert served.publish(policy_record(learned("learned-1", left_long_ago=kept(means=5.0)), KEY))
    decided = served.deciders[-1]
    assert isinstance(decided, CatalogueDecider)
    assert "left-long-ago" in decided.policy.beliefs
    expected = choose(SHIPPED.actions, point(), SHIPPED, learned("without"))
    assert choose(SHIPPED.actions, point(), SHIPPED, decided.policy) == expected


def damaged(record: ModelRecord) -> ModelRecord:
    assert record.value is not None
    return record._replace(value=record.value.replace(b"learned-2", b"learned-3"))


BAD = {
    "unsigned": (policy_record(learned("learned-2"), b""), "invalid", "STREAM_APP_MODEL_KEY"),
    "other key": (policy_record(learned("learned-2"), b"other"), "invalid", "STREAM_APP_MODEL_KEY"),
    "damaged": (damaged(policy_record(learned("learned-2"), KEY)), "damaged", "SHA-256"),
    "changed": (
        damaged(policy_record(learned("learned-2"), KEY))._replace(headers=[]),
        "invalid",
        "the signature does not fit",
    ),
    "no policy": (ModelRecord(b"policy/learned", b"\x80", []), "invalid", "no published policy"),
    "other context": (policy_record(PolicySnapshot("learned-2", ("x",), {}), KEY), "invalid", "learned on x"),
    "shape": (policy_record(learned("learned-2", coupon_10=Belief((1.0,), (1.0,))), KEY), "invalid", "coupon-10 have"),
    "draws": (
        policy_record(learned("learned-2", coupon_10=msgspec.structs.replace(COUPON, draws=b"1234")), KEY),
        "invalid",
        "coupon-10 have",
    ),
    "deviation": (policy_record(learned("learned-2", coupon_10=kept(deviations=-1)), KEY), "invalid", "deviation"),
    "take rate": (policy_record(learned("learned-2", coupon_10=kept(take_rate=1.5)), KEY), "invalid", "take rate"),
    "not a number": (
        policy_record(
            learned("learned-2", coupon_10=msgspec.structs.replace(COUPON, draws=b"\x00\x00\xc0\x7f" * 128 * WIDTH)),
            KEY,
        ),
        "invalid",
        "not finite",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_leaves_the_last_good_one_in_force(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    record, reason, words = BAD[kind]
    served = Served()
    served.publish(policy_record(learned("learned-1"), KEY))
    with caplog.at_level(logging.ERROR):
        assert not served.publish(record)
        assert not served.follower.look(served.registry)
    refusals = [told for told in caplog.records if told.levelno >= logging.ERROR]
    assert (served.version, len(refusals)) == ("learned-1", 1)
    assert words in caplog.text
    assert f'stream_app_policies_refused_total{{reason="{reason}"}} 1.0' in served.shown()
    assert served.publish(policy_record(learned("learned-4"), KEY))
    assert served.version == "learned-4"


def test_json_has_no_number_that_is_not_finite() -> None:
    served = Served()
    assert not served.publish(policy_record(learned("learned-2", coupon_10=kept(means=math.nan)), KEY))
    assert served.version == PRIOR.version


def test_a_file_and_a_setting_stand_above_what_is_published(tmp_path: Path) -> None:
    file = tmp_path / "policy.json"
    file.write_bytes(msgspec.json.encode(learned("by-hand")))
    for settings, version in (
        (Settings(policy_file=file), "by-hand"),
        (Settings(policy="catalogue"), PRIOR.version),
    ):
        served = Served(settings)
        assert not served.publish(policy_record(learned("learned-1"), b""))
        assert served.version == version
        assert f'stream_app_policy_info{{version="{version}"}} 1.0' in served.shown()


def test_a_pin_stands_above_what_is_learned_until_it_is_released() -> None:
    served = Served()
    for number in (1, 2):
        for record in policy_records(learned(f"learned-{number}", coupon_10=kept(means=number / 100)), KEY):
            served.publish(record)
    assert served.publish(policy_pin("learned-1"))
    assert served.version == "learned-1"
    assert not served.publish(policy_record(learned("learned-3"), KEY))
    assert not served.publish(policy_pin("learned-9"))
    assert served.version == "learned-1"
    assert 'stream_app_policies_refused_total{reason="missing"} 1.0' in served.shown()
    assert served.publish(policy_pin("prior"))
    assert served.version == PRIOR.version
    assert served.publish(policy_pin(""))
    assert served.version == "learned-3"


def test_workers_follow_the_method_that_they_are_set_to() -> None:
    served = Served(Settings(policy="q_learning", model_key=SecretStr(KEY.decode())))
    sequential = QLearner(SHIPPED).snapshot()
    assert not served.publish(policy_record(learned("learned-1"), KEY))
    assert served.publish(policy_record(sequential, KEY, "q_learning"))
    assert served.version == sequential.version
    ledgers = {f"c{number}": Ledger() for number in range(40)}
    for customer, ledger in ledgers.items():
        served.deciders[-1].decide(point(customer_id=customer), ledger, PartitionState(population={}))
    drawn = [draw for ledger in ledgers.values() for draw in ledger.open_draws]
    assert {draw.policy_version for draw in drawn} == {sequential.version}
    assert all(sum(draw.alternatives.values()) == pytest.approx(1.0) for draw in drawn)


def test_a_changed_catalogue_keeps_the_learned_policy_and_the_other_way_round() -> None:
    served = Served()
    served.publish(policy_record(learned("learned-1"), KEY))
    text = shipped_catalogue_file().read_text(encoding="utf-8")
    changed = Catalogue.model_validate({**yaml.safe_load(text), "margin": 0.4})
    assert served.maker.with_catalogue(changed).policy_version == "learned-1"
    served.publish(policy_record(learned("learned-2"), KEY))
    assert served.deciders[-1].catalogue_version == changed.version


def test_a_partition_notes_the_version_with_the_first_batch_that_it_decides() -> None:
    served = Served()
    engine = build_engine()
    shard = engine.open_shard(0, DictStore(), PartitionState(population={}))
    log: list[Record] = log_of([order("c1", START_MS + day * DAY_MS) for day in range(40)])
    engine.process(shard, log[:20])
    assert shard.memory.policy_version == PRIOR.version
    served.publish(policy_record(learned("learned-1"), KEY))
    engine.install_decider(served.deciders[-1])
    assert shard.memory.policy_version == PRIOR.version
    engine.process(shard, log[20:])
    assert shard.memory.policy_version == engine.decider.policy_version == "learned-1"


def test_another_policy_changes_what_is_decided_and_every_decision_carries_it() -> None:
    found = {}
    for policy in (learned("coupons-help", coupon_10=kept(means=0.5)), learned("none-helps", **_harmful())):
        served = Served(Settings(actions_mode="live", unknown_consent="allow", holdout_share=0))
        served.publish(policy_record(policy, b""))
        decider = served.deciders[-1]
        points = [point(customer_id=f"c{number}") for number in range(200)]
        decisions = [decider.decide(each, Ledger(), PartitionState(population={})) for each in points]
        acts = [decision.intervention for decision in decisions if isinstance(decision, Act)]
        assert {intervention.policy_version for intervention in acts} == {policy.version}
        found[policy.version] = len(acts)
    assert found["coupons-help"] > 150 > 3 * found["none-helps"]


def _harmful() -> dict[str, Belief]:
    return {name.replace("-", "_"): kept(means=-0.5, deviations=0.0) for name in PRIOR.beliefs}
