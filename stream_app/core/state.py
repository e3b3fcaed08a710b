"""The rolling state of one customer: mutable structs with one owner, encoded as arrays.

Sub-states fold independently of one another, so that how topics interleave does not change them. Sub-states that a
customer does not need are None. Fields may only be appended, each with a default (see `stream_app.wire.state_codec`
for versions). All times are event times in milliseconds; 0 means never. Decayed values stand at the event time beside
them. States are trees without cycles, so the garbage collector need not know them (`gc=False`): a worker holds tens of
thousands of them, and going through them again and again took a tenth of its time and more.
"""

from typing import Any, Final

import msgspec

from stream_app.core.ledger import Ledger
from stream_app.core.packed import (
    PackedLedger,
    PackedObservations,
    pack_ledger,
    pack_observations,
    unpack_ledger,
    unpack_observations,
)
from stream_app.core.waiting import FurtherObservation, Observation

__all__ = [
    "CLICK_STEPS",
    "PARTS",
    "ClicksState",
    "ContactState",
    "CustomerState",
    "FurtherObservation",
    "Observation",
    "OrdersState",
    "ProfileState",
    "ReviewsState",
    "ScoreState",
    "SourceState",
    "new_state",
]


CLICK_STEPS: Final = 1024
"""Of a decayed count of clicks, in one. What a click weighs is rounded by a twentieth of a percent at most."""


class OrdersState(msgspec.Struct, array_like=True, gc=False):
    """Fold of orders. `days` counts distinct UTC days with a completed order; gaps are between such days."""

    first_ms: int = 0
    last_ms: int = 0
    completed: int = 0
    days: int = 0
    gaps: int = 0
    sum_ln_gap: float = 0.0
    sum_ln_gap_squared: float = 0.0
    ewma_ln_gap: float = 0.0
    """0.3 * ln gap + 0.7 * before, from 0: the population mean enters with 0.7 ** gaps at feature time."""
    last_gap_days: float = 0.0
    max_gap_days: float = 0.0
    decayed_at_ms: int = 0
    count_14d: float = 0.0
    """Decayed counts of order days; the suffix is the half-life in days."""
    count_30d: float = 0.0
    count_90d: float = 0.0
    repeat_60d: float = 0.0
    """As the others, without the first order."""
    amount_60d: float = 0.0
    sum_ln_amount: float = 0.0
    last_ln_amount: float = 0.0
    sum_ln_lines: float = 0.0
    cancelled: int = 0
    returned: int = 0
    discounted: int = 0
    last_cancelled_ms: int = 0
    total_amount: float = 0.0
    recent_products: tuple[str, ...] = ()
    """Up to 5 products bought last, newest first."""


class ClicksState(msgspec.Struct, array_like=True, gc=False):
    """Fold of the clickstream: decayed counts with half-lives of 7 and 30 days, and the visit under way.

    Decayed counts are in steps of 1 / `CLICK_STEPS`: integers are added up as exactly as they are stored.
    """

    first_ms: int = 0
    last_ms: int = 0
    decayed_at_ms: int = 0
    clicks_7d: int = 0
    clicks_30d: int = 0
    sessions_7d: int = 0
    sessions_30d: int = 0
    product_views_30d: int = 0
    cart_adds_30d: int = 0
    cart_removes_30d: int = 0
    searches_30d: int = 0
    wishlist_30d: int = 0
    shares_30d: int = 0
    promotions_30d: int = 0
    checkouts_30d: int = 0
    app_30d: int = 0
    full_carts_30d: int = 0
    """Visits that ended with goods in the cart; whether an order followed is for the orders to say."""
    sessions: int = 0
    session_hash: int = 0
    session_started_ms: int = 0
    session_clicks: int = 0
    session_cart: int = 0
    """Cart additions less removals in the visit under way, at least 0."""
    scored_ms: int = 0
    """When a click last asked for a score."""
    recent_products: tuple[str, ...] = ()
    """Up to 5 products seen last, newest first."""
    last_cart_ms: int = 0
    """Last addition to a cart: later than the last order, it is an open cart."""


class ReviewsState(msgspec.Struct, array_like=True, gc=False):
    """Fold of what the customer said. Sentiment is VADER's compound, -1 to 1; half-life 60 days."""

    first_ms: int = 0
    last_ms: int = 0
    count: int = 0
    decayed_at_ms: int = 0
    weight_60d: float = 0.0
    sentiment_60d: float = 0.0
    """Decayed sum of sentiment; its mean is sentiment_60d / weight_60d."""
    rating_weight_60d: float = 0.0
    rating_60d: float = 0.0
    complaints_60d: float = 0.0
    last_sentiment: float = 0.0
    last_complaint_ms: int = 0
    last_survey_score: float = -1.0
    language: str = ""


