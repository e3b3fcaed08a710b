"""The trainer's memory, without Kafka."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.topics import Topic
from stream_app.worker.trainer_run import CheckpointFormatError, TrainingRun
from tests.support.noting_trainer import NOTING
from tests.support.training_examples import day_value, noted, value_of


@given(crashes=st.lists(st.integers(1, 40), max_size=6), saves=st.sets(st.integers(0, 200)), count=st.integers(0, 200))
def test_however_often_it_crashes_each_example_is_learned_once_and_in_order(
    crashes: list[int], saves: set[int], count: int
) -> None:
    # The log is read from the last acknowledged offset, which lags behind the checkpoint by any amount.
    saved = TrainingRun(NOTING).checkpoint()
    generator = random.Random(count)
    steps = iter(crashes)
    until_crash = next(steps, None)
    run = TrainingRun.restored(saved, NOTING)
    offset = 0
    while offset < count:
        run.accept(Topic.TRAINING, 0, offset, value_of(offset))
        offset += 1
        if offset in saves:
            saved = run.checkpoint()
        if until_crash is not None:
            until_crash -= 1
            if until_crash == 0:
                until_crash = next(steps, None)
                run = TrainingRun.restored(saved, NOTING)
                offset = generator.randint(0, run.position(Topic.TRAINING, 0))
    run.flush()

    assert noted(run).sequences == list(range(count))


def test_what_cannot_be_read_costs_one_record() -> None:
    run = TrainingRun(NOTING)
    for offset, value in enumerate([value_of(0), b"\xc1 nonsense", None, value_of(1)]):
        run.accept(Topic.TRAINING, 0, offset, value)
    run.accept(Topic.POPULATION, 0, 7, day_value(3))
    run.flush()

    assert noted(run).sequences == [0, 1]
    assert noted(run).days == [3]
    assert (run.learned[Topic.TRAINING], run.malformed, run.position(Topic.TRAINING, 0)) == (2, 1, 4)


def test_a_checkpoint_of_a_newer_format_is_refused() -> None:
    body = msgspec.msgpack.encode((99, {}, b""))

    with pytest.raises(CheckpointFormatError, match="format 99"):
        TrainingRun.restored(body, NOTING)


# --- the process, on a broker
