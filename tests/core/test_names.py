from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.names import KNOWN, NameReader, NameWriter
from stream_app.decisions.catalogue import load_shipped_catalogue
from stream_app.decisions.guardrails import GUARDS
from stream_app.decisions.types import NOTHING

STORED = (
    *("nothing", "email", "sms", "push", "phone", "onsite"),
    *("coupon-10", "coupon-20", "birthday-gift", "vip-service", "care-call", "care-email", "care-sms", "care-push"),
    *("product-picks", "loyalty-points", "promotion-news", "satisfaction-survey", "seasonal-game"),
    *("profiling", "stale_data", "consent", "unsubscribed", "message_complaint", "complaint_cooldown"),
    *("order_cooldown", "discount_dependence", "cooldown", "cap", "quiet_hours"),
    *("drawn_not_eligible", "holdout", "shadow", "kill_switch", "rate_breaker", "budget", "approval", "expired"),
    "prior",
)
"""What stored states count on; appended to, never changed."""
_NAMES = st.sampled_from([*KNOWN, "", "\0", "\0\1", "\0\0", "\0\0x", "\1", "z", "own"]) | st.text(max_size=4)


@given(names=st.lists(_NAMES, max_size=30))
def test_names_come_back_in_the_order_in_which_they_were_shortened(names: list[str]) -> None:
    writer, reader = NameWriter(), NameReader()
    assert [reader.full(short) for short in [writer.short(name) for name in names]] == names


def test_names_said_again_are_short_whoever_made_them_up() -> None:
    writer = NameWriter()
    spelled, again, known = writer.short("our-own-action"), writer.short("our-own-action"), writer.short("coupon-10")
    assert (spelled, len(again), len(known)) == ("our-own-action", 2, 1)


def test_codes_of_stored_states_keep_their_meaning() -> None:
    assert KNOWN[: len(STORED)] == STORED
    assert len(set(KNOWN)) == len(KNOWN)
    assert len(KNOWN) < 127, "a code beyond takes a byte more"


def test_what_the_product_says_by_itself_has_a_code() -> None:
    shipped = load_shipped_catalogue().actions
    said = {NOTHING, *(action.name for action in shipped), *(action.channel for action in shipped)}
    assert said | {code for code, _ in GUARDS} <= set(KNOWN)