class ProfileState(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The newest profile, replaced as a whole: decisions may hold on to it."""

    at_ms: int = 0
    marketing: bool | None = None
    email: bool | None = None
    sms: bool | None = None
    push: bool | None = None
    phone: bool | None = None
    onsite: bool | None = None
    profiling: bool | None = None
    birthday_month: int = 0
    birthday_day: int = 0
    time_zone: str = ""
    language: str = ""
    region: str = ""
    signed_up_ms: int = 0
    loyalty_tier: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


class ContactState(msgspec.Struct, array_like=True, gc=False):
    """Fold of intervention feedback."""

    last_ms: int = 0
    decayed_at_ms: int = 0
    sent_30d: float = 0.0
    opened_30d: float = 0.0
    clicked_30d: float = 0.0
    redeemed_30d: float = 0.0
    bounced: int = 0
    unsubscribed_ms: int = 0
    unsubscribed_channels: tuple[str, ...] = ()
    complained_ms: int = 0
    opened: int = 0
    """Messages opened, clicked and answered so far."""
    clicked: int = 0
    responded: int = 0


class ScoreState(msgspec.Struct, array_like=True, gc=False):
    """The newest score, what was last published, and one score about a week old for the velocity."""

    at_ms: int = 0
    probability: float = -1.0
    tier: int = -1
    published_ms: int = 0
    published: float = -1.0
    model_version: str = ""
    week_ago_ms: int = 0
    week_ago: float = -1.0
    next_week_ms: int = 0
    next_week: float = -1.0


class SourceState(msgspec.Struct, array_like=True, gc=False):
    """What of each source was applied: newest offset per source key, and a ring of recent event ids per topic rank."""

    offsets: dict[int, int] = {}
    rings: dict[int, bytes] = {}


class CustomerState(msgspec.Struct, array_like=True, gc=False):
    """Everything that is kept of one customer.

    Parts that most events leave alone stay packed until somebody asks for them: `pending` and `ledger` unpack on the
    first access, and `oldest_pending_ms`, `oldest_draw_ms` and `retry_at_ms` tell without unpacking what is due.
    """

    sources: SourceState
    orders: OrdersState | None = None
    clicks: ClicksState | None = None
    reviews: ReviewsState | None = None
    profile: ProfileState | None = None
    contact: ContactState | None = None
    unpacked_pending: list[Observation] = msgspec.field(default_factory=list, name="pending")
    """As `pending` where that is not packed."""
    next_look_ms: int = 0
    """When the calendar looks at this customer next; 0 while not eligible."""
    score: ScoreState | None = None
    unpacked_ledger: Ledger | None = msgspec.field(default=None, name="ledger")
    """As `ledger` where that is not packed."""
    cart_due_ms: int = 0
    """When the visit under way counts as left with goods in its cart; 0 while none are."""
    erased_ms: int = 0
    """When a tombstone erased the customer: only `sources` is kept, so that old records cannot bring the rest back."""
    further: list[FurtherObservation] | None = None
    """Observations under further horizons, at most 16 of each, by the time of their labels; None: there are none."""
    packed_pending: PackedObservations | None = None
    packed_ledger: PackedLedger | None = None

    @property
    def pending(self) -> list[Observation]:
        """Observations that wait for labels, at most 16, oldest first."""
        packed = self.packed_pending
        if packed is not None:
            self.unpacked_pending = unpack_observations(packed)
            self.packed_pending = None
        return self.unpacked_pending

    @pending.setter
    def pending(self, pending: list[Observation]) -> None:
        self.unpacked_pending = pending
        self.packed_pending = None

    @property
    def ledger(self) -> Ledger | None:
        """What was decided; None before the first decision."""
        packed = self.packed_ledger
        if packed is not None:
            self.unpacked_ledger = unpack_ledger(packed)
            self.packed_ledger = None
        return self.unpacked_ledger

    @ledger.setter
    def ledger(self, ledger: Ledger | None) -> None:
        self.unpacked_ledger = ledger
        self.packed_ledger = None

    @property
    def oldest_pending_ms(self) -> int:
        """When the first of `pending` was taken; 0: there is none."""
        if self.packed_pending is not None:
            return self.packed_pending.oldest_ms
        return self.unpacked_pending[0].at_ms if self.unpacked_pending else 0

    @property
    def oldest_draw_ms(self) -> int:
        """When the oldest draw was made whose outcome is still to be told; 0: there is none."""
        if self.packed_ledger is not None:
            return self.packed_ledger.oldest_draw_ms
        ledger = self.unpacked_ledger
        return ledger.oldest_draw_ms if ledger is not None else 0

    @property
    def retry_at_ms(self) -> int:
        """When a decision that quiet hours stopped is tried again; 0: there is none."""
        if self.packed_ledger is not None:
            return self.packed_ledger.retry_at_ms
        return self.unpacked_ledger.retry_at_ms if self.unpacked_ledger is not None else 0

    def packed(self) -> tuple[PackedObservations | None, PackedLedger | None]:
        """Return `pending` and `ledger` packed; what was not unpacked comes back as it was."""
        pending, ledger = self.packed_pending, self.packed_ledger
        if pending is None and self.unpacked_pending:
            pending = pack_observations(self.unpacked_pending)
        if ledger is None and self.unpacked_ledger is not None:
            ledger = pack_ledger(self.unpacked_ledger)
        return pending, ledger

    def parts(self) -> dict[str, Any]:
        """Return everything by name, nothing packed."""
        if self.ledger is not None:
            self.ledger.unpack_history()
        return {name: getattr(self, name) for name in PARTS}

    def __eq__(self, other: object) -> bool:
        """Compare what is kept, packed or not."""
        return isinstance(other, CustomerState) and self.parts() == other.parts()

    __hash__ = None  # type: ignore[assignment]  # mutable


PARTS: Final = tuple(
    field.encode_name for field in msgspec.structs.fields(CustomerState) if not field.name.startswith("packed_")
)
"""What a state consists of, whatever of it is packed at the moment."""


def new_state() -> CustomerState:
    """Return the state of a customer of whom nothing is known."""
    return CustomerState(sources=SourceState(offsets={}, rings={}))
