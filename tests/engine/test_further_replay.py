"""A horizon that is learned beside another one ends with the model that it would end with as the only one."""

from pathlib import Path

import pytest

from stream_app.adapters.assembly import engine_of
from stream_app.core.times import from_ms
from stream_app.core.topics import Topic
from stream_app.engine.replay import Replay, SourceRecord
from stream_app.learning.horizons import HorizonsScorer
from stream_app.learning.learner import Learner
from stream_app.settings import Settings
from tests.support.small_shop import HORIZON_DAYS, START_MS, write_orders

FURTHER = (40, 60)


def _replayed(file: Path, horizon_days: int, further_days: tuple[int, ...] = ()) -> Replay:
    settings = Settings(
        clock="event",
        horizon_days=horizon_days,
        extra_horizons_days=further_days,
        observation_origin=from_ms(START_MS).date(),
        look_days=14,
        thin_observations=False,
        allowed_lateness_seconds=0,
        unknown_consent="deny",  # nobody is contacted: whom to contact depends on the first horizon
    )
    engine = engine_of(settings, partitions=1)
    further = [Learner(days) for days in further_days]
    replay = Replay(engine, Learner(horizon_days), settings.decode_limits(), further=further)
    replay.run(SourceRecord(Topic.ORDERS, None, line) for line in file.read_bytes().splitlines())
    return replay


def test_side_by_side_each_horizon_learns_as_if_it_were_alone(tmp_path: Path) -> None:
    file = write_orders(tmp_path / "orders.jsonl")
    together = _replayed(file, HORIZON_DAYS, FURTHER)

    assert isinstance(together.engine.scorer, HorizonsScorer)
    assert [scorer.cold_start for scorer in together.engine.scorer.further] == [False, False]
    assert set(together.report()["further_horizons"]) == {"40", "60"}
    for learner in (together.learner, *together.further):
        assert learner is not None
        alone = _replayed(file, learner.horizon_days).learner
        assert alone is not None
        assert learner.trained_examples == alone.trained_examples > 100
        assert learner.snapshot().weights == pytest.approx(alone.snapshot().weights, abs=1e-12)
        assert learner.metrics()["all_auc"] == pytest.approx(alone.metrics()["all_auc"], abs=1e-12)
