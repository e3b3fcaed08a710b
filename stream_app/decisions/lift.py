"""What the interventions achieved: customers of both arms compared from their first draw that was to act.

That draw is made the same way in both arms, so the comparison of an action's customers is of those for whom it was
drawn with those of the holdout for whom it would have been. Each customer counts once, with one window; later draws
only feed the rates, and its cost by what they sent within that window. Customers of a named experiment are compared
from the draw with which they entered it, each arm with the experiment's first one, the holdout left out.
"""

import math

import msgspec

from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import to_ms
from stream_app.decisions.lift_report import (
    MEASURES,
    ActionRates,
    LiftReport,
    RatioCheck,
    SliceLift,
    ratio_of,
    share_of_interval,
)
from stream_app.decisions.repeats import is_first
from stream_app.decisions.sequences import PLANNED, ArmsTest, DifferenceSequence, DifferenceState

OVERALL = "all"
ASSIGNMENTS, TRIGGERS = "assignments", "first_triggers"
RATES = ("converted", "opened", "clicked", "redeemed", "responded", "unsubscribed", "complained")


class SliceState(msgspec.Struct):
    """One comparison under way."""

    treated_share: float
    measures: dict[str, DifferenceState]


class LiftState(msgspec.Struct):
    """Everything that a report is made of; fields may only be appended, each with a default."""

    slices: dict[str, SliceState] = {}
    arms: dict[str, dict[str, int]] = {}
    """Customers by arm, of each sample ratio that is watched."""
    shares: dict[str, dict[str, float]] = {}
    """Shares as configured when the first of its customers came."""
    sent: dict[str, dict[str, float]] = {}
    """Per action: messages, what became of them, and the sum of rewards."""
    told: dict[int, None] = {}
    """Hashes of the last outcomes, oldest first."""
    outcomes: int = 0
    newest_ms: int = 0


