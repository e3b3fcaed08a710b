"""The output contract: one pydantic model a topic, as `events` is for inputs.

All times are event times; a replay of the same records gives the same bytes.
"""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from stream_app.core.events import Identifier

Tier = Literal["low", "medium", "high", "critical"]
TIERS: tuple[Tier, ...] = ("low", "medium", "high", "critical")
Probability = Annotated[float, Field(ge=0, le=1)]
Arm = Literal["treatment", "holdout"]


def _is_empty(value: tuple[object, ...]) -> bool:
    """Leave out what is not configured: records stay as they are without it."""
    return not value


class _Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Reason(_Output):
    """One contribution to a score: exact on the logit, and in words."""

    code: str = Field(description="Feature or rule that it comes from.")
    text: str = Field(description="A sentence for a person.")
    contribution: float = Field(description="Share of the logit; positive raises the risk.")


class HorizonRisk(_Output):
    """The same question over a longer time (STREAM_APP_EXTRA_HORIZONS_DAYS)."""

    horizon_days: int
    probability: Probability = Field(description="P(no order within horizon_days), at most that of shorter horizons.")
    model_version: str


class ChurnScore(_Output):
    """The latest score of a customer (compacted topic; a tombstone means erased)."""

    customer_id: Identifier
    event_time: AwareDatetime
    probability: Probability = Field(
        description="P(no order within the horizon after event_time), without further contact."
    )
    interval: tuple[Probability, Probability] | None = None
    horizon_days: int
    tier: Tier
    velocity_7d: float | None = Field(default=None, description="Change of probability over the last 7 days.")
    reasons: tuple[Reason, ...] = ()
    expected_loss: float | None = Field(
        default=None, description="Probability times the value at stake, shop currency."
    )
    value_90d: float | None = Field(default=None, description="Expected order value in the next 90 days.")
    next_order_days: tuple[float, float] | None = Field(default=None, description="Likely window of the next order.")
    cold_start: bool = Field(default=False, description="True while the score is the prior alone.")
    model_version: str
    further_horizons: tuple[HorizonRisk, ...] = Field(
        default=(), description="Risks over longer horizons, where configured, shortest first.", exclude_if=_is_empty
    )


class ChurnWarning(_Output):
    """A customer changed tier: the early warning."""

    warning_id: Identifier
    customer_id: Identifier
    event_time: AwareDatetime
    previous_tier: Tier
    tier: Tier
    probability: Probability
    reasons: tuple[Reason, ...] = ()
    model_version: str


class Content(_Output):
    """What to say: a template of the messaging service and its parameters."""

    template: str
    language: str
    parameters: dict[str, str | int | float | bool] = {}
    products: tuple[str, ...] = Field(default=(), description="Product picks, best first.")


class Intervention(_Output):
    """A decision to act; the `data` of a CloudEvent whose id is `intervention_id`."""

    intervention_id: Identifier = Field(description="Idempotency key; the CloudEvents id.")
    customer_id: Identifier
    action: str = Field(description="Name in the action catalogue.")
    action_kind: str
    channel: str
    content: Content
    tier: Tier
    probability: Probability
    interval: tuple[Probability, Probability] | None = None
    expected_value: float | None = Field(default=None, description="Expected gain of acting, shop currency, less cost.")
    cost: float = 0.0
    reasons: tuple[Reason, ...] = ()
    arm: Arm
    propensity: Probability = Field(description="Probability with which this action was drawn.")
    alternatives: dict[str, Probability] = Field(
        default={}, description="The whole choice: allowed actions and nothing."
    )
    model_version: str
    policy_version: str
    catalogue_version: str
    trigger: str = Field(description="What kind of point led here: order, review, feedback, tier_change, timer, retry.")
    event_time: AwareDatetime
    decided_at: AwareDatetime = Field(description="Event time that the partition had reached.")
    expires_at: AwareDatetime
    approved_by: str | None = Field(default=None, description="Mode approve: the person who let it be sent.")
    approved_at: AwareDatetime | None = Field(default=None, description="Event time at which it was sent, then.")


