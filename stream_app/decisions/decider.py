"""The whole road from a decision point to a decision: filters, choice, arm, limits, content, in this order."""

from typing import Literal

from stream_app.core.facts import Facts
from stream_app.core.hashing import stable_id
from stream_app.core.ledger import Contact, Ledger
from stream_app.core.outputs import TIERS, Arm, DecisionOutcome, Intervention, SuppressedIntervention
from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS, HOUR_MS, day_of, from_ms
from stream_app.decisions.arms import ARM_CODES, arm_of
from stream_app.decisions.catalogue import Action, Catalogue, Signal
from stream_app.decisions.content import content_of
from stream_app.decisions.guardrails import Situation, passing, quiet_hours_end_ms
from stream_app.decisions.limits import count_for_breaker, reserve_budget, share_of
from stream_app.decisions.outcomes import mature_draws, open_draw, outcome_due_ms
from stream_app.decisions.policy import (
    EPOCH_DAYS,
    Choice,
    PolicySnapshot,
    choose,
    committed_cost,
    draw,
    expected_gain,
    prior_snapshot,
)
from stream_app.decisions.signals import MEDIUM, URGENT, signals_of
from stream_app.decisions.types import NOTHING, Act, Decision, DecisionPoint, Mode, Quiet, Suppress

EPOCH_MS = EPOCH_DAYS * DAY_MS
_PROBABILITY_DIGITS = 6
MEMORY_DAYS = 45.0
"""Contacts are kept at least so long, for labels and rewards, even where no cap looks that far back."""


