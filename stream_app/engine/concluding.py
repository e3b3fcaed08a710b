"""Conclude scored points: keep the score, publish what changed, warn, decide."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import Effects, Output
from stream_app.core.horizons import note_contact_further, take_further
from stream_app.core.ledger import Ledger
from stream_app.core.observations import note_contact
from stream_app.core.outputs import Reason
from stream_app.core.packing import in_single, pack, pack_rows
from stream_app.core.state import CustomerState, Observation, ScoreState
from stream_app.core.tiers import tier_index, tier_within_loss
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.outcomes import outcome_due_ms
from stream_app.decisions.types import Act, Decider, DecisionPoint, Suppress
from stream_app.engine.announcing import VELOCITY_MS, Announcements, Scored
from stream_app.engine.points import Block, Folded, Point, raw_of
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import Shard
from stream_app.learning.horizons import HorizonsScorer
from stream_app.learning.scorer import Scorer

DECIDING_TRIGGERS = frozenset({"order", "review", "feedback", "look", "cart_left", "retry"})
_TRIGGER_OF = {"look": "timer", "cart_left": "timer"}


class Concluder:
    """Turns blocks of points into scores, warnings and decisions, in the order in which the points arose."""

    def __init__(self, policy: EnginePolicy, decider: Decider, scorer: Scorer) -> None:
        self._policy = policy
        self.decider = decider
        self.scorer = scorer
        self._horizon_ms = policy.horizon_days * DAY_MS
        self._weighs_loss = any(policy.tier_losses)

    def settle(self, shard: Shard, block: Block, effects: Effects) -> None:
        """Score and conclude everything in the block."""
        self.settle_all([Folded(shard, block, effects)])

    def settle_all(self, folded: Sequence[Folded]) -> None:
        """Score the blocks of several shards as one, and conclude each in its own order."""
        taken = [one.block.take() for one in folded]
        points_of_all = [point for points, _ in taken for point in points]
        if points_of_all:
            scored = self._score(raw_of(row for _, rows in taken for row in rows))
            self._observe(points_of_all, scored)
            announcements = Announcements(scored)
            index = 0
            for (shard, _, effects), (points, _) in zip(folded, taken, strict=True):
                for point in points:
                    self._conclude(shard, point, index, scored, announcements, effects)
                    index += 1
            announcements.finish()
        for shard, _, _ in folded:
            shard.neighbours.catch_up()

    def _score(self, raw: NDArray[np.float64]) -> Scored:
        scorer = self.scorer
        features = scorer.featurize(raw)
        ahead = scorer.ahead(raw) if isinstance(scorer, HorizonsScorer) else ()
        probabilities = in_single(scorer.score(features)).tolist()
        return Scored(scorer, self._policy.horizon_days, features, probabilities, ahead)

    def _observe(self, points: Sequence[Point], scored: Scored) -> None:
        """Let the observations among the points keep what was scored."""
        observed = [index for index, point in enumerate(points) if point.observation is not None]
        for index, packed in zip(observed, pack_rows(scored.features[observed]), strict=True):
            point, observation = points[index], points[index].observation
            assert observation is not None
            observation.packed = packed
            observation.probability = scored.probabilities[index]
            observation.model_version = scored.scorer.version
            observation.arm = self.decider.arm_of(point.customer_id)

    def _conclude(
        self, shard: Shard, point: Point, index: int, scored: Scored, announcements: Announcements, effects: Effects
    ) -> None:
        policy, state, probability = self._policy, point.state, scored.probabilities[index]
        if scored.ahead and point.observation is not None:
            self._observe_further(point, point.observation, index, scored)
        score = state.score
        if score is None:
            score = state.score = ScoreState()
        previous_tier = score.tier
        # An observation within the allowed lateness is older than the newest score: published time never goes back.
        _keep_score(score, max(point.scored_ms, score.at_ms), probability, scored.scorer.version)
        tier = tier_index(probability, policy.tier_thresholds, previous_tier, policy.tier_margin)
        if tier and self._weighs_loss:
            loss = probability * point.facts.value_at_stake(score.at_ms)
            tier = tier_within_loss(tier, loss, policy.tier_losses, previous_tier)
        score.tier = tier
        tier_changed = tier != previous_tier
        if tier_changed:
            shard.tiers[previous_tier] -= 1
            shard.tiers[tier] += 1
        if tier_changed or abs(probability - score.published) >= policy.score_change:
            announcements.add(point, index, score, previous_tier, effects)
        calls_for_decision = point.trigger in DECIDING_TRIGGERS or (tier_changed and previous_tier >= 0)
        if calls_for_decision and not self._rests(point, effects):
            self._decide(shard, point, score, previous_tier, scored.features[index], effects)

    def _observe_further(self, point: Point, observation: Observation, index: int, scored: Scored) -> None:
        """Let an observation wait for the labels of further horizons, too."""
        if not any(one is observation for one in point.state.pending):
            return  # replaced by another of the same moment, or given up with the customer's consent
        for block in scored.ahead:
            taken = take_further(
                point.state,
                point.customer_id,
                observation,
                block.scorer.horizon_days,
                self._policy.allowed_lateness_ms,
                thin=self._policy.thin,
            )
            if taken is not None:
                taken.packed = pack(block.features[index])
                taken.probability = float(in_single(block.probability)[index])
                taken.model_version = block.scorer.version

    def _rests(self, point: Point, effects: Effects) -> bool:
        """Say whether there is nothing to decide; then the customer's ledger stays packed."""
        packed = point.state.packed_ledger
        if packed is None or packed.retry_at:
            return False
        if not self.decider.rests(packed, point.facts, max(point.at_ms, point.frontier_ms)):
            return False
        effects.counts["quiet"] += 1
        return True

    def _decide(
        self,
        shard: Shard,
        point: Point,
        score: ScoreState,
        previous_tier: int,
        features: NDArray[np.float32],
        effects: Effects,
    ) -> None:
        state = point.state
        if state.ledger is None:
            state.ledger = Ledger(contacts=[], drawn_alternatives={}, would_be=[])
        scorer = self.scorer

        def picks(count: int) -> tuple[str, ...]:
            return shard.neighbours.pick(point.facts.recent_bought, count, point.mark)

        def reasons(language: str) -> tuple[Reason, ...]:
            return scorer.explain(features, language)

        def interval() -> tuple[float, float] | None:
            return scorer.interval(features)

        draws_before, retry_before_ms = state.ledger.draws, state.ledger.retry_at_ms
        deciding = point.trigger in DECIDING_TRIGGERS
        decision = self.decider.decide(
            DecisionPoint(
                customer_id=point.customer_id,
                at_ms=point.at_ms,
                frontier_ms=point.frontier_ms,
                trigger=_TRIGGER_OF.get(point.trigger, point.trigger) if deciding else "tier_change",
                facts=point.facts,
                probability=score.probability,
                tier=score.tier,
                previous_tier=previous_tier,
                reasons=reasons,
                model_version=score.model_version,
                interval=interval,
                picks=picks,
            ),
            state.ledger,
            shard.memory,
        )
        if state.ledger.draws > draws_before:
            shard.timers.schedule(outcome_due_ms(state.ledger), point.customer_id)
        if not deciding:
            # Only for points at which decisions are due is event time held until they are concluded: this one notes no
            # retry, and leaves one that was noted.
            state.ledger.retry_at_ms = retry_before_ms
        elif state.ledger.retry_at_ms:
            shard.timers.schedule(state.ledger.retry_at_ms, point.customer_id)
        match decision:
            case Act(intervention, stay_probability):
                self._note_contact(state, point.at_ms, stay_probability, contacted=True)
                effects.interventions.append(
                    Output(Topic.INTERVENTIONS, point.customer_id, intervention, point.traceparent)
                )
                effects.counts["interventions"] += 1
                effects.counts["intervention:" + intervention.action] += 1
            case Suppress(suppressed, stay_probability):
                self._note_contact(state, point.at_ms, stay_probability, contacted=False)
                effects.outputs.append(Output(Topic.SUPPRESSED, point.customer_id, suppressed, point.traceparent))
                effects.counts["suppressed"] += 1
                effects.counts["suppressed:" + suppressed.reason] += 1
            case _:
                effects.counts["quiet"] += 1

    def _note_contact(self, state: CustomerState, at_ms: int, stay_probability: float, *, contacted: bool) -> None:
        """Tell the observations under way that a contact was drawn, so that the learner can censor or weight them.

        One that an order has answered already is censored as well, though its label is known: were it kept, those who
        stay silent would have to speak for all who were contacted while silent, by weights so large that no bound on
        them leaves the score unbiased (measured on simulated shops: calibration error .056 against .033).
        """
        if not contacted and stay_probability >= 1:
            return
        note_contact(state.pending, at_ms, self._horizon_ms, stay_probability, contacted=contacted)
        if state.further:
            note_contact_further(state.further, at_ms, stay_probability, contacted=contacted)


def _keep_score(score: ScoreState, at_ms: int, probability: float, model_version: str) -> None:
    """Keep the newest score, and one that is 7 to 14 days old to measure velocity against."""
    if score.next_week_ms == 0:
        score.next_week_ms, score.next_week = at_ms, probability
    elif at_ms - score.next_week_ms >= VELOCITY_MS:
        score.week_ago_ms, score.week_ago = score.next_week_ms, score.next_week
        score.next_week_ms, score.next_week = at_ms, probability
    score.at_ms = at_ms
    score.probability = probability
    score.model_version = model_version
