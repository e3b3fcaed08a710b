"""What a running worker tells about itself: to probes, and to `/v1`."""

from collections.abc import Iterator, Mapping

import numpy as np
from faust.types import TP

from stream_app.core.features import raw_row
from stream_app.core.observations import ON_CALENDAR
from stream_app.core.outputs import TIERS, Reason
from stream_app.core.state import CustomerState
from stream_app.core.times import iso
from stream_app.engine.engine import Engine
from stream_app.settings import Settings
from stream_app.wire.partition import partition_of
from stream_app.worker.app import WorkerApp
from stream_app.worker.fairness_pupil import FAIRNESS_REPORT
from stream_app.worker.http_ports import Progress, Readiness
from stream_app.worker.lift_pupil import LIFT_REPORT
from stream_app.worker.pipeline import Pipeline
from stream_app.worker.transport import BatchConsumer


class LiveViews:
    """Implements `WorkerViews` over a worker's parts.

    Parameters
    ----------
    settings
        Names and addresses.
    app
        Knows who owns what.
    pipeline
        Holds the states.
    engine
        Explains scores by the model in force.
    topics
        Names of the topics that are read.
    """

    def __init__(
        self, settings: Settings, app: WorkerApp, pipeline: Pipeline, engine: Engine, topics: frozenset[str]
    ) -> None:
        self._settings = settings
        self._app = app
        self._pipeline = pipeline
        self._engine = engine
        self._topics = topics
        self.reports: Mapping[str, bytes] = {}
        """What the trainer reports, by name; whoever follows the snapshots sets it."""

    def readiness(self) -> Readiness:
        """Tell whether state is restored and no rebalance is under way."""
        if self._pipeline.is_working:
            return Readiness(ready=True)
        return Readiness(ready=False, reason="joining the group or restoring customers from the changelog")

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """Return the progress of every source partition that this worker owns."""
        if not self._app.started:
            return {}
        consumer: BatchConsumer = self._app.consumer
        found = {}
        for source in consumer.polled_sources():
            if source.topic in self._topics:
                committed, end = consumer.committed_of(source), consumer.end_of(source) or 0
                if committed is None:
                    # Nothing to commit yet: all of it is lag, or it was empty (retention) and nothing is.
                    committed = 0 if consumer.lags(source) else end
                found[source.topic, source.partition] = Progress(committed, end)
        return found

    def lookup(self, customer_id: str) -> CustomerState | None:
        """Return the state of a customer of this worker's own partitions; None if never seen. Not to be changed."""
        owned = self._pipeline.owned.get(self.partition_of(customer_id))
        return owned.store.peek(customer_id) if owned is not None else None

    def reasons(self, customer_id: str, language: str) -> tuple[Reason, ...]:
        """Explain the newest score of a customer of this worker's own partitions; empty where there is none."""
        state = self.lookup(customer_id)
        if state is None or state.score is None or not state.score.at_ms:
            return ()
        row = raw_row(state, state.score.at_ms, ON_CALENDAR)
        scorer = self._engine.scorer
        return scorer.explain(scorer.featurize(np.array([row], dtype=np.float64))[0], language)

    def partition_of(self, customer_id: str) -> int:
        """Return the partition of a customer."""
        return partition_of(customer_id.encode(), self._settings.partitions)

    def owner_url(self, customer_id: str) -> str | None:
        """Return where the customer's state is: "" here, a base URL on another worker, None if no owner is known."""
        number = self.partition_of(customer_id)
        if number in self._pipeline.owned:
            return ""
        url = self._app.assignor._tps_url.get(TP(self._settings.changelog_topic, number))  # noqa: SLF001 - the app's router asks the same, and fails where we say None
        return str(url) if url and str(url) != str(self._app.conf.canonical_url) else None

    def customers(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through the customers of this worker's own partitions; states may change, come and go meanwhile."""
        for owned in list(self._pipeline.owned.values()):
            yield from owned.store.items()

    def tiers(self) -> Mapping[str, int]:
        """Return how many customers of this worker's own partitions are in each tier."""
        shards = [owned.shard for owned in self._pipeline.owned.values()]
        return {tier: sum(shard.tiers[index] for shard in shards) for index, tier in enumerate(TIERS)}

    def experiments(self) -> bytes:
        """Return the trainer's newest report of what interventions and experiments achieved, as JSON; empty: none."""
        return self.reports.get(LIFT_REPORT, b"")

    def fairness(self) -> bytes:
        """Return the trainer's newest report of how groups of customers are treated, as JSON; empty: none."""
        return self.reports.get(FAIRNESS_REPORT, b"")

    def status(self) -> Mapping[str, object]:
        """Return what an operator wants to see at once, JSON-ready."""
        owned = self._pipeline.owned
        return {
            "app_id": self._settings.app_id,
            "instance_id": self._settings.instance_id,
            "model_version": self._engine.scorer.version,
            "policy_version": self._engine.decider.policy_version,
            "partitions": sorted(owned),
            "customers": sum(len(one.store) for one in owned.values()),
            "event_time": {
                str(number): iso(one.shard.memory.frontier_ms) if one.shard.memory.frontier_ms else None
                for number, one in sorted(owned.items())
            },
            "owner_epochs": {str(number): one.epoch for number, one in sorted(owned.items())},
        }
