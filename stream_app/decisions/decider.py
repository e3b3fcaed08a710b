"""The whole road from a decision point to a decision: filters, choice, arm, limits, content, in this order."""

from collections.abc import Sequence
from typing import Literal

from stream_app.core.facts import Facts
from stream_app.core.ledger import Contact, Ledger, Proposal
from stream_app.core.outputs import TIERS, Arm, DecisionOutcome, Intervention
from stream_app.core.packed import PackedLedger, is_settled
from stream_app.core.partition import PartitionState
from stream_app.core.times import DAY_MS
from stream_app.decisions import proposals
from stream_app.decisions.arms import ARM_CODES, arm_of, enter_experiments
from stream_app.decisions.catalogue import Action, Catalogue, Signal
from stream_app.decisions.composing import intervention_of
from stream_app.decisions.courses import course_of
from stream_app.decisions.drawn import Drawn, Seen, close_draw
from stream_app.decisions.guardrails import Situation, most_urgent, passing, quiet_end_ms
from stream_app.decisions.limits import count_for_breaker, reserve_budget, share_of
from stream_app.decisions.outcomes import mature_draws, open_draw, outcome_due_ms
from stream_app.decisions.policy import (
    EPOCH_DAYS,
    Choice,
    PolicySnapshot,
    choose,
    committed_cost,
    draw,
    prior_snapshot,
)
from stream_app.decisions.signals import complained_since, signals_of
from stream_app.decisions.telling import Versions, is_news, note_told, record_of
from stream_app.decisions.types import NOTHING, Act, Decision, DecisionPoint, Mode, Quiet, Suppress

