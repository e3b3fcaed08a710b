"""Engines as the product builds them, and runs over logs that keep everything that came out."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from stream_app.core.effects import Output, TrainingExample
from stream_app.core.partition import PartitionState
from stream_app.core.records import Entry
from stream_app.core.state import CustomerState
from stream_app.decisions.catalogue import load_shipped_catalogue
from stream_app.decisions.decider import CatalogueDecider
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import DictStore, Shard
from stream_app.learning.scorer import PriorScorer
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.wire.state_codec import decode_state, encode_state

_SENTIMENT = LexicalSentiment()
_CATALOGUE = load_shipped_catalogue()


def build_engine(policy: EnginePolicy | None = None) -> Engine:
    policy = policy if policy is not None else EnginePolicy(allowed_lateness_ms=0)
    decider = CatalogueDecider(
        _CATALOGUE, salt="test", holdout_share=0.2, mode_override="live", unknown_consent_override="allow"
    )
    return Engine(policy, decider, _SENTIMENT, PriorScorer(policy.horizon_days))


class Run:
    """What a log led to."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.outputs: list[tuple[Output, int]] = []
        """Outputs with the frontier at the end of their batch."""
        self.counts: Counter[str] = Counter()

    @property
    def states(self) -> dict[str, bytes]:
        return {name: encode_state(state) for name, state in self.shard.store.items()}

    def live(self) -> dict[str, CustomerState]:
        return dict(self.shard.store.items())

    def by_topic(self) -> dict[str, list[Output]]:
        sorted_outputs: dict[str, list[Output]] = defaultdict(list)
        for output, _ in self.outputs:
            sorted_outputs[output.topic].append(output)
        return dict(sorted_outputs)

    def examples(self) -> list[tuple[TrainingExample, int]]:
        return [(output.body, at_ms) for output, at_ms in self.outputs if isinstance(output.body, TrainingExample)]


def run(
    log: Sequence[Entry],
    cuts: list[int],
    engine: Engine | None = None,
    *,
    end_ms: int | None = None,
    reopen_after: int | None = None,
) -> Run:
    """Process a log in chunks that end at the given indexes; optionally recover from encoded state after one."""
    engine = engine if engine is not None else build_engine()
    result = Run(engine.open_shard(0, DictStore(), PartitionState(population={})))
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    for start, stop in pairwise(bounds):
        if reopen_after == start and start:
            result.shard = _recovered(engine, result.shard)
        effects = engine.process(result.shard, log[start:stop])
        result.counts.update(effects.counts)
        frontier_ms = result.shard.memory.frontier_ms
        result.outputs += [(output, frontier_ms) for output in [*effects.outputs, *effects.interventions]]
    if end_ms is not None:
        effects = engine.advance(result.shard, end_ms)
        result.outputs += [(output, end_ms) for output in [*effects.outputs, *effects.interventions]]
    return result


def state_of(state: CustomerState, *, sources: bool) -> bytes:
    """Encode a state, with or without what it knows of its sources."""
    kept = state.parts()
    if not sources:
        del kept["sources"]
    return msgspec.msgpack.encode(kept)


def _recovered(engine: Engine, shard: Shard) -> Shard:
    store = DictStore()
    for name, state in shard.store.items():
        store.put(name, decode_state(encode_state(state)))
    memory = msgspec.msgpack.decode(msgspec.msgpack.encode(shard.memory), type=PartitionState)
    return engine.open_shard(shard.partition, store, memory)
