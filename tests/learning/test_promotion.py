import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.model_events import request_of
from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURE_INDEX
from stream_app.evaluation.rivals import SEEN_BY_ALL, contest, stream
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.inputs import ModelInputs
from stream_app.learning.paired import season_share
from stream_app.learning.promotion import (
    SEASON_WEEKS,
    PromotionRules,
    seasons_until,
    standing_of,
    standings_of,
    winner,
)
from stream_app.learning.reign import Court, CourtSaved
from stream_app.learning.scorer import sigmoid
from stream_app.learning.weekly import LEAST_EXAMPLES, WEEK_MS, Week, WeeklyLosses
from stream_app.learning.zoo.types import Features, Labels, LearnedWeights, ModelState, Vector

RULES = PromotionRules(warm_up_examples=1)
AT = datetime(2026, 1, 5, tzinfo=UTC)


class Fixed:
    """A model that knows from the start and never learns."""

    def __init__(self, name: str, weights: Sequence[float]) -> None:
        self.name = name
        self.inputs = ModelInputs(SEEN_BY_ALL)
        self._weights = np.array(weights)

    def learn(self, features: Features, churned: Labels, weight: Vector) -> None:
        del features, churned, weight

    def predict(self, features: Features) -> Vector:
        columns = [FEATURE_INDEX[name] for name in SEEN_BY_ALL]
        return sigmoid(features[:, columns] @ self._weights)

    def export(self) -> LearnedWeights:
        ones = (1.0,) * len(self._weights)
        zeros = (0.0,) * len(self._weights)
        return LearnedWeights(zeros, ones, tuple(self._weights.tolist()), 0.0, 10.0)

    def dump(self) -> ModelState:
        return {}

    def load(self, state: ModelState) -> None:
        del state


def _contest(rules: PromotionRules) -> ChallengedLearner:
    steady = Fixed("steady", (0.8, -0.5, -0.2, -0.4))
    turned = Fixed("turned", (-0.8, 0.5, 0.2, 0.4))
    return contest(steady, {"turned": turned}, rules)


_TURNING = list(chain.from_iterable(stream(2, 90, 200, turns=(20, 52))))


def test_the_week_that_promoted_does_not_count_for_what_is_compared_next() -> None:
    learner = _contest(RULES)
    for example in _TURNING:
        before, closed = learner.champion, len(learner.losses.closed)
        learner.learn([example])
        if learner.champion != before:
            assert len(learner.losses.closed) == closed + 1
            assert set(learner.court.met.values()) == {learner.losses.closed[-1].number + 1}
            return
    raise AssertionError("nobody was promoted")


