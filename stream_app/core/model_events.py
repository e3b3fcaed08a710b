"""The life of models as events: reviews, proposals, promotions, rollbacks, and what people ask for.

One log tells it all and is the only store: the trainer answers requests on the topic that they stand on.
"""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from stream_app.core.events import Identifier

PolicyStep = Literal["policy_pinned", "policy_released", "policy_rolled_back"]
EventKind = Literal["requested", "reviewed", "proposed", "promoted", "rolled_back", "declined", "refused"] | PolicyStep
Wish = Literal["promote", "approve", "decline", "rollback"]


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Standing(_Told):
    """How one challenger compares with the champion since both were compared; differences are champion less challenger.

    Of all seasons in which the comparison may begin, it shows the one with the highest lower bound.
    """

    challenger: str = Field(description="Name in the model registry.")
    weeks: int = Field(description="Weeks that enter.")
    examples: int = Field(description="Labels that enter: one per customer and horizon.")
    champion_log_loss: float | None = Field(description="Mean of the weeks, on predictions made at T; null before two.")
    log_loss: float | None = Field(description="The challenger's, on the same labels.")
    difference: float | None = Field(description="Mean weekly difference, nats; positive: the challenger is better.")
    low: float | None = Field(description="Lower bound that holds at all looks together; null: none yet.")
    high: float | None = Field(description="Upper bound likewise.")
    recent: float | None = Field(description="Mean difference of the last eight weeks alone; null before the first.")
    error_rate: float = Field(description="Share of the error rate that the bounds are wrong with, at most.")
    since: AwareDatetime = Field(description="Where the comparison that is shown begins.")


class ModelEvent(_Told):
    """One step in the life of the models of a horizon."""

    event_id: Identifier = Field(description="The same after a crash: later copies are repeats.")
    kind: EventKind
    horizon_days: int
    at: AwareDatetime = Field(description="Event time of the labels for the trainer's own, wall time of a request.")
    by: str = Field(description="Who: evidence, or a person's name.")
    champion: str = Field(default="", description="Model that serves after this event.")
    former: str = Field(default="", description="What served before; empty where nothing changed.")
    challenger: str = Field(default="", description="Model that this is about, where it is one.")
    wish: Wish | None = Field(default=None, description="What is asked for, in a request.")
    answers: str = Field(default="", description="The request that led to this.")
    reason: str = Field(default="", description="Why, in a sentence.")
    standings: tuple[Standing, ...] = Field(default=(), description="All comparisons at this time.")
    policy: str = Field(default="", description="Learned policy that workers follow from now on; prior: the catalogue.")
    selection: dict[str, str] = Field(default={}, description="Model by segment, where a bandit selects.")