class LiftBook:
    """Takes in matured decisions in any order of customers, and reports at any time.

    Parameters
    ----------
    holdout_share
        As configured; with 0 there is nothing to compare, and only rates are reported.
    alpha
        Error rate of the whole report: half for the whole shop, half shared by all slices.
    planned
        Number of customers at which intervals are tightest.
    state
        To go on from; changed in place.
    """

    def __init__(
        self,
        holdout_share: float,
        alpha: float = 0.05,
        planned: int = PLANNED,
        state: LiftState | None = None,
    ) -> None:
        self._treated_share = 1 - holdout_share
        self._alpha = alpha
        self._planned = planned
        self.state = state if state is not None else LiftState()

    def add(self, outcome: DecisionOutcome) -> bool:
        """Take in one matured decision; return False for a repeat, which changes nothing."""
        if not self._is_new(outcome):
            return False
        if outcome.sent:
            self._count(outcome)
        for name, arm in outcome.experiments.items():
            self._compare_experiment(name, arm, outcome)
        if outcome.act_number != 0:
            return True
        is_treated = outcome.arm == "treatment"
        self._watch(TRIGGERS, outcome.arm, self._arm_shares)
        if 0 < self._treated_share < 1:
            for name in (OVERALL, f"tier:{outcome.tier}", f"action:{outcome.action}"):
                self._compare(name, is_treated, self._treated_share, outcome)
        return True

    def add_assignments(self, arm: str, customers: int) -> None:
        """Count customers that were given an arm when they first ordered, whatever became of them."""
        self._watch(ASSIGNMENTS, arm, self._arm_shares, customers)

    def report(self) -> LiftReport:
        """Return the comparison so far."""
        shared = [name for name in self.state.slices if name != OVERALL]
        slices = [self._slice(OVERALL, self._alpha / 2)] if OVERALL in self.state.slices else []
        for position, name in enumerate(shared, start=1):
            # Sums to alpha / 2 over any number of slices, so that new actions do not spoil what was said before.
            slices.append(self._slice(name, self._alpha / 2 * 6 / (math.pi * position) ** 2))
        by_name = {each.name: each for each in slices}
        checks = tuple(self._check(name) for name in self.state.arms)
        triggers = self.state.arms.get(TRIGGERS, {})
        return LiftReport(
            customers=sum(triggers.values()),
            outcomes=self.state.outcomes,
            newest_ms=self.state.newest_ms,
            alpha=self._alpha,
            ratio_p_value=min((check.p_value for check in checks), default=1.0),
            ratio_alarm=any(check.alarm for check in checks),
            ratios=checks,
            slices=tuple(slices),
            rates={action: self._rates(action, by_name) for action in sorted(self.state.sent)},
        )

    @property
    def _arm_shares(self) -> dict[str, float]:
        return {"treatment": self._treated_share, "holdout": 1 - self._treated_share}

    def _is_new(self, outcome: DecisionOutcome) -> bool:
        if not is_first(self.state.told, outcome.outcome_id):
            return False
        self.state.outcomes += 1
        self.state.newest_ms = max(self.state.newest_ms, to_ms(outcome.matured_at))
        return True

    def _watch(self, name: str, arm: str, shares: dict[str, float], count: int = 1) -> None:
        self.state.shares.setdefault(name, shares)
        ArmsTest(self.state.shares[name], self.state.arms.setdefault(name, {})).add(arm, count)

    def _compare(self, name: str, is_treated: bool, treated_share: float, outcome: DecisionOutcome) -> None:
        state = self.state.slices.get(name)
        if state is None:
            state = SliceState(treated_share, {measure: DifferenceState() for measure in MEASURES})
            self.state.slices[name] = state
        values = {
            "conversion": float(outcome.orders > 0),
            "revenue": outcome.revenue,
            "margin": outcome.reward + outcome.cost,
            "cost": outcome.cost + outcome.cost_besides,
        }
        for measure, value in values.items():
            sequence = DifferenceSequence(state.treated_share, self._planned, state.measures[measure])
            sequence.add(is_treated, value, outcome.value_at_stake)

    def _compare_experiment(self, name: str, arm: str, outcome: DecisionOutcome) -> None:
        shares = outcome.experiment_shares.get(name)
        if not shares or outcome.arm != "treatment":
            return
        self._watch(f"experiment:{name}", arm, shares)
        # As configured when the first customer came: what is changed is another experiment, and the ratio test tells.
        shares = self.state.shares[f"experiment:{name}"]
        control = next(iter(shares))
        for other in shares:
            if other != control and arm in {other, control}:
                share = shares[other] / (shares[other] + shares[control])
                self._compare(f"experiment:{name}:{other}", arm == other, share, outcome)

    def _slice(self, name: str, alpha: float) -> SliceLift:
        state = self.state.slices[name]
        each = alpha / len(MEASURES)
        conversion, revenue, margin, cost = (
            DifferenceSequence(state.treated_share, self._planned, state.measures[measure]).interval(each)
            for measure in MEASURES
        )
        converted = state.measures["conversion"]
        return SliceLift(
            name=name,
            treated=converted.treated.count,
            held=converted.held.count,
            conversion_treated=converted.treated.mean,
            conversion_held=converted.held.mean,
            conversion=conversion,
            revenue=revenue,
            margin=margin,
            cost=cost,
            cost_per_saved=ratio_of(cost, conversion),
            return_on_cost=ratio_of(margin, cost),
            alpha=each,
        )

    def _check(self, name: str) -> RatioCheck:
        test = ArmsTest(self.state.shares[name], self.state.arms[name])
        p_value = test.p_value
        return RatioCheck(name, dict(test.counts), p_value, p_value < self._alpha / 10)

    def _count(self, outcome: DecisionOutcome) -> None:
        counts = self.state.sent.setdefault(outcome.action, dict.fromkeys(("sent", "reward", *RATES), 0.0))
        counts["sent"] += 1
        counts["reward"] += outcome.reward
        counts["converted"] += outcome.orders > 0
        for rate in RATES[1:]:
            counts[rate] += bool(getattr(outcome, rate))

    def _rates(self, action: str, slices: dict[str, SliceLift]) -> ActionRates:
        counts = self.state.sent[action]
        sent = counts["sent"]
        lifted = slices.get(f"action:{action}")
        redeemed = counts["redeemed"] / sent
        return ActionRates(
            sent=int(sent),
            **{rate: counts[rate] / sent for rate in RATES},
            reward=counts["reward"] / sent,
            incremental_per_redeemed=share_of_interval(lifted.conversion, redeemed) if lifted is not None else None,
        )