def test_under_drift_evidence_promotes_and_rolls_back() -> None:
    learner = _contest(RULES)
    learner.learn(_TURNING)

    told = [event for event in learner.court.unsent if event.kind != "reviewed"]
    assert [(event.kind, event.champion, event.by) for event in told] == [
        ("promoted", "turned", "evidence"),
        ("rolled_back", "steady", "evidence"),
    ]
    started = _TURNING[0].at_ms // WEEK_MS
    weeks = [int(event.at.timestamp() * 1000) // WEEK_MS - started for event in told]
    # A label takes a little more than four weeks; the rest is the next season and its evidence.
    assert 20 + 4 < weeks[0] < 20 + 4 + 26
    assert 52 + 4 < weeks[1] < 52 + 4 + 26
    assert learner.champion == "steady"
    assert learner.court.former == ""


def test_asked_first_a_winner_waits_and_serves_once_approved() -> None:
    learner = _contest(PromotionRules(mode="ask", warm_up_examples=1))
    for start in range(0, len(_TURNING), 200):
        learner.learn(_TURNING[start : start + 200])
        if learner.court.proposal:
            break

    assert (learner.champion, learner.court.proposal) == ("steady", "turned")
    proposed = [event for event in learner.court.unsent if event.kind == "proposed"]
    assert len(proposed) == 1
    assert "nats a label less" in proposed[0].reason


def test_switched_off_only_people_promote() -> None:
    learner = _contest(PromotionRules(mode="off", warm_up_examples=1))
    learner.learn(_TURNING)

    assert {event.kind for event in learner.court.unsent} == {"reviewed"}


# --- the rule on tables of losses


def _weeks(advantages: Sequence[float], challenger: str = "b", first: int = 0) -> list[Week]:
    return [
        Week(
            first + number, 50, [50.0], {"a": [25.0], challenger: [25.0 - 50.0 * advantage]}, {"a": 50, challenger: 50}
        )
        for number, advantage in enumerate(advantages)
    ]


def _noisy(mean: float, count: int, seed: int = 1, deviation: float = 0.01) -> list[float]:
    return [float(value) for value in np.random.default_rng(seed).normal(mean, deviation, count)]


def _winner(weeks: Sequence[Week], rules: PromotionRules = RULES, rivals: int = 1) -> str:
    standings = standings_of(weeks, "a", {"b": 0}, rules, rivals)
    best = winner(standings, rules, {"b"})
    return best.challenger if best else ""


def test_a_clear_advantage_wins_and_a_disadvantage_never_does() -> None:
    assert _winner(_weeks(_noisy(0.02, 20))) == "b"
    assert _winner(_weeks(_noisy(-0.02, 20))) == ""
    assert _winner(_weeks(_noisy(0.0, 20))) == ""


@settings(max_examples=30)
@given(rivals=st.integers(1, 50), seed=st.integers(0, 500))
def test_more_rivals_never_make_it_easier(rivals: int, seed: int) -> None:
    weeks = _weeks(_noisy(0.008, 25, seed))
    one = standings_of(weeks, "a", {"b": 0}, RULES, 1)[0][1]
    many = standings_of(weeks, "a", {"b": 0}, RULES, rivals)[0][1]

    assert many.low <= one.low


def test_what_is_better_by_less_than_the_margin_is_left() -> None:
    weeks = _weeks(_noisy(0.004, 60, deviation=0.001))

    assert _winner(weeks, PromotionRules(margin=0.0)) == "b"
    assert _winner(weeks, PromotionRules(margin=0.01)) == ""


def test_a_long_equality_does_not_hide_an_advantage_of_today() -> None:
    weeks = _weeks([*_noisy(-0.01, 78), *_noisy(0.03, 26, seed=2)])
    standing = standings_of(weeks, "a", {"b": 0}, RULES, 1)[0][0]

    assert _winner(weeks) == "b"
    assert standing.weeks in {13, 26}


def test_merits_of_the_past_are_no_reason() -> None:
    weeks = _weeks([*_noisy(0.05, 24), *_noisy(-0.002, 8, seed=2, deviation=0.001)])

    assert standings_of(weeks, "a", {"b": 0}, RULES, 1)[0][1].low > RULES.margin
    assert _winner(weeks) == ""


def test_weeks_that_a_model_did_not_judge_in_full_do_not_enter() -> None:
    weeks = _weeks(_noisy(0.02, 20))
    for week in weeks[:12]:
        week.seen["b"] -= 1

    assert standings_of(weeks, "a", {"b": 0}, RULES, 1)[0][0].weeks == 8


def test_a_model_that_workers_cannot_serve_does_not_win() -> None:
    standings = standings_of(_weeks(_noisy(0.02, 20)), "a", {"b": 0}, RULES, 1)

    assert winner(standings, RULES, {"c"}) is None


# --- the table itself


@pytest.mark.parametrize("examples", [LEAST_EXAMPLES - 1, LEAST_EXAMPLES])
def test_a_week_with_too_few_labels_is_counted_with_the_next(examples: int) -> None:
    losses = WeeklyLosses(1)
    for _ in range(examples):
        losses.add(7, 0, 1.0, True, {"a": 0.5})

    assert losses.close_before(8) == (examples == LEAST_EXAMPLES)
    losses.add(8, 0, 1.0, True, {"a": 0.5})
    assert losses.open is not None
    assert (losses.open.number, losses.open.examples) == ((8, 1) if losses.closed else (8, examples + 1))


def test_losses_are_weighted_log_losses() -> None:
    losses = WeeklyLosses(2)
    losses.add(7, 0, 1.0, True, {"a": 0.5})
    losses.add(7, 1, 3.0, False, {"a": 0.75})
    week = losses.open
    assert week is not None

    assert week.segment_loss("a", 0) == pytest.approx(np.log(2))
    assert week.segment_loss("a", 1) == pytest.approx(np.log(4))
    assert week.loss("a") == pytest.approx((np.log(2) + 3 * np.log(4)) / 4)
    assert week.loss("b") is None


def test_who_was_declined_is_compared_anew_with_what_is_left_of_the_error_rate() -> None:
    learner = _contest(PromotionRules(mode="ask", warm_up_examples=1))
    week = _until_proposed(learner, _TURNING)
    since = learner.court.met["turned"]
    learner.take_event(request_of("decline", learner.learner.horizon_days, "ann", AT, "turned", "not now"))

    spent = learner.court.spent["turned"]
    assert spent == (week - since) // SEASON_WEEKS + 1
    learner.learn(_TURNING[learner.trained_examples :])
    (standing,) = [event.standings[0] for event in learner.court.unsent if event.kind == "reviewed"][-1:]
    assert standing.error_rate <= RULES.error_rate * season_share(spent)


@settings(max_examples=30)
@given(spent=st.integers(0, 20), age=st.integers(0, 200))
def test_seasons_before_and_after_a_decline_never_use_more_than_the_error_rate(spent: int, age: int) -> None:
    weeks = _weeks(_noisy(0.0, age + 1))
    used = math.fsum(season_share(season) for season in range(spent))
    seasons = seasons_until(0, age)
    after = math.fsum(season_share(spent + season) for season in range(seasons))

    assert used + after < 1.0
    standing, _ = standing_of(weeks, "a", "b", 0, 0.05, spent)
    assert standing.error_rate <= 0.05 * season_share(spent)


def test_what_was_spent_outlives_a_restart_and_ends_with_the_reign() -> None:
    court = Court("a", 30)
    court.spent = {"b": 3}
    restored = Court("a", 30)
    restored.load(msgspec.json.decode(msgspec.json.encode(court.save()), type=CourtSaved))
    assert restored.spent == {"b": 3}

    restored.take(request_of("promote", 30, "ann", AT, "b", ""), {"a", "b"}, 0)
    assert (restored.champion, restored.spent) == ("b", {})


def _until_proposed(learner: ChallengedLearner, examples: Sequence[TrainingExample]) -> int:
    """Feed until a challenger waits for approval; return the week of the newest label."""
    for example in examples:
        learner.learn([example])
        if learner.court.proposal:
            return learner.frontier_ms // WEEK_MS
    raise AssertionError("nobody was proposed")
