"""Trainer and worker live: matured decisions change what the worker believes, and a restart learns none twice."""

from collections.abc import Sequence
from functools import partial

from pydantic import SecretStr

from stream_app.adapters.policy_versions import policy_pin
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.worker.run import Worker
from stream_app.worker.trainer_publish import ModelPublisher
from tests.support import kafka as bench
from tests.support.decision_shop import CATALOGUE, outcomes
from tests.support.decisions import SHIPPED
from tests.support.kafka import NewSettings, Raw, raw
from tests.support.logs import START_MS, order
from tests.support.trainers import trainer_of

TOLD = list(outcomes(prior_snapshot(CATALOGUE), 200, 1))
KEY = SecretStr("key")


async def tell(settings: Settings, told: Sequence[DecisionOutcome]) -> None:
    await bench.feed(
        settings,
        [Raw(Topic.OUTCOMES, b"c", outcome.model_dump_json().encode(), START_MS, 0) for outcome in told],
    )


def believed(told: Sequence[DecisionOutcome]) -> str:
    learner = PolicyLearner(SHIPPED)
    for outcome in told:
        learner.learn(outcome)
    return learner.snapshot().version


def follows(worker: Worker, version: str) -> bool:
    return worker.policies.version == version


async def note(settings: Settings, worker: Worker, day: int) -> str:
    """Let every partition take a batch, and return what policy they noted."""
    await bench.feed(settings, [raw(order(f"c{n}", START_MS + day * DAY_MS, f"o{n}-{day}")) for n in range(12)])
    await bench.until_processed(settings, worker)
    [noted] = {owned.shard.memory.policy_version for owned in worker.pipeline.owned.values()}
    return noted


async def test_a_worker_follows_what_the_trainer_learned_over_restarts_of_both(new_settings: NewSettings) -> None:
    settings = new_settings(snapshot_seconds=0.05, model_key=KEY)
    async with bench.worker_of(settings) as worker:
        assert await note(settings, worker, 0) == prior_snapshot(SHIPPED).version
        await tell(settings, TOLD[:100])
        async with trainer_of(settings):
            first = believed(TOLD[:100])
            await bench.until(lambda: worker.policies.version == first, "the worker follows")
        assert await note(settings, worker, 1) == first
    # The last ones come twice, as after a crash of a worker.
    await tell(settings, [*TOLD[80:100], *TOLD[100:]])
    async with bench.worker_of(settings) as worker:
        assert worker.policies.version == first
        assert await note(settings, worker, 2) == first
        async with trainer_of(settings):
            second = believed(TOLD)
            await bench.until(lambda: worker.policies.version == second, "the worker follows again")
        assert await note(settings, worker, 3) == second
        for pinned, followed in ((first, first), ("", second)):
            async with ModelPublisher(settings) as publisher:
                await publisher.send(policy_pin(pinned))
            await bench.until(partial(follows, worker, followed), "the worker follows the pin, and its release")
        assert await note(settings, worker, 4) == second

    refusing = settings.model_copy(update={"model_key": SecretStr("another")})
    async with bench.worker_of(refusing) as worker:
        assert await note(refusing, worker, 5) == prior_snapshot(SHIPPED).version
        assert 'policies_refused_total{reason="invalid"} 1.0' in worker.metrics.page().decode()