class SuppressedIntervention(_Output):
    """A "no" with its reason; for the holdout, what would have been done."""

    suppression_id: Identifier
    customer_id: Identifier
    event_time: AwareDatetime
    reason: str = Field(
        description="Code: holdout, cooldown, cap, consent, quiet_hours, budget, shadow, no_eligible_action, ..."
    )
    detail: str = Field(description="The reason in a sentence.")
    action: str | None = Field(default=None, description="What would have been done, where a choice was made.")
    channel: str | None = None
    tier: Tier
    probability: Probability
    arm: Arm
    propensity: Probability | None = None
    alternatives: dict[str, Probability] = {}
    policy_version: str
    catalogue_version: str
    model_version: str
    trigger: str
    proposal: Intervention | None = Field(
        default=None, description="Reason approval: what is sent once a person approves."
    )


class DecisionOutcome(_Output):
    """What came of one draw within its attribution window of 14 days; each draw has one, contacted or not."""

    outcome_id: Identifier
    customer_id: Identifier
    drawn_at: AwareDatetime
    matured_at: AwareDatetime
    number: int = Field(description="0 for the customer's first draw, and so on.")
    act_number: int = Field(
        description="The same among draws that were to act, -1 for nothing: lift compares customers from their 0 on."
    )
    arm: Arm
    action: str = Field(description="What was drawn; nothing for the choice not to act.")
    propensity: Probability
    alternatives: dict[str, Probability] = Field(description="The whole choice.")
    context: tuple[float, ...] = Field(description="What the policy looked at, in the order of its columns.")
    tier: Tier
    probability: Probability
    value_at_stake: float = Field(description="Frozen at the draw: the covariate that sharpens comparisons.")
    usual_order: float = Field(description="Mean order value, frozen at the draw.")
    sent: bool = Field(description="Whether a message left; false for the holdout, shadow, and what limits stopped.")
    orders: int = Field(description="Orders completed in the window.")
    revenue: float
    redeemed: bool
    unsubscribed: bool
    complained: bool = Field(description="About messages.")
    cost: float = Field(description="Of the contact, and of the incentive if it was redeemed.")
    reward: float = Field(description="Margin on revenue, less cost and penalties.")
    policy_version: str
    catalogue_version: str
    opened: bool = False
    clicked: bool = False
    responded: bool = Field(default=False, description="Took part: answered the survey, played the game, called back.")
    experiments: dict[str, str] = Field(
        default={}, description="Named experiments entered with this draw, and the customer's arm of each."
    )
    experiment_shares: dict[str, dict[str, float]] = Field(
        default={}, description="Configured share of every arm of these, the one that others are compared with first."
    )
    is_care: bool = Field(default=False, description="Drawn because of a complaint, within the window of another draw.")
    course: tuple[float, ...] = Field(
        default=(), description="Where the customer stood at the draw, as a policy over sequences sees it."
    )
    course_after: tuple[float, ...] = Field(default=(), description="The same when the window ended.")
    last_action: str = Field(default="", description="Action of the contact before the draw; empty: none for 45 days.")
    offer: float = Field(default=0.0, description="Cost of the contact and of its incentive, had it been taken.")
    cost_besides: float = Field(
        default=0.0, description="Of messages sent in the window because of later draws, and of what they gave away."
    )
    groups: dict[str, str] = Field(
        default={},
        description="What the customer declares of STREAM_APP_FAIRNESS_ATTRIBUTES: for the fairness report alone.",
    )


class DeadLetter(_Output):
    """Why a record was refused; goes into `dlq_` headers beside the original bytes."""

    topic: str
    partition: int
    offset: int
    reason: str = Field(
        description="Code: not_json, wrong_type, missing_field, too_large, bad_encoding, far_future, ..."
    )
    field: str = ""
    detail: str = Field(description="What is wrong and how to mend it, in a sentence.")
    recorded_at: AwareDatetime | None = None
