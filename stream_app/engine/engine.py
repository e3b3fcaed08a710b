"""The engine: a batch of customer events in, new customer states and effects out. Start reading here.

Synchronous and deterministic: the same records in the same order give the same states and the same outputs, however
they are chunked into batches, in a worker, in a replay or in a benchmark. Time comes from the records alone.

For each entry, event time moves on first, and everything that came due fires in order; then the event is folded into
its customer. Points that ask for a score are collected in a block and concluded together: at the end of a batch,
before a label is handed over whose score is still open, before a customer is erased, and at least once in a day of
event time. None of this shows in the result (law: any chunking gives the same).
"""

from collections import Counter
from collections.abc import Sequence

from stream_app.core.effects import Effects, Output, Rejected
from stream_app.core.events import CustomerEntry, FeedbackEvent
from stream_app.core.facts import facts_of
from stream_app.core.features import raw_row
from stream_app.core.horizons import label_due_ms, pop_observation
from stream_app.core.ledger import Ledger
from stream_app.core.observations import AFTER_ORDER, ON_CALENDAR, take_observation
from stream_app.core.partition import PartitionState
from stream_app.core.population import mark_orders, observe_order
from stream_app.core.records import ClickRun, Entry, Record, TimePassed
from stream_app.core.sources import admit
from stream_app.core.state import CustomerState, Observation, SourceState, new_state
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.outcomes import outcome_due_ms
from stream_app.decisions.proposals import note_approval
from stream_app.decisions.types import Decider
from stream_app.engine.applying import Applier
from stream_app.engine.bursts import Bursts
from stream_app.engine.calendar import is_eligible, leaves_observation, look_after, next_due_ms, take_retry
from stream_app.engine.concluding import DECIDING_TRIGGERS, Concluder
from stream_app.engine.days import close_days, open_day
from stream_app.engine.examples import example_of, with_groups
from stream_app.engine.points import Block, Folded, Point
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import Shard, StateStore
from stream_app.engine.standing import left_a_cart, listed_purchases, opted_out
from stream_app.learning.scorer import Scorer
from stream_app.sentiment.protocol import Sentiment

_TIMED = frozenset({"look", "cart_left", "retry"})
_TELLING_PURCHASES = frozenset({Topic.ORDERS, Topic.CUSTOMERS})


