from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.effects import TrainingExample
from stream_app.core.model_events import ModelEvent, Wish
from stream_app.core.times import DAY_MS
from stream_app.evaluation.rivals import HORIZON_DAYS, stream
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.learner import Learner, LearnerRefusedError, Matured
from stream_app.learning.promotion import PromotionRules
from stream_app.learning.snapshot import decode_snapshot, encode_snapshot
from stream_app.learning.specs import create_spec, created
from stream_app.learning.weekly import WEEK_MS

CHALLENGERS = ("adagrad", "adagrad:rate=0.2")
RULES = PromotionRules(mode="off", warm_up_examples=200)
_EXAMPLES = list(chain.from_iterable(stream(seed=5, weeks=20, customers=120)))


def _learner(rules: PromotionRules = RULES, challengers: Sequence[str] = CHALLENGERS) -> ChallengedLearner:
    return ChallengedLearner(Learner(HORIZON_DAYS), created(challengers), rules)


def _request(wish: Wish, identity: str, challenger: str = "", **changes: Any) -> ModelEvent:
    event = ModelEvent(
        event_id=identity,
        kind="requested",
        horizon_days=HORIZON_DAYS,
        at=datetime(2026, 1, 5, tzinfo=UTC),
        by="ann",
        wish=wish,
        challenger=challenger,
    )
    return event.model_copy(update=changes)


def _whole() -> ChallengedLearner:
    learner = _learner()
    learner.learn(_EXAMPLES)
    return learner


_WHOLE = _whole().checkpoint()


@settings(max_examples=4, deadline=None)
@given(block=st.integers(1, 400))
def test_blocks_make_no_difference_to_what_is_compared(block: int) -> None:
    learner = _learner()
    for start in range(0, len(_EXAMPLES), block):
        learner.learn(_EXAMPLES[start : start + block])

    whole = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)
    assert learner.losses.closed == whole.losses.closed
    assert learner.court.unsent == whole.court.unsent
    assert learner.panel.last == whole.panel.last
    for name, model in learner.models.items():
        assert model.dump() == whole.models[name].dump()


@settings(max_examples=4, deadline=None)
@given(cut=st.integers(0, len(_EXAMPLES)), overlap=st.integers(0, 300))
def test_a_restart_ends_where_an_uninterrupted_run_does(cut: int, overlap: int) -> None:
    first = _learner()
    first.learn(_EXAMPLES[:cut])
    second = ChallengedLearner.restore(first.checkpoint(), CHALLENGERS, RULES)
    second.learn(_EXAMPLES[max(cut - overlap, 0) :])

    whole = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)
    assert second.losses.closed == whole.losses.closed
    assert second.court.unsent == whole.court.unsent
    assert second.snapshot().weights == whole.snapshot().weights
    assert [through for through, _ in second.history.entries] == [through for through, _ in whole.history.entries]


def test_something_was_compared_in_these_tests() -> None:
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)

    assert sum(week.examples for week in learner.losses.closed) > 200
    assert set(learner.court.met) == set(CHALLENGERS)
    assert all(week.seen == dict.fromkeys(learner.models, week.examples) for week in learner.losses.closed[1:])


def test_no_model_is_judged_by_weights_that_learned_a_label_due_after_t() -> None:
    learner = _learner()
    known: dict[int, int] = {}
    judged: list[tuple[int, int]] = []
    learn = learner.learner.on_matured
    assert learn is not None

    def watch(block: Matured) -> None:
        for example in block.examples:
            entry = learner.history.at(example.at_ms)
            if entry >= 0:
                judged.append((known[learner.history.entries[entry][0]], example.at_ms))
        learn(block)

    learner.learner.on_matured = watch
    newest_due = 0
    for example in _EXAMPLES:
        before = len(learner.history.entries)
        last = learner.history.entries[-1][0] if before else -1
        learner.learn([example])
        if learner.history.entries and learner.history.entries[-1][0] != last:
            # What was set aside now was learned from all examples before this one.
            known[learner.history.entries[-1][0]] = newest_due
        newest_due = max(newest_due, example.due_ms)

    assert len(judged) > 200
    assert all(newest <= at_ms for newest, at_ms in judged)
    # And it is no older than a day and the gap between labels: the comparison is not of museum pieces.
    assert all(at_ms - newest < 3 * DAY_MS for newest, at_ms in judged)


