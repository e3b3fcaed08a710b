"""What goes into a decision and what comes out of it."""

from collections.abc import Callable
from typing import Literal, Protocol

import msgspec

from stream_app.core.facts import Facts
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import DecisionOutcome, Intervention, Reason, SuppressedIntervention
from stream_app.core.packed import PackedLedger
from stream_app.core.partition import PartitionState

NOTHING = "nothing"
"""Name of the choice not to act; no action may be called so."""

Mode = Literal["off", "shadow", "approve", "live"]


class DecisionPoint(msgspec.Struct, frozen=True):
    """One customer at one moment that calls for a decision.

    `at_ms` is the event time of what led here, `frontier_ms` the event time that the partition had reached. Decisions
    take the later of the two for now. `tier` and `previous_tier` are indexes into `core.outputs.TIERS`; -1 is no tier
    yet.
    """

    customer_id: str
    at_ms: int
    frontier_ms: int
    trigger: str
    """order, review, feedback, tier_change or timer."""
    facts: Facts
    probability: float
    tier: int
    previous_tier: int
    reasons: Callable[[str], tuple[Reason, ...]]
    """Why the score is what it is, in the language asked for; called only where a decision is put out as an
    intervention."""
    model_version: str
    interval: Callable[[], tuple[float, float] | None] | None = None
    """The interval of the probability; called only where a decision is put out as an intervention."""
    picks: Callable[[int], tuple[str, ...]] | None = None
    """The n best product picks; absent: products that the customer looked at or bought lately."""

    @property
    def now_ms(self) -> int:
        """Event time at which a message would leave."""
        return max(self.at_ms, self.frontier_ms)


class Act(msgspec.Struct, frozen=True):
    """Send `intervention`; caps, cooldowns and budget are already reserved."""

    intervention: Intervention
    stay_probability: float = 1.0
    """Probability with which this very draw would have left the customer uncontacted; 1 where the draw was made
    earlier.

    Where a limit stops a draw, that is 1 both then and when it is carried out, since nobody knows whom of those who
    drew nothing the limit would have stopped, and until when. It shifts the weights between customers of different
    risk, and leaves the labels of equal ones as they are: simulated with 2 million customers, the weighted base rate of
    .375 is off by at most .001 where up to all draws are stopped and retried after 3 days on average, and by .010 where
    30 % are stopped and most of them never carried out; within a tenth of the risks, by nothing beyond chance."""


class Suppress(msgspec.Struct, frozen=True):
    """Tell why there is no contact."""

    suppressed: SuppressedIntervention
    stay_probability: float = 1.0
    """As in `Act`: the factor for observations that wait for their label."""
    retry_at_ms: int = 0
    """When the obstacle ends, where it ends by itself (quiet hours); 0: unknown."""


class Quiet(msgspec.Struct, frozen=True):
    """Nothing to tell: no action fits this customer, or this "no" was told today. `reason` is for counts."""

    reason: str
    retry_at_ms: int = 0


Decision = Act | Suppress | Quiet


class Decider(Protocol):
    """Who decides. Deterministic: equal arguments give equal decisions and equal changes of ledger and memory."""

    @property
    def catalogue_version(self) -> str:
        """Return the version of the action catalogue in force."""
        ...

    @property
    def policy_version(self) -> str:
        """Return the version of the beliefs in force."""
        ...

    def decide(self, point: DecisionPoint, ledger: Ledger, memory: PartitionState) -> Decision:
        """Decide at one point; reservations are written to `ledger` and `memory` in place."""
        ...

    def rests(self, ledger: PackedLedger, facts: Facts, now_ms: int) -> bool:
        """Say whether `decide` would be quiet and leave ledger and memory as they are; False where that is not known.

        Asked first where the ledger is packed: most decision points need not unpack it.
        """
        ...

    def quiet_until_ms(self, facts: Facts, at_ms: int) -> int:
        """Return when a customer's quiet hours end, 0 where it is not quiet: not later than a decision's retry."""
        ...

    def outcome_due_ms(self, ledger: Ledger) -> int:
        """Return when the next draw of a customer has its outcome, 0 for none."""
        ...

    def mature(self, customer_id: str, ledger: Ledger, facts: Facts, at_ms: int) -> list[DecisionOutcome]:
        """Return the outcomes due by `at_ms`, and forget their draws: each is told once."""
        ...

    def arm_of(self, customer_id: str) -> int:
        """Return the arm of a customer as observations carry it: 1 treatment, 2 holdout."""
        ...
