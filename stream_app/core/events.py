"""The input contract: one pydantic model a topic is the definition, the validation and the JSON Schema.

Unknown fields are ignored, so that producers can add fields before we read them. Times must carry a zone. Event types
that are not listed are accepted as general activity: a platform team that adds one loses nothing.
"""

from datetime import date
from typing import Annotated, Literal

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from stream_app.core.currencies import CurrencyCode

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Label = Annotated[str, StringConstraints(max_length=256)]
Money = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
IdentifierText = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
TokenText = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
LabelText = Annotated[str, msgspec.Meta(max_length=256)]
Timestamp = Annotated[
    AwareDatetime, Field(description="Event time, ISO-8601 with a zone, e.g. 2026-11-22T10:15:00.000Z.")
]

CART_ADD = "add_to_cart"
CART_REMOVE = "remove_from_cart"
KNOWN_CLICK_TYPES = (
    "page_view",
    "product_view",
    "product_list_view",
    "product_click",
    "search",
    CART_ADD,
    CART_REMOVE,
    "cart_view",
    "checkout_start",
    "checkout_step",
    "payment_info",
    "add_to_wishlist",
    "remove_from_wishlist",
    "share",
    "promotion_view",
    "promotion_click",
    "coupon_apply",
    "login",
)


class _Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=False)


class CustomerEvent(_Contract):
    """What every event about a customer carries."""

    customer_id: Identifier = Field(description="The customer; also the Kafka key (UTF-8, murmur2-partitioned).")
    timestamp: Timestamp
    event_id: Identifier = Field(description="Unique per topic; an event with an id seen before changes nothing.")


class ClickEvent(CustomerEvent):
    """One step of a visit."""

    event_type: Token = Field(description=f"What happened; known types: {', '.join(KNOWN_CLICK_TYPES)}.")
    session_id: Label | None = Field(default=None, description="The visit; without it, 30 idle minutes end a visit.")
    product_id: Label | None = None
    category: Label | None = None
    price: Money | None = None
    quantity: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = None
    cart_id: Label | None = None
    channel: Token | None = Field(default=None, description="Where: web, app, store, call-center, ...")
    query: Annotated[str, StringConstraints(max_length=1024)] | None = Field(default=None, description="Search text.")
    share_via: Token | None = Field(default=None, description="How a product was shared.")
    wishlist_id: Label | None = None
    page: Annotated[str, StringConstraints(max_length=2048)] | None = Field(
        default=None, description="Page path or URL."
    )
    promotion_id: Label | None = None
    coupon: Label | None = None


class Click(msgspec.Struct, frozen=True, gc=False):
    """A `ClickEvent` in the lean form in which most clicks are read: the same fields under the same bounds.

    Its time is the text that was sent; a record carries it in milliseconds.
    """

    customer_id: IdentifierText
    timestamp: str
    event_id: IdentifierText
    event_type: TokenText
    session_id: LabelText | None = None
    product_id: LabelText | None = None
    category: LabelText | None = None
    price: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None
    quantity: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    cart_id: LabelText | None = None
    channel: TokenText | None = None
    query: Annotated[str, msgspec.Meta(max_length=1024)] | None = None
    share_via: TokenText | None = None
    wishlist_id: LabelText | None = None
    page: Annotated[str, msgspec.Meta(max_length=2048)] | None = None
    promotion_id: LabelText | None = None
    coupon: LabelText | None = None


class OrderItem(_Contract):
    """One line of an order."""

    product_id: Identifier
    quantity: Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
    unit_price: Money
    category: Label | None = None
    discount: Money = 0.0


class OrderEvent(CustomerEvent):
    """An order placed, or the news that one was cancelled or returned."""

    order_id: Identifier
    items: Annotated[tuple[OrderItem, ...], Field(max_length=2000)] = ()
    amount: Money = Field(description="Order value in `currency`, never negative; a cancelled order keeps its value.")
    currency: CurrencyCode | None = Field(default=None, description="ISO 4217; absent: the shop's default currency.")
    status: Literal["completed", "cancelled", "returned", "partially_returned"] = "completed"
    discount: Money = Field(default=0.0, description="Total reduction in `currency` from coupons and promotions.")
    coupon: Label | None = Field(default=None, description="Coupon code used.")
    channel: Token | None = None
    region: Token | None = None


class ReviewEvent(CustomerEvent):
    """Anything that a customer says: a product review, feedback, a complaint, a chat, a survey answer."""

    kind: Literal["review", "feedback", "complaint", "chat", "survey"] = "review"
    rating: Annotated[float, Field(ge=1, le=5)] | None = Field(default=None, description="Stars, 1 to 5.")
    score: Annotated[float, Field(ge=0, le=10)] | None = Field(default=None, description="Survey score (NPS), 0 to 10.")
    text: Annotated[str, StringConstraints(max_length=20_000)] = ""
    language: Token | None = Field(default=None, description="BCP 47 tag; absent: told from the text.")
    product_id: Label | None = None
    order_id: Label | None = None
    channel: Token | None = None
    region: Token | None = None


class Consent(_Contract):
    """What the customer agreed to; what is absent is not agreed (fail closed)."""

    marketing: bool | None = Field(default=None, description="Marketing messages at all.")
    email: bool | None = None
    sms: bool | None = None
    push: bool | None = None
    phone: bool | None = None
    onsite: bool | None = None
    profiling: bool | None = Field(default=None, description="False: no scores, no examples; absent: allowed.")


class CustomerProfile(_Contract):
    """The newest profile of a customer; a tombstone (null value) on the topic erases the customer."""

    customer_id: Identifier
    timestamp: Timestamp
    event_id: Identifier | None = Field(default=None, description="Optional: a profile is deduplicated by its offset.")
    consent: Consent = Consent()
    birthday: date | None = None
    time_zone: Label | None = Field(default=None, description="IANA name, e.g. Europe/Vienna; needed for quiet hours.")
    language: Token | None = None
    region: Token | None = None
    signed_up_at: AwareDatetime | None = None
    loyalty_tier: Token | None = None
    attributes: dict[Token, Label] = Field(
        default={}, description="Declared attributes, used for fairness reports only."
    )


class FeedbackEvent(CustomerEvent):
    """What became of an intervention, as the messaging service tells it."""

    intervention_id: Identifier
    kind: Literal[
        "sent",
        "delivered",
        "opened",
        "clicked",
        "redeemed",
        "responded",
        "unsubscribed",
        "complained",
        "bounced",
        "approved",
    ] = Field(description="approved: a person lets a decision in mode approve be sent; `detail` says who.")
    channel: Token | None = None
    detail: Label | None = None


class Product(_Contract):
    """The newest facts of a product."""

    product_id: Identifier
    timestamp: Timestamp
    name: Label | None = None
    category: Label | None = None
    brand: Label | None = None
    price: Money | None = None
    currency: CurrencyCode | None = None
    stock: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class CalendarDay(_Contract):
    """A day that is not like others: a holiday or a promotion."""

    date: date
    timestamp: Timestamp
    kind: Literal["holiday", "promotion"]
    name: Label
    region: Token | None = None


class Tick(_Contract):
    """The passing of idle time, written by the shell so that it is in the log like everything else."""

    timestamp: Timestamp


CustomerRecord = ClickEvent | OrderEvent | ReviewEvent | CustomerProfile | FeedbackEvent

CustomerEntry = CustomerRecord | Click
"""The same as the engine takes it: clicks also in their lean form."""
