"""Runs of clicks with nothing due between them: most of what a shop sends, in one loop.

What a run leads to is what the engine's general way leads to, click by click (law: tests/engine/test_bursts.py). It is
faster because a visit's clicks come one after the other: the customer is looked up and marked as changed once, and
whether anything is due is one comparison as long as event time stays below the next moment at which anything can be.
The worker joins a visit's clicks as it reads them (`ClickRun`): what goes on with a visit is then folded in one piece.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence

from stream_app.core.effects import Effects
from stream_app.core.events import Click, ClickEvent
from stream_app.core.observations import ON_CALENDAR
from stream_app.core.records import ClickRun, Entry, Record
from stream_app.core.sources import admit, admit_all
from stream_app.core.state import CustomerState, Observation, new_state
from stream_app.core.times import DAY_MS
from stream_app.engine.applying import Applier
from stream_app.engine.calendar import is_eligible, next_due_ms
from stream_app.engine.days import next_close_ms
from stream_app.engine.points import NEVER_MS, Block
from stream_app.engine.policy import EnginePolicy
from stream_app.engine.shard import Shard, StateStore

Ask = Callable[[Shard, str, CustomerState, int, str, int, Observation | None, str, Block, Effects], None]
FireDue = Callable[[Shard, int, Block, Effects], None]
ProcessOne = Callable[[Shard, Record, int, int | None, Block, Effects], None]

_CLICKS = (Click, ClickEvent)


class Bursts:
    """The engine's way with clicks.

    Parameters
    ----------
    policy
        The engine's.
    applier
        Folds a click.
    ask
        Collects a point that asks for a score.
    fire_due
        Fires what is due by a moment.
    process_one
        Applies a record, of the entry at an index, in the general way.
    """

    def __init__(
        self, policy: EnginePolicy, applier: Applier, ask: Ask, fire_due: FireDue, process_one: ProcessOne
    ) -> None:
        self._policy = policy
        self._applier = applier
        self._ask = ask
        self._fire_due = fire_due
        self._process_one = process_one
        self._label_delay_ms = policy.horizon_days * DAY_MS + policy.allowed_lateness_ms

    def take(
        self, shard: Shard, entries: Sequence[Entry], first: int, hold_ms: int | None, block: Block, effects: Effects
    ) -> int:
        """Apply clicks from an index on, and return the index of the first entry that needs the general way.

        That is anything but a click, a click of someone who opted out, and one before which something may be due, a
        day may end, or a block must be concluded. Runs are always taken.
        """
        index, count = first, len(entries)
        while index < count:
            entry = entries[index]
            if isinstance(entry, ClickRun):
                self._take_run(shard, entry, index, hold_ms, block, effects)
                index += 1
                continue
            index = self._take_singles(shard, entries, index, hold_ms, block, effects)
            if index == count or not isinstance(entries[index], ClickRun):
                break
        return index

    def _take_singles(
        self, shard: Shard, entries: Sequence[Entry], first: int, hold_ms: int | None, block: Block, effects: Effects
    ) -> int:
        """As `take`, up to a run."""
        memory, store, lateness_ms = shard.memory, shard.store, self._policy.allowed_lateness_ms
        frontier_ms = memory.frontier_ms
        calm_until_ms = self._calm_until_ms(shard, block)
        held_at_ms = hold_ms + 1 if hold_ms is not None else NEVER_MS
        customer_id = ""
        state: CustomerState | None = None
        applied = late = 0
        index = first
        while index < len(entries):
            entry = entries[index]
            at_ms = entry.at_ms
            if not isinstance(entry, Record) or at_ms >= calm_until_ms or at_ms >= held_at_ms:
                break
            event = entry.event
            if not isinstance(event, _CLICKS):
                break
            if state is None or entry.customer_id != customer_id:
                customer_id = entry.customer_id
                state = _taken_from(store, customer_id)
                if state is None:
                    break
            index += 1
            if at_ms > frontier_ms:
                memory.frontier_ms = frontier_ms = at_ms
            if _is_news(state, entry, event, effects):
                applied += 1
                late += at_ms < frontier_ms - lateness_ms
                if self._fold(shard, entry, state, event, block, effects):
                    calm_until_ms = self._calm_until_ms(shard, block)
            if calm_until_ms <= frontier_ms:
                self._fire_due(shard, frontier_ms, block, effects)
                calm_until_ms, state = self._calm_until_ms(shard, block), None
        effects.counts["applied"] += applied
        effects.counts["late"] += late
        return index

    def _take_run(
        self, shard: Shard, run: ClickRun, index: int, hold_ms: int | None, block: Block, effects: Effects
    ) -> None:
        """Apply a run, in as few pieces as nothing shows.

        A click that begins a visit or asks for a score is a piece of its own, and what goes on with the visit is one.
        Where anything could come between, the rest goes the general way.
        """
        times_ms, memory = run.times_ms, shard.memory
        last_ms, done, count = times_ms[-1], 0, len(times_ms)
        is_held = hold_ms is not None and last_ms > hold_ms
        if not is_held and last_ms < self._calm_until_ms(shard, block):
            state = _taken_from(shard.store, run.customer_id)
            while state is not None and done < count and not state.erased_ms:
                cart_before_ms, points_before = state.cart_due_ms, len(block.points)
                done = self._fold_calm(shard, run, done, state, effects) or self._fold_one(
                    shard, run, done, state, block, effects
                )
                memory.frontier_ms = max(memory.frontier_ms, times_ms[done - 1])
                if state.cart_due_ms == cart_before_ms and len(block.points) == points_before:
                    continue  # nothing can be due earlier than before
                calm_until_ms = self._calm_until_ms(shard, block)
                if calm_until_ms <= memory.frontier_ms:
                    self._fire_due(shard, memory.frontier_ms, block, effects)
                    break
                if calm_until_ms <= last_ms:
                    break
        for place in range(done, count):
            self._process_one(shard, run.record(place), index, hold_ms, block, effects)

    def _fold_calm(self, shard: Shard, run: ClickRun, first: int, state: CustomerState, effects: Effects) -> int:
        """Fold what goes on with the visit from a click on, in one loop; return where that ends, 0 if nothing does."""
        end = self._applier.calm_end(state, run.clicks, run.times_ms, first)
        if end <= first or not admit_all(state.sources, run.position, first, run.clicks[first:end]):
            return 0
        cart_before_ms = state.cart_due_ms
        self._applier.calm_clicks(state, run.clicks, run.times_ms, first, end)
        effects.counts["applied"] += end - first
        in_time_ms = shard.memory.frontier_ms - self._policy.allowed_lateness_ms
        if run.times_ms[first] < in_time_ms:
            effects.counts["late"] += bisect_left(run.times_ms, in_time_ms, first, end) - first
        if state.cart_due_ms != cart_before_ms:
            self._schedule_cart(shard, run.customer_id, state, cart_before_ms)
        return end

    def _fold_one(
        self, shard: Shard, run: ClickRun, index: int, state: CustomerState, block: Block, effects: Effects
    ) -> int:
        """Fold the click of a run in that stands at an index; return the index behind it."""
        record = run.record(index)
        shard.memory.frontier_ms = max(shard.memory.frontier_ms, record.at_ms)
        if _is_news(state, record, run.clicks[index], effects):
            effects.counts["applied"] += 1
            effects.counts["late"] += record.at_ms < shard.memory.frontier_ms - self._policy.allowed_lateness_ms
            self._fold(shard, record, state, run.clicks[index], block, effects)
        return index + 1

    def _fold(
        self,
        shard: Shard,
        record: Record,
        state: CustomerState,
        event: Click | ClickEvent,
        block: Block,
        effects: Effects,
    ) -> bool:
        """Fold one click in; return whether something may now be due earlier than before."""
        at_ms = record.at_ms
        cart_before_ms = state.cart_due_ms
        trigger = self._applier.click(state, event, at_ms)
        asks = trigger is not None and is_eligible(state, at_ms, self._policy)
        if asks:
            self._ask(
                shard, record.customer_id, state, at_ms, "click", ON_CALENDAR, None, record.traceparent, block, effects
            )
        if state.cart_due_ms == cart_before_ms:
            return asks
        self._schedule_cart(shard, record.customer_id, state, cart_before_ms)
        return True

    def _schedule_cart(self, shard: Shard, customer_id: str, state: CustomerState, cart_before_ms: int) -> None:
        """Let the timers know when what is due has changed with the cart."""
        cart_due_ms = state.cart_due_ms
        due_ms = next_due_ms(state, self._label_delay_ms)
        state.cart_due_ms = cart_before_ms
        due_before_ms = next_due_ms(state, self._label_delay_ms)
        state.cart_due_ms = cart_due_ms
        if due_ms and due_ms != due_before_ms:
            shard.timers.schedule(due_ms, customer_id)

    def _calm_until_ms(self, shard: Shard, block: Block) -> int:
        """Return the event time from which on something may have to happen before an entry."""
        calm_until_ms = next_close_ms(shard.memory.frontier_ms, self._policy.allowed_lateness_ms)
        hint_ms = shard.timers.earliest_hint_ms()
        if hint_ms is not None and hint_ms < calm_until_ms:
            calm_until_ms = hint_ms
        if block.points:
            calm_until_ms = min(calm_until_ms, block.settle_by_ms, block.points[0].at_ms + DAY_MS)
        return calm_until_ms


def _taken_from(store: StateStore, customer_id: str) -> CustomerState | None:
    """Return a customer's state, marked as changed; None for someone who opted out, whose state is left alone."""
    state = store.get(customer_id)
    if state is None:
        state = new_state()
    elif state.profile is not None and state.profile.profiling is False:
        return None
    store.put(customer_id, state)
    return state


def _is_news(state: CustomerState, record: Record, event: Click | ClickEvent, effects: Effects) -> bool:
    """Say whether a click is to be folded: neither a repeat nor older than the customer's erasure."""
    if not admit(state.sources, record.position, event.event_id):
        effects.counts["duplicates"] += 1
        return False
    if state.erased_ms:
        if record.at_ms <= state.erased_ms:
            effects.counts["erased"] += 1
            return False
        state.erased_ms = 0
    return True