class Engine:
    """Processes batches for any number of shards; holds configuration and the model in force, no customer.

    Parameters
    ----------
    policy
        Churn definition, clocks, thresholds.
    decider
        What to do about a score.
    sentiment
        Texts to polarity.
    scorer
        The model in force; `install` swaps it between batches.
    """

    def __init__(self, policy: EnginePolicy, decider: Decider, sentiment: Sentiment, scorer: Scorer) -> None:
        self.policy = policy
        self._applier = Applier(policy, sentiment)
        self._concluder = Concluder(policy, decider, scorer)
        self._bursts = Bursts(policy, self._applier, self._ask, self._fire_due, self._process_one)
        self._label_delay_ms = policy.horizon_days * DAY_MS + policy.allowed_lateness_ms

    @property
    def scorer(self) -> Scorer:
        """The model in force."""
        return self._concluder.scorer

    @property
    def decider(self) -> Decider:
        """What decides at present."""
        return self._concluder.decider

    def install(self, scorer: Scorer) -> None:
        """Serve another model from the next batch on."""
        self._concluder.scorer = scorer

    def install_decider(self, decider: Decider) -> None:
        """Decide by another catalogue or policy from the next batch on."""
        self._concluder.decider = decider

    def open_shard(self, partition: int, store: StateStore, memory: PartitionState) -> Shard:
        """Take ownership of a partition: index what is due, from the states alone."""
        shard = Shard(partition, store, memory, self._due_of)
        for customer_id, state in store.items():
            self.index(shard, customer_id, state)
        shard.neighbours.catch_up()
        return shard

    def index(self, shard: Shard, customer_id: str, state: CustomerState) -> None:
        """Index one customer whom the shard does not know yet, before anything happens to the state."""
        self._reschedule(shard, customer_id, state, 0)
        if state.score is not None:
            shard.tiers[state.score.tier] += 1
        shard.neighbours.observe((), self._listed(customer_id, state))

    def process(self, shard: Shard, entries: Sequence[Entry], hold_ms: int | None = None) -> Effects:
        """Apply a batch of entries of one partition, in order.

        Parameters
        ----------
        shard
            Changed in place; every customer touched was passed to its store's `put`.
        entries
            Decoded records, merged over topics by event time.
        hold_ms
            Event time may not be let past this: a topic that lags holds it back. None: nothing holds it.
        """
        folded = self.fold(shard, entries, hold_ms)
        self.conclude([folded])
        return folded.effects

    def fold(
        self, shard: Shard, entries: Sequence[Entry], hold_ms: int | None = None, before: Folded | None = None
    ) -> Folded:
        """Do as `process` does, but leave the points that are open at its end to `conclude`.

        The open points of `before`, folded into the same shard and not concluded, go over to what is returned.
        """
        effects = Effects(outputs=[], interventions=[], rejected=[], counts=Counter())
        shard.memory.model_version = self.scorer.version
        shard.memory.catalogue_version = self.decider.catalogue_version
        shard.memory.policy_version = self.decider.policy_version
        block = before.block if before is not None else Block()
        index = 0
        while (index := self._bursts.take(shard, entries, index, hold_ms, block, effects)) < len(entries):
            entry = entries[index]
            assert not isinstance(entry, ClickRun), "runs are taken, whole or one by one"
            self._process_one(shard, entry, index, hold_ms, block, effects)
            index += 1
        return Folded(shard, block, effects)

    def conclude(self, folded: Sequence[Folded]) -> None:
        """Score what is open in several shards in one block, and conclude each: a small block costs as much as a large.

        Must come before anything else happens to the shards, but for further folding.
        """
        self._concluder.settle_all(folded)

    def _process_one(
        self, shard: Shard, entry: Record | TimePassed, index: int, hold_ms: int | None, block: Block, effects: Effects
    ) -> None:
        """Apply one entry of any kind."""
        if self.is_far_future(shard, entry):
            detail = (
                f"event time is more than {self.policy.max_jump_ms // DAY_MS} days ahead of everything before it; "
                "mend the timestamp, or raise max_event_time_jump_days if the data really has such a gap"
            )
            offset = entry.position.offset if isinstance(entry, Record) else 0
            effects.rejected.append(Rejected(index, offset, "far_future", detail))
            return
        self._move_time(shard, entry.at_ms if hold_ms is None else min(entry.at_ms, hold_ms), block, effects)
        if isinstance(entry, TimePassed):
            effects.counts["ticks"] += 1
        else:
            self._apply(shard, entry, block, effects)
            self._fire_due(shard, shard.memory.frontier_ms, block, effects)

    def advance(self, shard: Shard, to_ms: int) -> Effects:
        """Let event time pass up to a moment with nothing else happening."""
        return self.process(shard, [TimePassed(to_ms)])

    def is_far_future(self, shard: Shard, entry: Entry) -> bool:
        """Say whether an entry, or any of a run, is further ahead of the partition than events may be."""
        if isinstance(entry, TimePassed):
            return False
        frontier_ms = shard.memory.frontier_ms
        is_known = self.policy.event_clock and frontier_ms > 0
        last_ms = entry.at_ms if isinstance(entry, Record) else entry.last_ms
        return is_known and last_ms > frontier_ms + self.policy.max_jump_ms

    def _due_of(self, shard: Shard, customer_id: str) -> int:
        state = shard.store.get(customer_id)
        return next_due_ms(state, self._label_delay_ms) if state is not None else 0

    def _move_time(self, shard: Shard, to_ms: int, block: Block, effects: Effects) -> None:
        """Fire everything that is due by then, in order, and move the frontier."""
        memory = shard.memory
        if to_ms <= memory.frontier_ms:
            return
        self._fire_due(shard, to_ms, block, effects)
        self._settle_daily(shard, to_ms, block, effects)
        close_days(shard, to_ms, self.policy.allowed_lateness_ms, effects)
        memory.frontier_ms = to_ms

    def _fire_due(self, shard: Shard, through_ms: int, block: Block, effects: Effects) -> None:
        hint_ms = shard.timers.earliest_hint_ms()
        if block.settle_by_ms > through_ms and (hint_ms is None or hint_ms > through_ms):
            return
        while True:
            # Strictly before: what the block will schedule for that moment takes its turn among the timers there.
            due = shard.timers.pop(min(through_ms, block.settle_by_ms - 1))
            if due is not None:
                due_ms, customer_id = due
                self._settle_daily(shard, due_ms, block, effects)
                self._fire(shard, customer_id, due_ms, block, effects)
            elif block.settle_by_ms <= through_ms:
                self._concluder.settle(shard, block, effects)
            else:
                return

    def _settle_daily(self, shard: Shard, at_ms: int, block: Block, effects: Effects) -> None:
        """Bound how long a conclusion may wait, so that nothing it sets in motion can be overtaken."""
        if block.points and at_ms - block.points[0].at_ms >= DAY_MS:
            self._concluder.settle(shard, block, effects)

    def _apply(self, shard: Shard, record: Record, block: Block, effects: Effects) -> None:
        customer_id, at_ms = record.customer_id, record.at_ms
        state = shard.store.get(customer_id) or new_state()
        before_ms = next_due_ms(state, self._label_delay_ms)
        event = self._accept(shard, record, state, block, effects)
        if event is None:
            return
        effects.counts["applied"] += 1
        is_late = at_ms < shard.memory.frontier_ms - self.policy.allowed_lateness_ms
        effects.counts["late"] += is_late
        mark, completed_before = mark_orders(state.orders), state.orders.completed if state.orders is not None else 0
        tells_purchases = record.position.topic in _TELLING_PURCHASES
        listed = self._listed(customer_id, state) if tells_purchases else ()
        trigger = self._applier.apply(state, event, at_ms)
        if tells_purchases:
            shard.neighbours.observe(listed, self._listed(customer_id, state))
        if isinstance(event, FeedbackEvent) and event.kind == "approved":
            self._note_approval(shard, customer_id, state, event, block, effects)
        ordered = state.orders is not None and state.orders.completed > completed_before
        if trigger == "order" and state.orders is not None:
            arm = 0 if completed_before else self.decider.arm_of(customer_id)
            observe_order(self._open_day(shard, at_ms), customer_id, mark, state.orders, arm)
        elif opted_out(state) and (state.score is not None or customer_id in block.customers):
            self._withdraw(shard, customer_id, state, block, effects)
        if trigger is not None and is_eligible(state, at_ms, self.policy):
            observation = None
            if ordered:
                self._start_looks(state, customer_id, max(at_ms, shard.memory.frontier_ms))
                if not is_late:
                    observation = self._observe(state, customer_id, at_ms, AFTER_ORDER, effects)
            kind = AFTER_ORDER if ordered else ON_CALENDAR
            self._ask(shard, customer_id, state, at_ms, trigger, kind, observation, record.traceparent, block, effects)
        self._reschedule(shard, customer_id, state, before_ms)
        shard.store.put(customer_id, state)

    def _note_approval(
        self,
        shard: Shard,
        customer_id: str,
        state: CustomerState,
        event: FeedbackEvent,
        block: Block,
        effects: Effects,
    ) -> None:
        """Let a proposal be sent at the point that this event is."""
        if customer_id in block.customers:
            self._concluder.settle(shard, block, effects)
        known = state.ledger is not None and note_approval(state.ledger, event.intervention_id, event.detail or "")
        effects.counts["approvals" if known else "approvals_unknown"] += 1

    def _listed(self, customer_id: str, state: CustomerState) -> tuple[str, ...]:
        return listed_purchases(customer_id, state, self.policy.recommend_share)

    def _accept(
        self, shard: Shard, record: Record, state: CustomerState, block: Block, effects: Effects
    ) -> CustomerEntry | None:
        """Return the event if there is one to fold: repeats, erasures and what is older than an erasure end here."""
        event = record.event
        if not admit(state.sources, record.position, event.event_id if event is not None else None):
            effects.counts["duplicates"] += 1
        elif event is None:
            self._erase(shard, record.customer_id, state, record, block, effects)
            return None
        elif state.erased_ms and record.at_ms <= state.erased_ms:
            effects.counts["erased"] += 1
        else:
            state.erased_ms = 0
            return event
        shard.store.put(record.customer_id, state)
        return None

    def _fire(self, shard: Shard, customer_id: str, due_ms: int, block: Block, effects: Effects) -> None:
        """Do what is due for one customer at this moment: labels and outcomes first, then the cart, then the look."""
        state = shard.store.get(customer_id)
        if state is None:
            return
        effects.counts["timers"] += 1
        while 0 < label_due_ms(state, self._label_delay_ms) <= due_ms:
            if customer_id in block.customers:
                self._concluder.settle(shard, block, effects)
            self._hand_over(shard, customer_id, state, effects)
        if state.ledger is not None and 0 < outcome_due_ms(state.ledger) <= due_ms:
            if customer_id in block.customers:
                self._concluder.settle(shard, block, effects)
            self._tell_outcomes(customer_id, state, state.ledger, due_ms, effects)
        if state.cart_due_ms and state.cart_due_ms <= due_ms:
            state.cart_due_ms = 0
            if left_a_cart(state) and is_eligible(state, due_ms, self.policy):
                self._ask(shard, customer_id, state, due_ms, "cart_left", ON_CALENDAR, None, "", block, effects)
        if take_retry(state, due_ms) and is_eligible(state, due_ms, self.policy):
            self._ask(shard, customer_id, state, due_ms, "retry", ON_CALENDAR, None, "", block, effects)
        if state.next_look_ms and state.next_look_ms <= due_ms:
            self._look(shard, customer_id, state, due_ms, block, effects)
        self._reschedule(shard, customer_id, state, due_ms)
        shard.store.put(customer_id, state)

    def _tell_outcomes(
        self, customer_id: str, state: CustomerState, ledger: Ledger, due_ms: int, effects: Effects
    ) -> None:
        for outcome in self.decider.mature(customer_id, ledger, facts_of(state), due_ms):
            effects.outputs.append(Output(Topic.OUTCOMES, customer_id, with_groups(outcome, state, self.policy)))
            effects.counts["outcomes"] += 1

    def _look(
        self, shard: Shard, customer_id: str, state: CustomerState, due_ms: int, block: Block, effects: Effects
    ) -> None:
        if not is_eligible(state, due_ms, self.policy):
            state.next_look_ms = 0
            return
        observation = None
        if leaves_observation(customer_id, state.next_look_ms, self.policy):
            observation = self._observe(state, customer_id, due_ms, ON_CALENDAR, effects)
        self._ask(shard, customer_id, state, due_ms, "look", ON_CALENDAR, observation, "", block, effects)
        state.next_look_ms = look_after(customer_id, due_ms, self.policy)

    def _start_looks(self, state: CustomerState, customer_id: str, after_ms: int) -> None:
        if not state.next_look_ms:
            state.next_look_ms = look_after(customer_id, after_ms, self.policy)

    def _observe(
        self, state: CustomerState, customer_id: str, at_ms: int, kind: int, effects: Effects
    ) -> Observation | None:
        observation = take_observation(state.pending, customer_id, at_ms, kind, thin=self.policy.thin)
        if observation is not None and state.orders is not None and state.orders.last_ms > at_ms:
            # An order of this instant came after a newer one, within the allowed lateness: its answer is known already.
            observation.retained = True
        effects.counts["observations" if observation is not None else "thinned"] += 1
        return observation

    def _ask(
        self,
        shard: Shard,
        customer_id: str,
        state: CustomerState,
        at_ms: int,
        trigger: str,
        kind: int,
        observation: Observation | None,
        traceparent: str,
        block: Block,
        effects: Effects,
    ) -> None:
        frontier_ms = max(at_ms, shard.memory.frontier_ms) if trigger not in _TIMED else at_ms
        scored_ms = frontier_ms if observation is None else at_ms
        facts, mark = facts_of(state), shard.neighbours.mark
        point = Point(customer_id, state, at_ms, frontier_ms, trigger, facts, observation, traceparent, mark, scored_ms)
        retry_ms = self.decider.quiet_until_ms(facts, frontier_ms) if trigger in DECIDING_TRIGGERS else 0
        block.add(point, raw_row(state, scored_ms, kind), retry_ms)
        effects.counts["points"] += 1

    def _hand_over(self, shard: Shard, customer_id: str, state: CustomerState, effects: Effects) -> None:
        """Release the next label at T + H plus the allowed lateness, never earlier."""
        shard.memory.example_sequence += 1
        number, observation = shard.memory.example_sequence, pop_observation(state, self._label_delay_ms)
        example = example_of(observation, state, customer_id, shard.partition, number, self.policy)
        effects.outputs.append(Output(Topic.TRAINING, str(shard.partition), example))
        effects.counts["examples"] += 1

    def _erase(
        self, shard: Shard, customer_id: str, state: CustomerState, record: Record, block: Block, effects: Effects
    ) -> None:
        """Forget a customer; what is known of its sources stays, so that old records change nothing."""
        shard.neighbours.observe(self._listed(customer_id, state), ())
        self._withdraw(shard, customer_id, state, block, effects)
        sources = SourceState(offsets=state.sources.offsets, rings={})
        shard.store.put(customer_id, CustomerState(sources=sources, erased_ms=record.at_ms))
        effects.counts["erasures"] += 1

    def _withdraw(self, shard: Shard, customer_id: str, state: CustomerState, block: Block, effects: Effects) -> None:
        """Take back the published score of a customer who is erased or opted out, after what came before."""
        self._concluder.settle(shard, block, effects)
        if state.score is not None:
            shard.tiers[state.score.tier] -= 1
            state.score = None
        effects.outputs.append(Output(Topic.SCORES, customer_id, None))

    def _open_day(self, shard: Shard, at_ms: int) -> dict[str, float]:
        return open_day(shard.memory, at_ms, self.policy.allowed_lateness_ms)

    def _reschedule(self, shard: Shard, customer_id: str, state: CustomerState, before_ms: int) -> None:
        due_ms = next_due_ms(state, self._label_delay_ms)
        if due_ms and due_ms != before_ms:
            shard.timers.schedule(due_ms, customer_id)
