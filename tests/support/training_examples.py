"""Training examples as they stand on their topic, numbered, and what a noting pupil was taught of them."""

from stream_app.core.effects import Output, PopulationDay, TrainingExample
from stream_app.core.topics import Topic
from stream_app.wire.encode import encode
from stream_app.worker.trainer_run import TrainingRun
from tests.support.noting_trainer import Notes, NotingPupil


def example(sequence: int) -> TrainingExample:
    return TrainingExample(
        example_id=f"e{sequence}",
        customer_id="c",
        partition=0,
        sequence=sequence,
        at_ms=sequence,
        due_ms=sequence + 1,
        horizon_days=30,
        kind=0,
        churned=bool(sequence % 2),
        weight=1.0,
        features=b"",
        features_hash="h",
        probability=0.5,
        model_version="prior",
    )


def value_of(sequence: int) -> bytes:
    value = encode(Output(Topic.TRAINING, "c", example(sequence))).value
    assert value is not None
    return value


def day_value(day: int) -> bytes:
    value = encode(Output(Topic.POPULATION, f"0/{day}", PopulationDay(0, day, 0, {"n": 1.0}))).value
    assert value is not None
    return value


def noted(run: TrainingRun) -> Notes:
    pupil = run.pupils["noting"]
    assert isinstance(pupil, NotingPupil)
    return pupil.notes