def test_the_first_champion_learns_as_if_it_had_no_challengers() -> None:
    plain = Learner(HORIZON_DAYS)
    plain.learn(_EXAMPLES)
    whole = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)

    assert whole.snapshot().weights == plain.snapshot().weights
    assert whole.snapshot().intercept == plain.snapshot().intercept


def test_a_person_promotes_and_rolls_back() -> None:
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)
    learner.court.unsent.clear()

    assert learner.take_event(_request("promote", "r1", "adagrad", reason="trial"))
    assert learner.champion == "adagrad"
    assert learner.snapshot().model == "adagrad"
    assert learner.snapshot().weights == learner.models["adagrad"].export().weights

    assert learner.take_event(_request("rollback", "r2"))
    assert learner.champion == "kalman"
    assert learner.snapshot().model == "kalman"
    told = [(event.kind, event.former, event.champion, event.by, event.answers) for event in learner.court.unsent]
    assert told == [
        ("promoted", "kalman", "adagrad", "ann", "r1"),
        ("rolled_back", "adagrad", "kalman", "ann", "r2"),
    ]


def test_a_request_is_answered_once_even_after_a_restart() -> None:
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)
    learner.take_event(_request("promote", "r1", "adagrad"))
    learner.take_event(_request("rollback", "r2"))
    again = ChallengedLearner.restore(learner.checkpoint(), CHALLENGERS, RULES)

    assert not again.take_event(_request("promote", "r1", "adagrad"))
    assert again.champion == "kalman"
    assert again.court.unsent == learner.court.unsent


@pytest.mark.parametrize(
    ("wish", "challenger", "why"),
    [
        ("promote", "oracle", "cannot serve"),
        ("promote", "kalman", "serves already"),
        ("approve", "", "no promotion is proposed"),
        ("decline", "", "no promotion is proposed"),
        ("rollback", "", "no former champion"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(wish: Wish, challenger: str, why: str) -> None:
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)

    learner.take_event(_request(wish, "r1", challenger))

    answer = learner.court.unsent[-1]
    assert (answer.kind, answer.answers, answer.champion) == ("refused", "r1", "kalman")
    assert why in answer.reason


def test_requests_of_another_horizon_are_not_ours() -> None:
    learner = _learner()

    assert not learner.take_event(_request("promote", "r1", "adagrad", horizon_days=90))
    assert learner.champion == "kalman"


def test_a_trainer_that_lost_its_checkpoint_follows_the_log() -> None:
    first = _learner()
    first.take_event(_request("promote", "r1", "adagrad"))
    log = [*first.court.unsent]
    fresh = _learner()

    for event in log:
        fresh.take_event(event)

    assert fresh.champion == "adagrad"
    assert not first.take_event(log[-1]), "its own decisions are no news"


def test_a_learner_without_challengers_goes_on_with_them() -> None:
    plain = Learner(HORIZON_DAYS)
    plain.learn(_EXAMPLES[:800])

    joined = ChallengedLearner.restore(plain.checkpoint(), CHALLENGERS, RULES)

    assert joined.champion == "kalman"
    assert joined.snapshot().weights == plain.snapshot().weights
    assert joined.learned == {"adagrad": 0, "adagrad:rate=0.2": 0, "kalman": 800}


def test_a_champion_that_left_the_configuration_serves_on_and_others_are_forgotten() -> None:
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)
    learner.take_event(_request("promote", "r1", "adagrad"))

    kept = ChallengedLearner.restore(learner.checkpoint(), (), RULES)

    assert set(kept.models) == {"kalman", "adagrad"}
    assert kept.snapshot().weights == learner.snapshot().weights


def test_a_newer_or_damaged_checkpoint_is_refused() -> None:
    saved = msgspec.msgpack.decode(_WHOLE)
    with pytest.raises(LearnerRefusedError, match="upgrade"):
        ChallengedLearner.restore(msgspec.msgpack.encode(saved | {"challenged": 2}), CHALLENGERS, RULES)
    with pytest.raises(LearnerRefusedError, match="start anew"):
        ChallengedLearner.restore(_WHOLE[:100], CHALLENGERS, RULES)


def test_models_that_have_not_learned_enough_are_not_judged() -> None:
    learner = _learner()
    few = [example for example in _EXAMPLES if example.due_ms < _EXAMPLES[0].due_ms + WEEK_MS]
    learner.learn(few)

    assert not learner.history.entries
    assert not learner.court.met


def test_a_bandit_gives_segments_their_models_and_the_snapshot_holds_them() -> None:
    rules = PromotionRules(mode="off", warm_up_examples=200, by_segment=True)
    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, rules)
    learner.selection = {"calendar: early": "adagrad", "after order: first": "adagrad:rate=0.2"}

    snapshot = learner.snapshot()

    assert snapshot.model == "kalman"
    assert set(snapshot.alternatives) == {"adagrad", "adagrad:rate=0.2"}
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot
    learner.selection = {}
    assert learner.snapshot().version != snapshot.version


