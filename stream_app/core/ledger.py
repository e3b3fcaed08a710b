"""What has been decided about one customer: the memory behind caps, cooldowns, epochs and rewards."""

from typing import Any, Final

import msgspec

from stream_app.core.compact import Rows
from stream_app.core.names import NameReader, NameWriter
from stream_app.core.squeezing import spread, squeeze


class Contact(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One intervention that was sent, kept while a cap or an attribution window can still see it."""

    at_ms: int
    action: str
    channel: str
    draw: int = -1
    """Number of the draw that led to it."""


class OpenDraw(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A draw whose attribution window is running: what is needed to tell later what came of it."""

    at_ms: int
    number: int
    """0 for the customer's first draw, and so on."""
    act_number: int
    """The same among the draws that were to act; -1 for doing nothing."""
    action: str
    cost: float
    """Cost of the contact without its incentive."""
    incentive: float
    alternatives: dict[str, float]
    tier: int
    circumstances: tuple[float, ...]
    """What the policy looked at besides the tier (`decisions.policy.CONTEXT`)."""
    probability: float
    value_at_stake: float
    usual_order: float
    orders: int
    total_amount: float
    redeemed_30d: float
    redeemed_at_ms: int
    policy_version: str
    catalogue_version: str
    experiments: dict[str, str] = {}
    """Experiments that the customer entered with this draw, and its arm of each."""
    is_care: bool = False
    """Drawn because of a complaint, within the window of another draw."""
    experiment_shares: dict[str, dict[str, float]] = {}
    """The configured share of every arm of these, the one that the others are compared with first."""
    opened: int = 0
    """Messages opened, clicked and answered until then, to tell what came in the window."""
    clicked: int = 0
    responded: int = 0
    course: tuple[float, ...] = ()
    """Where the customer stood (`decisions.courses.COURSE`); empty where it was not noted."""
    last_action: str = ""
    """Action of the contact before."""


class Proposal(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A decision in mode `approve` that waits for a person."""

    intervention_id: str
    action: str
    proposed_ms: int
    expires_ms: int
    stay_probability: float
    """Probability with which the draw would have left the customer uncontacted, had everything drawn been approved."""
    body: bytes
    """The whole intervention as JSON: what is approved is what is sent."""
    approved_by: str = ""
    """Who approved it; it is sent at the first decision point from then on at which the guardrails let it pass."""
    draw: int = -1
    """Number of the draw that led to it."""


class PackedHistory(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Contacts and open draws as bytes, for as long as no decision needs them."""

    from_ms: int
    """The time from which the times in it count."""
    oldest_draw_ms: int
    """When the first open draw was made; 0: none is open."""
    body: bytes


class Ledger(msgspec.Struct, array_like=True, gc=False):
    """Reservations and draws. Only decisions write it; fields may only be appended, each with a default.

    Most decision points fall into an epoch whose choice was made, and need none of `contacts`, `would_be` and
    `open_draws`: where these are packed in `history`, they unpack together when one of them is first asked for.
    """

    contacts: list[Contact] = []
    """Newest last."""
    epoch: int = -1
    """Number of the decision epoch of the last draw."""
    drawn: str = ""
    """What was drawn in that epoch ("" or "nothing": no action)."""
    drawn_propensity: float = 0.0
    suppressed_day: int = -1
    suppressed_reasons: tuple[str, ...] = ()
    """Reasons already told on that UTC day: a repeated "no" is emitted once per reason and day."""
    drawn_at_ms: int = 0
    """When the last draw was made; the next is made an epoch's length later at the earliest, so that rewards never
    overlap."""
    drawn_alternatives: dict[str, float] = {}
    """The whole choice of the last draw, while it is still to be carried out."""
    drawn_open: bool = False
    """True while the drawn action passed every filter but could not be sent (budget, breaker, kill switch): it is
    tried again."""
    would_be: list[Contact] = []
    """What the holdout, or a customer under a shadow action, would have been sent: caps see it, so that all arms keep
    one pace."""
    told: int = 0
    """How many decisions were put out so far; part of the ids of suppressions."""
    draws: int = 0
    """How many draws were made so far."""
    act_draws: int = 0
    """How many of them were to act."""
    open_draws: list[OpenDraw] = []
    """Draws whose outcome is still to be told, oldest first."""
    standing_told: dict[str, int] = {}
    """When a "no" that stands for long (consent, unsubscribed, ...) was last told, by reason code."""
    retry_at_ms: int = 0
    """When a decision that quiet hours stopped is tried again; 0: there is none."""
    care_at_ms: int = 0
    """When a complaint last led to a draw of its own."""
    experiments: tuple[str, ...] = ()
    """Named experiments that the customer has entered."""
    proposals: list[Proposal] = []
    """What waits for a person, oldest first."""
    drawn_number: int = -1
    """Number of the epoch's draw; one of care may follow it."""
    surprise: tuple[float, float] = (0.0, 0.0)
    """Contacts, and incentives, that were drawn beyond what was to be expected, fading, as of `drawn_at_ms`."""

    history: PackedHistory | None = None
    """Contacts and draws where they are packed."""

    @property
    def oldest_draw_ms(self) -> int:
        """When the first open draw was made; 0: none is open."""
        if self.history is not None:
            return self.history.oldest_draw_ms
        return self.open_draws[0].at_ms if self.open_draws else 0

    def pack_history(self) -> PackedHistory | None:
        """Return contacts and draws packed; None: there are none."""
        if self.history is not None:
            return self.history
        if not (self.contacts or self.would_be or self.open_draws):
            return None
        from_ms, names = self.drawn_at_ms, NameWriter()
        rows = (
            _CONTACTS.shrink(self.contacts, from_ms, names),
            _CONTACTS.shrink(self.would_be, from_ms, names),
            _DRAWS.shrink(self.open_draws, from_ms, names),
        )
        return PackedHistory(from_ms, self.oldest_draw_ms, squeeze(_encode(rows)))

    def unpack_history(self) -> None:
        """Unpack contacts and draws where they are packed; raises msgspec.MsgspecError or ValueError for damage."""
        packed = self.history
        if packed is not None:
            contacts, would_be, open_draws = _decode_rows(spread(packed.body))
            names = NameReader()
            self.contacts = _CONTACTS.restore(contacts, packed.from_ms, names)
            self.would_be = _CONTACTS.restore(would_be, packed.from_ms, names)
            self.open_draws = _DRAWS.restore(open_draws, packed.from_ms, names)
            self.history = None

    def __eq__(self, other: object) -> bool:
        """Compare what is kept, packed or not."""
        if not isinstance(other, Ledger):
            return False
        self.unpack_history()
        other.unpack_history()
        return msgspec.structs.astuple(self) == msgspec.structs.astuple(other)

    __hash__ = None  # type: ignore[assignment]  # mutable

    def forget_contacts(self, before_ms: int) -> None:
        """Drop the contacts before a time, those sent and those that would have been."""
        for contacts in (self.contacts, self.would_be):
            if contacts and contacts[0].at_ms < before_ms:
                contacts[:] = [contact for contact in contacts if contact.at_ms >= before_ms]


class _OfHistory:
    """Stands before the slot of a field: asking for it unpacks the history."""

    def __init__(self, slot: Any) -> None:
        self._slot = slot

    def __get__(self, ledger: Ledger | None, owner: type[Ledger]) -> Any:
        if ledger is None:
            return self
        if ledger.history is not None:
            ledger.unpack_history()
        return self._slot.__get__(ledger, owner)

    def __set__(self, ledger: Ledger, value: Any) -> None:
        self._slot.__set__(ledger, value)


_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(tuple[list[Contact], list[Contact], list[OpenDraw]]).decode
_CONTACTS: Final = Rows(Contact, ("action", "channel"))
_DRAWS: Final = Rows(
    OpenDraw,
    ("action", "alternatives", "policy_version", "catalogue_version", "last_action"),
    ("cost", "incentive", "circumstances", "probability", "value_at_stake", "usual_order", "redeemed_30d", "course"),
)
HISTORY: Final = ("contacts", "would_be", "open_draws")
for _name in HISTORY:
    setattr(Ledger, _name, _OfHistory(Ledger.__dict__[_name]))
