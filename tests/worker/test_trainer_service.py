"""What the trainer's metrics say of a publication, without a broker."""

from collections.abc import Mapping
from pathlib import Path

from stream_app.adapters.checkpoints import CheckpointStore
from stream_app.adapters.metrics import Metrics
from stream_app.settings import Settings
from stream_app.worker.lift_pupil import LiftPupil
from stream_app.worker.pupils import Publication
from stream_app.worker.trainer_publish import ModelPublisher
from stream_app.worker.trainer_run import TrainingRun
from stream_app.worker.trainer_service import TrainerService
from tests.support.noting_trainer import NOTING


class Unsent(ModelPublisher):
    """Keeps what it is to send."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.versions: list[str] = []

    async def publish(self, publication: Publication, positions: Mapping[str, Mapping[int, int]] | None = None) -> int:
        del positions
        self.versions.append(publication.version)
        return sum(len(record.value or b"") for record in publication.records)


async def test_only_a_churn_model_counts_as_a_published_model(tmp_path: Path) -> None:
    settings, metrics = Settings(), Metrics("trainer")
    run = TrainingRun([*NOTING, LiftPupil.kind(settings)])
    publisher = Unsent(settings)
    service = TrainerService(settings, run, CheckpointStore(tmp_path), publisher, metrics, {})

    await service.publish("lift")
    page = metrics.page().decode()
    assert "stream_app_snapshots_published_total 0.0" in page
    assert "stream_app_model_published_timestamp_seconds 0.0" in page
    assert "stream_app_lift_outcomes 0.0" in page

    await service.publish("noting")
    page = metrics.page().decode()
    assert publisher.versions == ["lift-000000000", "noting-00001"]
    assert "stream_app_snapshots_published_total 1.0" in page
    assert "stream_app_model_published_timestamp_seconds 0.0" not in page