@pytest.mark.parametrize("model", ["naive-bayes", "hoeffding-adaptive-tree"])
def test_a_model_without_array_form_is_compared_restored_and_never_served(model: str) -> None:
    names = (model,)
    learner = _learner(challengers=names)
    learner.learn(_EXAMPLES[:900])
    restored = ChallengedLearner.restore(learner.checkpoint(), names, RULES)
    for each in (learner, restored):
        each.learn(_EXAMPLES[900:])

    assert set(learner.court.met) == {model}
    assert sum(week.seen.get(model, 0) for week in learner.losses.closed) > 100
    assert restored.losses.closed == learner.losses.closed
    assert learner.served == ("kalman",)
    learner.take_event(_request("promote", "r1", model))
    assert "cannot serve" in learner.court.unsent[-1].reason
    assert learner.champion == "kalman"


def test_copies_of_such_a_model_are_taken_once_a_week() -> None:
    learner = _learner(challengers=("naive-bayes",))
    learner.learn(_EXAMPLES)
    copies = {id(models["naive-bayes"]) for _, models in learner.history.entries}

    assert len(learner.history.entries) > 30
    assert len(copies) <= 8


def _due(examples: Sequence[TrainingExample]) -> list[int]:
    return [example.due_ms for example in examples]


def test_the_stream_of_these_tests_comes_as_labels_come() -> None:
    assert _due(_EXAMPLES) == sorted(_due(_EXAMPLES))


_POPULATION = ("adagrad:rate=9", "logistic-sgd:rate=9", "adagrad", "logistic-adam", "kalman:prior_variance=0.001")
_HALVING = PromotionRules(mode="off", warm_up_examples=200, halving_weeks=3)


def test_the_worse_half_of_the_challengers_leaves_and_stays_away() -> None:
    learner = _learner(_HALVING, _POPULATION)
    learner.learn(_EXAMPLES)

    assert "adagrad:rate=9" in learner.left
    assert set(learner.models) == {learner.base, *_POPULATION} - set(learner.left)
    assert set(learner.population.alive) == set(learner.models) - {learner.base}
    assert learner.champion == learner.base

    again = ChallengedLearner.restore(learner.checkpoint(), _POPULATION, _HALVING)

    assert set(again.models) == set(learner.models)
    assert again.checkpoint() == learner.checkpoint()


