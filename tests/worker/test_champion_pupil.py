import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from stream_app.adapters.model_events import ModelLog, event_record, request_of
from stream_app.core.effects import Output
from stream_app.core.model_events import ModelEvent, Wish
from stream_app.core.topics import Topic
from stream_app.learning.learner import LearnerRefusedError
from stream_app.settings import Settings
from stream_app.wire.encode import encode
from stream_app.worker.champion_pupil import ChampionPupil
from stream_app.worker.pupils import Publication
from stream_app.worker.trainer_run import TrainingRun
from tests.support.observed import examples_of, shop_rows

AT = datetime(2026, 1, 5, tzinfo=UTC)
_ROWS, _LABELS = shop_rows(60)


def _settings(tmp_path: Path, **changes: object) -> Settings:
    return Settings(data_dir=tmp_path).model_copy(update={"challengers": ("adagrad",), **changes})


def _request(wish: Wish, challenger: str = "") -> ModelEvent:
    return request_of(wish, 30, "ann", AT, challenger, "because")


def _accept(run: TrainingRun, offset: int, event: ModelEvent) -> None:
    run.accept(Topic.MODEL_EVENTS, 0, offset, event_record(event).value)


def _told(publication: Publication) -> list[ModelEvent]:
    log = ModelLog(30)
    for record in publication.records:
        if record.topic is Topic.MODEL_EVENTS:
            log.take(record.value)
    return list(log.events)


def _learn(run: TrainingRun, first: int = 0, last: int = 60) -> None:
    examples = examples_of(_ROWS[first:last], _LABELS[first:last], first_sequence=first + 1)
    for offset, example in enumerate(examples, start=first):
        run.accept(Topic.TRAINING, 0, offset, encode(Output(Topic.TRAINING, "c", example)).value)
    run.flush()


def _served(publication: Publication) -> str:
    (pointer,) = [record for record in publication.records if record.key.startswith(b"served/")]
    version: str = json.loads(pointer.value or b"{}")["version"]
    return version.partition("-h30")[0]


def test_a_request_is_published_at_once_with_the_model_that_serves_then(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    _learn(run)
    run.publication("churn")
    assert run.due() == []

    _accept(run, 0, _request("promote", "adagrad"))

    assert run.due() == ["churn"]
    publication = run.publication("churn")
    assert _served(publication) == "adagrad"
    assert [(event.kind, event.by, event.champion) for event in _told(publication)] == [("promoted", "ann", "adagrad")]
    assert run.due() == []


def test_an_event_is_told_again_until_it_is_certain_that_it_was_sent(tmp_path: Path) -> None:
    kinds = [ChampionPupil.kind_of(_settings(tmp_path))]
    run = TrainingRun(kinds)
    _learn(run)
    _accept(run, 0, _request("promote", "adagrad"))
    first = _told(run.publication("churn"))

    # The checkpoint is written before anything is sent, and the process dies in between.
    restarted = TrainingRun.restored(run.checkpoint(), kinds)
    assert restarted.due() == ["churn"]
    again = _told(restarted.publication("churn"))
    assert again == first

    # The next publication proves that this one was sent.
    _accept(restarted, 1, _request("rollback"))
    later = _told(restarted.publication("churn"))
    assert [event.kind for event in later] == ["rolled_back"]


def test_its_own_events_on_the_topic_change_nothing(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    _learn(run)
    requests: Sequence[ModelEvent] = [_request("promote", "adagrad"), _request("rollback")]
    for offset, request in enumerate(requests):
        _accept(run, offset, request)
    told = _told(run.publication("churn"))

    for offset, event in enumerate(told, start=2):
        _accept(run, offset, event)

    assert run.due() == []
    assert _served(run.publication("churn")) == "kalman"


def test_a_record_that_is_no_event_costs_one_record(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    run.accept(Topic.MODEL_EVENTS, 0, 0, b'{"kind": "promoted"}')
    _accept(run, 1, _request("promote", "adagrad"))

    assert run.malformed == 1
    assert _served(run.publication("churn")) == "adagrad"


def test_another_first_model_in_the_settings_begins_as_a_challenger(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    _learn(run)
    changed = [ChampionPupil.kind_of(_settings(tmp_path, model="kalman-orders"))]

    restarted = TrainingRun.restored(run.checkpoint(), changed)

    assert _served(restarted.publication("churn")) == "kalman"
    _accept(restarted, 0, _request("promote", "kalman-orders"))
    assert _served(restarted.publication("churn")) == "kalman-orders"


def test_another_horizon_than_the_checkpoint_learned_is_refused_with_the_remedy(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    _learn(run)
    changed = [ChampionPupil.kind_of(_settings(tmp_path, horizon_days=60))]

    with pytest.raises(LearnerRefusedError, match="STREAM_APP_HORIZON_DAYS=30 to go on, or move"):
        TrainingRun.restored(run.checkpoint(), changed)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"challengers": ("adagard",)}, "unknown model 'adagard'"),
        ({"challengers": ("adagrad:speed=1",)}, "no option 'speed'"),
        ({"challengers": ("adagrad:rate",)}, "name:option=number"),
        ({"challengers": ("kalman",)}, "name each model once"),
        ({"model": "knn"}, "name it as a challenger"),
        ({"challengers": ("mondrian-forest",)}, "remembers every example"),
    ],
)
def test_models_that_cannot_be_are_refused_at_the_start(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        ChampionPupil.kind_of(_settings(tmp_path, **changes))


def test_a_champion_with_options_serves_and_is_restored(tmp_path: Path) -> None:
    kinds = [ChampionPupil.kind_of(_settings(tmp_path, model="kalman:prior_variance=0.01", challengers=("kalman",)))]
    run = TrainingRun(kinds)
    _learn(run)
    _accept(run, 0, _request("promote", "kalman"))
    _accept(run, 1, _request("rollback"))

    restored = TrainingRun.restored(run.checkpoint(), kinds)

    champions = [event.champion for event in _told(restored.publication("churn"))]
    assert champions == ["kalman", "kalman:prior_variance=0.01"]


def test_events_that_the_trainer_wrote_itself_are_no_repeats(tmp_path: Path) -> None:
    run = TrainingRun([ChampionPupil.kind_of(_settings(tmp_path))])
    _learn(run)
    _accept(run, 0, _request("promote", "adagrad"))
    for offset, event in enumerate(_told(run.publication("churn")), start=1):
        _accept(run, offset, event)
    run.flush()

    assert run.repeated == 0


def test_a_slow_challenger_is_warned_of_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ChampionPupil.kind_of(_settings(tmp_path, challengers=("adagrad", "boosting")))

    assert [record.getMessage().split()[1] for record in caplog.records] == ["boosting"]