class CatalogueDecider:
    """Decides by an action catalogue and a policy. Holds no state: that is in ledger and partition memory.

    Parameters
    ----------
    catalogue
        Actions and guardrails.
    salt
        Secret of arms and draws; changing it reshuffles the holdout.
    holdout_share
        Share of customers that are never contacted.
    enabled
        The kill switch: False takes and records every decision and sends nothing.
    partitions
        Partition count of the customer topics: each partition owns an equal share of the budget.
    policy
        Learned beliefs; absent: the catalogue's own.
    mode_override
        Mode of all actions that are not off, e.g. "live" in a demo.
    unknown_consent_override
        What counts where nobody stated a consent, instead of the catalogue's answer.

    Raises
    ------
    ValueError
        A budget that cannot be divided among the partitions (see `share_of`).
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        salt: str,
        holdout_share: float,
        enabled: bool = True,
        partitions: int = 1,
        policy: PolicySnapshot | None = None,
        mode_override: Mode | None = None,
        unknown_consent_override: Literal["deny", "allow"] | None = None,
    ) -> None:
        if mode_override is not None:
            catalogue = catalogue.with_mode(mode_override)
        if unknown_consent_override is not None:
            catalogue = catalogue.with_unknown_consent(unknown_consent_override)
        self.catalogue = catalogue
        self.policy = policy or prior_snapshot(catalogue)
        self._salt = salt
        self._holdout_share = holdout_share
        self._enabled = enabled
        self._budget = share_of(catalogue.guardrails.budget, partitions)
        self._memory_ms = int(max(catalogue.memory_days, MEMORY_DAYS) * DAY_MS)
        active = [action for action in catalogue.actions if action.mode != "off"]
        self._by_tier = [tuple(a for a in active if tier in a.tiers) for tier in TIERS]
        self._by_name = {action.name: action for action in active}

    @property
    def catalogue_version(self) -> str:
        """Return the version of the action catalogue in force, with what settings override in it."""
        return self.catalogue.version

    def arm_of(self, customer_id: str) -> int:
        """Return the arm of a customer as observations carry it: 1 treatment, 2 holdout."""
        return ARM_CODES[arm_of(customer_id, self._salt, self._holdout_share)]

    def outcome_due_ms(self, ledger: Ledger) -> int:
        """Return when the next draw of a customer has its outcome, 0 for none."""
        return outcome_due_ms(ledger)

    def mature(self, customer_id: str, ledger: Ledger, facts: Facts, at_ms: int) -> list[DecisionOutcome]:
        """Return the outcomes due by `at_ms`, and forget their draws: each is told once."""
        arm = arm_of(customer_id, self._salt, self._holdout_share)
        return mature_draws(customer_id, ledger, facts, at_ms, arm, self.catalogue)

    def decide(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Decide at one point; reservations are written to `ledger` and `memory` in place."""
        if point.tier < 0:
            return Quiet("no_tier")
        now_ms = point.now_ms
        in_epoch = ledger.epoch >= 0 and now_ms < ledger.drawn_at_ms + EPOCH_MS
        if in_epoch and not ledger.drawn_open:
            # The choice of this epoch was told when it was drawn.
            return Quiet("epoch")
        signals = signals_of(point, self.catalogue.guardrails)
        candidates = self._eligible(point, signals)
        if not candidates:
            return Quiet("no_eligible_action")
        _forget(ledger, now_ms - self._memory_ms)
        worth_telling = point.tier >= MEDIUM or not URGENT.isdisjoint(signals)
        if in_epoch:
            candidates = [action for action in candidates if action.name == ledger.drawn]
            if not candidates:
                return self._no(point, ledger, "drawn_not_eligible", f"{ledger.drawn} no longer fits.", worth_telling)
        situation = Situation(point, now_ms, ledger, self.catalogue)
        allowed, code, sentence = passing(candidates, situation)
        if not allowed:
            retry_at_ms = quiet_hours_end_ms(situation) if code == "quiet_hours" else 0
            return self._no(point, ledger, code, sentence, worth_telling, retry_at_ms)
        if in_epoch:
            return self._carry_out(point, ledger, memory, allowed[0], None)
        return self._draw(point, ledger, memory, allowed)

    def _eligible(self, point: DecisionPoint, signals: frozenset[Signal]) -> list[Action]:
        facts = point.facts
        fitting = [
            action
            for action in self._by_tier[point.tier]
            if facts.orders >= action.min_orders and not signals.isdisjoint(action.signals)
        ]
        if not fitting:
            return fitting
        sentiment, value = facts.sentiment, facts.value_at_stake(point.now_ms)
        return [
            action
            for action in fitting
            if action.sentiment[0] <= sentiment <= action.sentiment[1]
            and value >= action.min_value
            and point.probability * value >= action.min_expected_loss
        ]

    def _draw(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState, allowed: list[Action]) -> Decision:
        now_ms = point.now_ms
        choice = choose(allowed, point, self.catalogue, self.policy)
        ledger.epoch = now_ms // EPOCH_MS
        ledger.drawn_at_ms = now_ms
        ledger.drawn = draw(choice, point.customer_id, ledger.epoch, self._salt)
        ledger.drawn_propensity = choice.probabilities[ledger.drawn]
        ledger.drawn_alternatives = choice.probabilities
        ledger.drawn_open = ledger.drawn != NOTHING
        open_draw(point, ledger, self._by_name.get(ledger.drawn), choice, self.policy.version, self.catalogue.version)
        if ledger.drawn == NOTHING:
            ledger.drawn_alternatives = {}
            sentence = "Doing nothing was drawn among the allowed actions."
            suppressed = self._record(point, ledger, NOTHING, sentence, None, choice.probabilities)
            return Suppress(suppressed, self._stay(point, choice, allowed))
        return self._carry_out(point, ledger, memory, self._by_name[ledger.drawn], self._stay(point, choice, allowed))

    def _stay(self, point: DecisionPoint, choice: Choice, allowed: list[Action]) -> float:
        if not self._enabled or self._arm(point) == "holdout":
            return 1.0
        return max(0.0, 1.0 - sum(choice.probabilities[action.name] for action in allowed if action.mode == "live"))

    def _arm(self, point: DecisionPoint) -> Arm:
        return arm_of(point.customer_id, self._salt, self._holdout_share)

    def _carry_out(
        self, point: DecisionPoint, ledger: Ledger, memory: PartitionState, action: Action, stay: float | None
    ) -> Decision:
        """Take the drawn action through arm, mode and limits; `stay` is None where it was drawn at an earlier point."""
        now_ms = point.now_ms
        alternatives = ledger.drawn_alternatives
        first_try = stay is not None
        cost = committed_cost(action, point.facts.mean_amount)
        contact = Contact(now_ms, action.name, action.channel)
        if self._arm(point) == "holdout":
            return self._would_be(
                point,
                ledger,
                action,
                contact,
                "holdout",
                "The customer belongs to the holdout, which is never contacted.",
            )
        if action.mode == "shadow":
            return self._would_be(
                point, ledger, action, contact, "shadow", f"{action.name} is in shadow mode: decided, not sent."
            )
        if not self._enabled:
            return self._later(point, ledger, action, "kill_switch", "Interventions are switched off.", first_try)
        obstacle = count_for_breaker(memory, self.catalogue.guardrails.breaker, now_ms)
        if obstacle is not None:
            return self._later(point, ledger, action, "rate_breaker", obstacle, first_try)
        obstacle = reserve_budget(memory, self._budget, cost, now_ms)
        if obstacle is not None:
            return self._later(point, ledger, action, "budget", obstacle, first_try)
        ledger.drawn_open = False
        ledger.drawn_alternatives = {}
        intervention = self._intervention(point, ledger, action, cost, alternatives)
        if action.mode == "approve":
            ledger.would_be.append(contact)
            sentence = (
                f"{action.name} waits for a person's approval until {intervention.expires_at:%Y-%m-%d %H:%M} UTC."
            )
            return Suppress(self._record(point, ledger, "approval", sentence, action, alternatives, intervention))
        ledger.contacts.append(contact)
        ledger.told += 1
        return Act(intervention, 1.0 if stay is None else stay)

    def _intervention(
        self,
        point: DecisionPoint,
        ledger: Ledger,
        action: Action,
        cost: float,
        alternatives: dict[str, float],
    ) -> Intervention:
        intervention_id = stable_id("int", point.customer_id, ledger.epoch, action.name, point.at_ms)
        expires_ms = point.now_ms + int(action.expires_hours * HOUR_MS)
        content = content_of(action, point, intervention_id, expires_ms)
        return Intervention(
            intervention_id=intervention_id,
            customer_id=point.customer_id,
            action=action.name,
            action_kind=action.kind,
            channel=action.channel,
            content=content,
            tier=TIERS[point.tier],
            probability=round(point.probability, _PROBABILITY_DIGITS),
            interval=point.interval() if point.interval is not None else None,
            expected_value=round(expected_gain(action, point, self.catalogue, self.policy), 4),
            cost=round(cost, 4),
            reasons=point.reasons(content.language),
            arm="treatment",
            propensity=ledger.drawn_propensity,
            alternatives=alternatives,
            model_version=point.model_version,
            policy_version=self.policy.version,
            catalogue_version=self.catalogue.version,
            trigger=point.trigger,
            event_time=from_ms(point.at_ms),
            decided_at=from_ms(point.now_ms),
            expires_at=from_ms(expires_ms),
        )

    def _would_be(
        self, point: DecisionPoint, ledger: Ledger, action: Action, contact: Contact, code: str, sentence: str
    ) -> Suppress:
        alternatives = ledger.drawn_alternatives
        ledger.would_be.append(contact)
        ledger.drawn_open = False
        ledger.drawn_alternatives = {}
        return Suppress(self._record(point, ledger, code, sentence, action, alternatives))

    def _later(
        self, point: DecisionPoint, ledger: Ledger, action: Action, code: str, sentence: str, first_try: bool
    ) -> Decision:
        if not first_try and not _tells_anew(point, ledger, code):
            return Quiet(code)
        _note_told(point, ledger, code)
        return Suppress(self._record(point, ledger, code, sentence, action, ledger.drawn_alternatives))

    def _no(
        self, point: DecisionPoint, ledger: Ledger, code: str, sentence: str, worth_telling: bool, retry_at_ms: int = 0
    ) -> Decision:
        if not worth_telling or not _tells_anew(point, ledger, code):
            return Quiet(code, retry_at_ms)
        _note_told(point, ledger, code)
        return Suppress(self._record(point, ledger, code, sentence, None, {}), retry_at_ms=retry_at_ms)

    def _record(
        self,
        point: DecisionPoint,
        ledger: Ledger,
        code: str,
        sentence: str,
        action: Action | None,
        alternatives: dict[str, float],
        proposal: Intervention | None = None,
    ) -> SuppressedIntervention:
        ledger.told += 1
        return SuppressedIntervention(
            suppression_id=stable_id("sup", point.customer_id, point.at_ms, point.trigger, code, ledger.told),
            customer_id=point.customer_id,
            event_time=from_ms(point.at_ms),
            reason=code,
            detail=sentence,
            action=action.name if action is not None else None,
            channel=action.channel if action is not None else None,
            tier=TIERS[point.tier],
            probability=round(point.probability, _PROBABILITY_DIGITS),
            arm=self._arm(point),
            propensity=ledger.drawn_propensity if alternatives else None,
            alternatives=alternatives,
            policy_version=self.policy.version,
            catalogue_version=self.catalogue.version,
            model_version=point.model_version,
            trigger=point.trigger,
            proposal=proposal,
        )


def _forget(ledger: Ledger, before_ms: int) -> None:
    for contacts in (ledger.contacts, ledger.would_be):
        if contacts and contacts[0].at_ms < before_ms:
            contacts[:] = [contact for contact in contacts if contact.at_ms >= before_ms]


def _tells_anew(point: DecisionPoint, ledger: Ledger, code: str) -> bool:
    return ledger.suppressed_day != day_of(point.now_ms) or code not in ledger.suppressed_reasons


def _note_told(point: DecisionPoint, ledger: Ledger, code: str) -> None:
    day = day_of(point.now_ms)
    told = ledger.suppressed_reasons if ledger.suppressed_day == day else ()
    ledger.suppressed_day = day
    ledger.suppressed_reasons = (*told, code)