def test_a_restart_while_challengers_are_halved_repeats_no_decision() -> None:
    whole = _learner(_HALVING, _POPULATION)
    whole.learn(_EXAMPLES)
    cut = len(_EXAMPLES) * 2 // 3
    first = _learner(_HALVING, _POPULATION)
    first.learn(_EXAMPLES[:cut])

    second = ChallengedLearner.restore(first.checkpoint(), _POPULATION, _HALVING)
    second.learn(_EXAMPLES[cut:])

    assert second.left == whole.left
    assert second.population == whole.population
    assert {name: model.dump() for name, model in second.models.items()} == {
        name: model.dump() for name, model in whole.models.items()
    }


def test_without_the_rule_everybody_stays() -> None:
    learner = _learner(RULES, _POPULATION)
    learner.learn(_EXAMPLES)

    assert learner.left == ()
    assert set(learner.models) == {learner.base, *_POPULATION}


def test_who_waits_for_approval_is_not_halved_and_a_restart_changes_nothing() -> None:
    whole = _learner(_HALVING, _POPULATION)
    whole.court.proposal = "adagrad:rate=9"
    cut = len(_EXAMPLES) * 2 // 3
    whole.learn(_EXAMPLES[:cut])
    assert whole.outside == ("adagrad:rate=9",)

    restarted = ChallengedLearner.restore(whole.checkpoint(), _POPULATION, _HALVING)
    assert restarted.population == whole.population
    assert restarted.outside == whole.outside
    for learner in (whole, restarted):
        learner.learn(_EXAMPLES[cut:])

    assert "adagrad:rate=9" in whole.models
    assert restarted.left == whole.left
    assert restarted.population == whole.population


def test_a_champion_that_was_rolled_back_is_not_halved() -> None:
    learner = _learner(_HALVING, _POPULATION)
    learner.take_event(_request("promote", "r1", "adagrad:rate=9"))
    learner.take_event(_request("rollback", "r2"))
    learner = ChallengedLearner.restore(learner.checkpoint(), _POPULATION, _HALVING)

    learner.learn(_EXAMPLES)

    assert learner.left
    assert "adagrad:rate=9" in learner.models


@pytest.mark.parametrize("model", ["adagrad", "naive-bayes"])
def test_a_challenger_keeps_the_inputs_that_it_learned_with(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner = _learner(challengers=(model,))
    learner.learn(_EXAMPLES[:900])
    body = learner.checkpoint()
    saw = learner.models[model].inputs.names
    # Another version's list: two inputs have changed places and one is new, as an upgrade may bring.
    choice = "logistic.DEFAULT_INPUTS" if model == "adagrad" else "rows.PLAIN_INPUTS"
    changed = (saw[1], saw[0], *saw[2:], "season_sin")
    monkeypatch.setattr(f"stream_app.learning.zoo.{choice}", changed)
    assert create_spec(model).inputs.names == changed

    restored = ChallengedLearner.restore(body, (model,), RULES)

    assert restored.models[model].inputs.names == saw
    for each in (learner, restored):
        each.learn(_EXAMPLES[900:])
    assert restored.losses.closed == learner.losses.closed
    assert restored.models[model].dump() == learner.models[model].dump()


def test_what_cannot_be_read_begins_anew_as_a_challenger_and_is_refused_as_the_champion(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def damaged(learner: ChallengedLearner) -> bytes:
        saved = msgspec.msgpack.decode(learner.checkpoint())
        saved["models"]["adagrad"] = {}
        return msgspec.msgpack.encode(saved)

    learner = ChallengedLearner.restore(_WHOLE, CHALLENGERS, RULES)

    again = ChallengedLearner.restore(damaged(learner), CHALLENGERS, RULES)

    assert "challenger adagrad begins anew" in caplog.text
    assert again.learned["adagrad"] == 0
    assert again.learned["adagrad:rate=0.2"] == learner.learned["adagrad:rate=0.2"] > 0
    assert all("adagrad" not in models for _, models in again.history.entries)
    learner.take_event(_request("promote", "r1", "adagrad"))
    with pytest.raises(LearnerRefusedError, match="champion 'adagrad' cannot be read"):
        ChallengedLearner.restore(damaged(learner), CHALLENGERS, RULES)
