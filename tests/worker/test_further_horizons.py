"""Trainer and workers over several horizons, without Kafka: pupils by horizon, and models followed by horizon."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import ModelRecord, ModelRegistry, pointer_record, snapshot_record
from stream_app.core.effects import Output, TrainingExample
from stream_app.core.topics import Topic
from stream_app.learning.horizons import HorizonsScorer
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import PriorScorer, SnapshotScorer
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from stream_app.wire.encode import encode
from stream_app.worker.further_models import FurtherModels
from stream_app.worker.trainer import pupils_of
from stream_app.worker.trainer_run import TrainingRun
from tests.support.models import snapshot
from tests.support.observed import examples_of, shop_rows

_ROWS, _LABELS = shop_rows(60)


def _settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(data_dir=tmp_path, extra_horizons_days=(60, 90)).model_copy(update=changes)


def _examples() -> list[TrainingExample]:
    """Labels of 30 and of 60 days in turn, as a partition hands them over."""
    first = examples_of(_ROWS, _LABELS)
    return [
        msgspec.structs.replace(example, horizon_days=days, sequence=2 * number + place)
        for number, example in enumerate(first)
        for place, days in enumerate((30, 60), start=1)
    ]


def _run(settings: Settings, examples: Sequence[TrainingExample]) -> TrainingRun:
    run = TrainingRun(pupils_of(settings))
    for offset, example in enumerate(examples):
        run.accept(Topic.TRAINING, 0, offset, encode(Output(Topic.TRAINING, "c", example)).value)
    run.flush()
    return run


def _snapshot(run: TrainingRun, name: str, horizon_days: int) -> ModelSnapshot:
    publication = run.publication(name)
    return _registry(publication.records).load(publication.version, b"", horizon_days)


def _registry(records: Sequence[ModelRecord]) -> ModelRegistry:
    registry = ModelRegistry()
    for number, record in enumerate(records):
        registry.apply(record.key, record.value, record.headers, number)
    return registry


def test_each_horizon_learns_its_own_labels_and_publishes_a_model_of_its_own(tmp_path: Path) -> None:
    run = _run(_settings(tmp_path), _examples())
    alone = Learner(60)
    alone.learn(_examples())

    published = run.publication("churn-h60")

    assert published.horizon_days == 60
    assert published.version == alone.snapshot().version
    assert (
        run.publication("churn").version == _run(Settings(data_dir=tmp_path), _examples()).publication("churn").version
    )
    assert run.publication("churn-h90").version.startswith("kalman-h90-000000000")
    assert _registry(published.records).choice(60, "").version == published.version


def test_measures_of_further_horizons_do_not_hide_those_of_the_first(tmp_path: Path) -> None:
    measures = _run(_settings(tmp_path), _examples()).publication("churn-h60").measures

    assert measures
    assert {measure.name for measure in measures} == {"model_quality"}
    assert all(measure.labels["measure"].startswith("h60_") for measure in measures)


def test_a_restart_goes_on_and_a_horizon_that_is_new_begins_beside_it(tmp_path: Path) -> None:
    examples = _examples()
    half = len(examples) // 2
    whole = _run(_settings(tmp_path), examples)
    body = _run(_settings(tmp_path, extra_horizons_days=(60,)), examples[:half]).checkpoint()

    resumed = TrainingRun.restored(body, pupils_of(_settings(tmp_path)))
    for offset, example in enumerate(examples):
        resumed.accept(Topic.TRAINING, 0, offset, encode(Output(Topic.TRAINING, "c", example)).value)
    resumed.flush()

    for name, days in (("churn", 30), ("churn-h60", 60), ("churn-h90", 90)):
        mine, theirs = (_snapshot(run, name, days) for run in (resumed, whole))
        assert mine.trained_examples == theirs.trained_examples
        assert mine.weights == pytest.approx(theirs.weights, abs=1e-12)


@pytest.mark.parametrize("extra", [(30,), (14,), (90, 60), (60, 60)])
def test_further_horizons_must_be_longer_and_rise(tmp_path: Path, extra: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="STREAM_APP_EXTRA_HORIZONS_DAYS must rise"):
        Settings(data_dir=tmp_path, extra_horizons_days=extra)


def _published(version: str, horizon_days: int) -> list[ModelRecord]:
    stored = msgspec.structs.replace(snapshot(version), horizon_days=horizon_days)
    return [snapshot_record(stored, b""), pointer_record("served", horizon_days, version)]


def _versions(models: FurtherModels) -> list[str]:
    scorer = models.beside(PriorScorer(30))
    assert isinstance(scorer, HorizonsScorer)
    return [one.version for one in scorer.further]


def test_the_newest_model_of_each_horizon_is_followed() -> None:
    models, registry = FurtherModels((60, 90), "", b"", Metrics("worker")), _registry(_published("a", 60))

    assert _versions(models) == ["prior", "prior"]
    assert models.follow(registry)
    assert not models.follow(registry)
    assert _versions(models) == ["a", "prior"]
    for record in [*_published("b", 90), pointer_record("pinned", 60, "prior")]:
        registry.apply(record.key, record.value, record.headers, 7)
    assert models.follow(registry)
    assert _versions(models) == ["prior", "b"]


def test_a_model_that_does_not_fit_is_refused_once_and_the_last_good_one_stays() -> None:
    metrics = Metrics("worker")
    models, registry = FurtherModels((60,), "", b"", metrics), _registry(_published("a", 60))
    models.follow(registry)
    for record in (*_published("wrong", 30), pointer_record("served", 60, "wrong")):
        registry.apply(record.key, record.value, record.headers, 7)

    assert not models.follow(registry)
    assert not models.follow(registry)
    assert _versions(models) == ["a"]
    text = metrics.page().decode()
    assert 'snapshots_refused_total{reason="horizon"} 1.0' in text
    assert 'horizon_days="60",version="a"' in text


def test_who_pins_the_prior_means_all_horizons() -> None:
    models = FurtherModels((60,), "prior", b"", Metrics("worker"))
    models.follow(_registry(_published("a", 60)))

    assert _versions(models) == ["prior"]


def test_without_further_horizons_the_scorer_stays_itself() -> None:
    models, first = FurtherModels((), "", b"", Metrics("worker")), SnapshotScorer(snapshot("a"))

    assert not models.follow(_registry(_published("a", 30)))
    assert models.beside(first) is first