EPOCH_MS = EPOCH_DAYS * DAY_MS
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
        self._versions = Versions(self.policy.version, catalogue.version)
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

    @property
    def policy_version(self) -> str:
        """Return the version of the beliefs in force: learned ones, or the catalogue's own."""
        return self.policy.version

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

    def quiet_until_ms(self, facts: Facts, at_ms: int) -> int:
        """Return when the customer's quiet hours end, 0 where it is not quiet: a decision may be tried again then."""
        quiet = self.catalogue.guardrails.quiet_hours
        return quiet_end_ms(quiet, facts.profile, at_ms) if quiet.channels else 0

    def rests(self, ledger: PackedLedger, facts: Facts, now_ms: int) -> bool:
        """Say whether the epoch's choice was made and carried out, and nothing has come since to call for another."""
        is_made = now_ms < ledger.drawn_at_ms + EPOCH_MS and facts.last_complaint_ms <= ledger.drawn_at_ms
        return is_made and is_settled(ledger)

    def decide(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Decide at one point; reservations are written to `ledger` and `memory` in place."""
        if point.tier < 0:
            return Quiet("no_tier")
        answered = self._answer(point, ledger) if ledger.proposals else None
        if isinstance(answered, Act | Suppress):
            return answered
        decision = self._go_on(point, ledger, memory)
        if answered is None or not isinstance(decision, Quiet):
            return decision
        return self._no(point, ledger, *answered, is_urgent=True, retry_at_ms=ledger.retry_at_ms)

    def _go_on(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Decide apart from what was approved."""
        if ledger.epoch < 0 or point.now_ms >= ledger.drawn_at_ms + EPOCH_MS:
            return self._begin_epoch(point, ledger, memory)
        if complained_since(point.facts, ledger):
            care = self._care(point, ledger, memory)
            if care is not None:
                return care
        if ledger.drawn_open:
            return self._try_again(point, ledger, memory)
        # The choice of this epoch was told when it was drawn.
        return Quiet("epoch", ledger.retry_at_ms)

    def _begin_epoch(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        seen = self._look(point, ledger)
        if not seen.candidates:
            return Quiet("no_eligible_action")
        allowed, code, sentence = passing(seen.candidates, seen.situation)
        if allowed:
            return self._draw(point, ledger, memory, allowed)
        return self._stopped(point, ledger, seen, code, sentence)

    def _care(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision | None:
        """Draw among service actions because of a complaint, though the epoch's draw is spent; None: not now."""
        seen = self._look(point, ledger)
        helping = [a for a in seen.candidates if a.purpose == "service" and "complaint" in a.signals]
        if "complaint" not in seen.signals or not helping:
            return None
        allowed, code, _ = passing(helping, seen.situation)
        if allowed:
            return self._draw(point, ledger, memory, allowed, is_care=True)
        if code == "quiet_hours":
            self._retry(ledger, seen.situation)
        return None

    def _try_again(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Carry out what was drawn earlier in the epoch and stopped by a limit."""
        seen = self._look(point, ledger)
        if not seen.candidates:
            return Quiet("no_eligible_action")
        fitting = [action for action in seen.candidates if action.name == ledger.drawn]
        if not fitting:
            return self._no(point, ledger, "drawn_not_eligible", f"{ledger.drawn} no longer fits.", seen.is_urgent)
        allowed, code, sentence = passing(fitting, seen.situation)
        if not allowed:
            return self._stopped(point, ledger, seen, code, sentence)
        drawn = Drawn(allowed[0], ledger.drawn_alternatives, ledger.drawn_number, is_new=False)
        return self._carry_out(point, ledger, memory, drawn)

    def _stopped(self, point: DecisionPoint, ledger: Ledger, seen: Seen, code: str, sentence: str) -> Decision:
        retry_at_ms = self._retry(ledger, seen.situation) if code == "quiet_hours" else 0
        return self._no(point, ledger, code, sentence, seen.is_urgent, retry_at_ms)

    def _look(self, point: DecisionPoint, ledger: Ledger) -> Seen:
        signals = signals_of(point, self.catalogue.guardrails)
        ledger.forget_contacts(point.now_ms - self._memory_ms)
        situation = Situation(point, point.now_ms, ledger, self.catalogue)
        return Seen(signals, self._eligible(point, signals), situation)

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

    def _draw(
        self,
        point: DecisionPoint,
        ledger: Ledger,
        memory: PartitionState,
        allowed: Sequence[Action],
        *,
        is_care: bool = False,
    ) -> Decision:
        """Draw among what the guardrails let pass and the experiments leave; doing nothing is always there.

        Whoever comes here enters the experiments, whatever its arm leaves of the choice: that is the same in all arms.
        """
        now_ms = point.now_ms
        permitted, entered = enter_experiments(point.customer_id, self._salt, self.catalogue, ledger, allowed)
        course = course_of(point.facts, ledger, now_ms, self.catalogue.incentives)
        choice = choose(most_urgent(permitted), point, self.catalogue, self.policy, course)
        epoch = now_ms // EPOCH_MS
        salt = f"{self._salt}/care/{now_ms}" if is_care else self._salt
        name, number = draw(choice, point.customer_id, epoch, salt), ledger.draws
        if is_care:
            ledger.care_at_ms = now_ms
        else:
            ledger.epoch = epoch
            ledger.drawn_at_ms = now_ms
            ledger.drawn, ledger.drawn_number = name, number
            ledger.drawn_propensity = choice.probabilities[name]
            ledger.drawn_alternatives = choice.probabilities if name != NOTHING else {}
            ledger.drawn_open = name != NOTHING
            ledger.surprise = course.surprise_after(name, choice.probabilities, self.catalogue.incentives)
        action = self._by_name.get(name)
        open_draw(point, ledger, action, choice, self._versions, experiments=entered, course=course, is_care=is_care)
        stay = self._stay(point, choice, permitted, frozenset({"live"}))
        if action is None:
            sentence = "Doing nothing was drawn among the allowed actions."
            arm, probabilities = self._arm(point), choice.probabilities
            return Suppress(record_of(point, ledger, arm, self._versions, NOTHING, sentence, None, probabilities), stay)
        stay_if_approved = self._stay(point, choice, permitted, frozenset({"live", "approve"}))
        drawn = Drawn(action, choice.probabilities, number, stay, stay_if_approved, is_care=is_care)
        return self._carry_out(point, ledger, memory, drawn)

    def _stay(self, point: DecisionPoint, choice: Choice, permitted: Sequence[Action], sent: frozenset[Mode]) -> float:
        if not self._enabled or self._arm(point) == "holdout":
            return 1.0
        drawn = choice.probabilities
        return max(0.0, 1.0 - sum(drawn.get(action.name, 0.0) for action in permitted if action.mode in sent))

    def _arm(self, point: DecisionPoint) -> Arm:
        return arm_of(point.customer_id, self._salt, self._holdout_share)

    def _carry_out(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState, drawn: Drawn) -> Decision:
        """Take the drawn action through arm, mode and limits."""
        now_ms, action = point.now_ms, drawn.action
        cost = committed_cost(action, point.facts.mean_amount)
        contact = Contact(now_ms, action.name, action.channel, drawn.number)
        if self._arm(point) == "holdout":
            sentence = "The customer belongs to the holdout, which is never contacted."
            return self._would_be(point, ledger, drawn, contact, "holdout", sentence)
        if action.mode == "shadow":
            sentence = f"{action.name} is in shadow mode: decided, not sent."
            return self._would_be(point, ledger, drawn, contact, "shadow", sentence)
        if not self._enabled:
            return self._later(point, ledger, drawn, "kill_switch", "Interventions are switched off.")
        obstacle = count_for_breaker(memory, self.catalogue.guardrails.breaker, now_ms)
        if obstacle is not None:
            return self._later(point, ledger, drawn, "rate_breaker", obstacle)
        obstacle = reserve_budget(memory, self._budget, cost, now_ms)
        if obstacle is not None:
            return self._later(point, ledger, drawn, "budget", obstacle)
        latest_ms = proposals.latest_answer_ms(action, now_ms if drawn.is_care else ledger.drawn_at_ms)
        intervention = intervention_of(
            point, ledger, action, drawn.alternatives, cost, self.catalogue, self.policy, latest_ms
        )
        if action.mode == "approve":
            proposals.propose(ledger, intervention, drawn.stay_if_approved, drawn.number)
            sentence = proposals.say_waiting(intervention)
            return self._would_be(point, ledger, drawn, contact, "approval", sentence, intervention)
        close_draw(ledger, drawn)
        ledger.contacts.append(contact)
        ledger.told += 1
        return Act(intervention, drawn.stay)

    def _answer(self, point: DecisionPoint, ledger: Ledger) -> Act | Suppress | tuple[str, str] | None:
        """Send what a person approved, or tell once why it is dropped.

        Otherwise return why it still waits (code and sentence), which is in the way of nothing else, or None.
        """
        expired = [each for each in proposals.forget_expired(ledger, point.now_ms) if each.approved_by]
        if expired:
            return self._drop(point, ledger, expired, "expired", "it had expired by then.")
        held: tuple[str, str] | None = None
        situation = Situation(point, point.now_ms, ledger, self.catalogue)
        for waiting in [each for each in ledger.proposals if each.approved_by]:
            action = self._by_name.get(waiting.action)
            if action is None:
                ledger.proposals.remove(waiting)
                return self._drop(point, ledger, [waiting], "drawn_not_eligible", "it is no longer in the catalogue.")
            objection = proposals.objection_to(action, situation)
            if objection is None and not self._enabled:
                objection = ("kill_switch", "Interventions are switched off.")
            if objection is None:
                intervention = proposals.take_approved(ledger, waiting, action.channel, point.now_ms)
                return Act(intervention, waiting.stay_probability)
            if objection[0] not in proposals.PASSING:
                ledger.proposals.remove(waiting)
                return self._drop(point, ledger, [waiting], *objection)
            if objection[0] == "quiet_hours":
                self._retry(ledger, situation)
            held = held or objection
        return held

    def _drop(self, point: DecisionPoint, ledger: Ledger, dropped: Sequence[Proposal], code: str, why: str) -> Suppress:
        """Tell, whatever was told before, that something approved will not be sent: somebody relies on it."""
        note_told(point, ledger, code)
        told = record_of(point, ledger, self._arm(point), self._versions, code, proposals.say_dropped(dropped, why))
        return Suppress(told)

    def _retry(self, ledger: Ledger, situation: Situation) -> int:
        """Note that a decision that quiet hours stopped is tried again at their end; return when."""
        profile, quiet = situation.point.facts.profile, self.catalogue.guardrails.quiet_hours
        ledger.retry_at_ms = quiet_end_ms(quiet, profile, situation.now_ms)
        return ledger.retry_at_ms

    def _would_be(
        self,
        point: DecisionPoint,
        ledger: Ledger,
        drawn: Drawn,
        contact: Contact,
        code: str,
        sentence: str,
        proposal: Intervention | None = None,
    ) -> Suppress:
        ledger.would_be.append(contact)
        close_draw(ledger, drawn)
        action = (drawn.action.name, drawn.action.channel)
        arm, versions = self._arm(point), self._versions
        told = record_of(point, ledger, arm, versions, code, sentence, action, drawn.alternatives, proposal)
        return Suppress(told, drawn.stay)

    def _later(self, point: DecisionPoint, ledger: Ledger, drawn: Drawn, code: str, sentence: str) -> Decision:
        """Tell that a limit stopped what was drawn; it is tried again at later points of the epoch (care is not)."""
        if not drawn.is_new and not is_news(point, ledger, code):
            return Quiet(code)
        note_told(point, ledger, code)
        action = (drawn.action.name, drawn.action.channel)
        told = record_of(point, ledger, self._arm(point), self._versions, code, sentence, action, drawn.alternatives)
        return Suppress(told)

    def _no(
        self, point: DecisionPoint, ledger: Ledger, code: str, sentence: str, is_urgent: bool, retry_at_ms: int = 0
    ) -> Decision:
        if not is_urgent or not is_news(point, ledger, code):
            return Quiet(code, retry_at_ms)
        note_told(point, ledger, code)
        told = record_of(point, ledger, self._arm(point), self._versions, code, sentence)
        return Suppress(told, retry_at_ms=retry_at_ms)
