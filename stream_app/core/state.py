"""The rolling state of one customer: mutable structs with one owner, encoded as arrays.

Sub-states fold independently of one another, so that how topics interleave does not change them. Sub-states that a
customer does not need are None. Fields may only be appended, each with a default (see `stream_app.wire.state_codec`
for versions). All times are event times in milliseconds; 0 means never. Decayed values stand at the event time beside
them. States are trees without cycles, so the garbage collector need not know them (`gc=False`): a worker holds tens of
thousands of them, and going through them again and again took a tenth of its time and more.
"""

import msgspec

from stream_app.core.ledger import Ledger


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
    """Fold of the clickstream: decayed counts with half-lives of 7 and 30 days, and the visit under way."""

    first_ms: int = 0
    last_ms: int = 0
    decayed_at_ms: int = 0
    clicks_7d: float = 0.0
    clicks_30d: float = 0.0
    sessions_7d: float = 0.0
    sessions_30d: float = 0.0
    product_views_30d: float = 0.0
    cart_adds_30d: float = 0.0
    cart_removes_30d: float = 0.0
    searches_30d: float = 0.0
    wishlist_30d: float = 0.0
    shares_30d: float = 0.0
    promotions_30d: float = 0.0
    checkouts_30d: float = 0.0
    app_30d: float = 0.0
    full_carts_30d: float = 0.0
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


class Observation(msgspec.Struct, array_like=True, gc=False):
    """A customer's features at `at_ms`, waiting for the label: did an order come by the end of the horizon."""

    at_ms: int
    kind: int
    """0: after an order; 1: on the calendar."""
    weight: float = 1.0
    """1 / probability with which it was taken (thinning of busy customers)."""
    retained: bool = False
    packed: bytes = b""
    """Features, packed by `core.observations`; empty until the block is scored."""
    probability: float = -1.0
    """The score at `at_ms`; -1 until the block is scored."""
    model_version: str = ""
    contacts: int = 0
    """Interventions sent in (at, at + horizon]."""
    arm: int = 0
    """0: never drawn; 1: treatment; 2: holdout."""
    stay_propensity: float = 1.0
    """Probability of having stayed uncontacted so far."""


class FurtherObservation(Observation, array_like=True, gc=False):
    """The same moment under a longer horizon: with features, score, answer and contacts of its own."""

    horizon_days: int = 0
    handed_ms: int = 0
    """Event time at which the label is handed over: the end of the horizon and the allowed lateness."""


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
    """Everything that is kept of one customer."""

    sources: SourceState
    orders: OrdersState | None = None
    clicks: ClicksState | None = None
    reviews: ReviewsState | None = None
    profile: ProfileState | None = None
    contact: ContactState | None = None
    pending: list[Observation] = []
    """At most 16, oldest first."""
    next_look_ms: int = 0
    """When the calendar looks at this customer next; 0 while not eligible."""
    score: ScoreState | None = None
    ledger: Ledger | None = None
    cart_due_ms: int = 0
    """When the visit under way counts as left with goods in its cart; 0 while none are."""
    erased_ms: int = 0
    """When a tombstone erased the customer: only `sources` is kept, so that old records cannot bring the rest back."""
    further: list[FurtherObservation] | None = None
    """Observations under further horizons, at most 16 of each, by the time of their labels; None: there are none."""


def new_state() -> CustomerState:
    """Return the state of a customer of whom nothing is known."""
    return CustomerState(sources=SourceState(offsets={}, rings={}))
