"""A shop in which the offer that sells most today costs most tomorrow: its law is known, and so is the best policy.

Customers order in a window with a probability that depends on whether their last contact was the tiring one, and on
what they are sent. The pleasant offer leaves them as they are.
"""

from collections.abc import Iterator

import numpy as np

from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS, from_ms
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.courses import COURSE, Course
from stream_app.decisions.policy import PolicySnapshot, choose_by, context_from
from stream_app.decisions.types import NOTHING
from tests.support.decisions import NOON_MS, SHIPPED

TIRING, PLEASANT = "coupon-10", "product-picks"
RESTED_RATE, TIRED_RATE = 0.5, 0.25
TIRING_LIFT, PLEASANT_LIFT = 0.15, 0.08
USUAL_ORDER = 60.0


def _catalogue() -> Catalogue:
    raw = SHIPPED.model_dump(mode="json")
    raw["actions"] = [
        {**action, "cost": 0.0, "take_rate": 0.0} for action in raw["actions"] if action["name"] in {TIRING, PLEASANT}
    ]
    return Catalogue.model_validate(raw)


CATALOGUE = _catalogue()
ACTIONS = list(CATALOGUE.actions)
CONTEXT = context_from(2, (0.0, 0.0, float(np.log1p(USUAL_ORDER)), 0.0, 0.0, 0.0))


def course(is_tired: bool, last_action: str, surprise: tuple[float, float] = (0.0, 0.0)) -> Course:
    """Return where a customer stands: whoever was sent the tiring offer last is told by `after_incentive`."""
    known = {
        "after_incentive": float(is_tired),
        "freshness": 0.5 * (last_action != ""),
        "contact_surprise": 0.5 * surprise[0],
        "incentive_surprise": 0.5 * surprise[1],
    }
    return Course(tuple(known.get(name, 0.0) for name in COURSE), last_action)


def vector(policy: PolicySnapshot, is_tired: bool, last_action: str = "") -> dict[str, float]:
    """Return what a policy chooses by."""
    stake = USUAL_ORDER * CATALOGUE.margin
    return choose_by(ACTIONS, CONTEXT, stake, USUAL_ORDER, policy, course(is_tired, last_action)).probabilities


def outcomes(policy: PolicySnapshot, customers: int, windows: int, seed: int) -> Iterator[DecisionOutcome]:
    """Let customers live for some windows under a policy; outcomes come window by window."""
    rng = np.random.default_rng(seed)
    tired, last, surprise = [False] * customers, [""] * customers, [(0.0, 0.0)] * customers
    vectors: dict[tuple[bool, str], dict[str, float]] = {}
    for window in range(windows):
        for number in range(customers):
            before = (tired[number], last[number])
            choice = vectors.setdefault(before, vector(policy, *before))
            action = str(rng.choice(list(choice), p=np.array(list(choice.values())) / sum(choice.values())))
            stood = course(*before, surprise[number])
            rate = TIRED_RATE if tired[number] else RESTED_RATE
            rate += {TIRING: TIRING_LIFT, PLEASANT: PLEASANT_LIFT, NOTHING: 0.0}[action]
            ordered = bool(rng.random() < rate)
            tired[number] = action == TIRING
            last[number] = action if action != NOTHING else ""
            surprise[number] = stood.surprise_after(action, choice, {TIRING})
            drawn_ms = NOON_MS + 14 * DAY_MS * window
            yield DecisionOutcome(
                outcome_id=f"o{seed}-{window}-{number}",
                customer_id=f"c{seed}-{number}",
                drawn_at=from_ms(drawn_ms),
                matured_at=from_ms(drawn_ms + 14 * DAY_MS),
                number=window,
                act_number=-1,
                arm="treatment",
                action=action,
                propensity=choice[action],
                alternatives=choice,
                context=CONTEXT,
                tier="high",
                probability=0.7,
                value_at_stake=USUAL_ORDER,
                usual_order=USUAL_ORDER,
                sent=action != NOTHING,
                orders=int(ordered),
                revenue=USUAL_ORDER * ordered,
                redeemed=False,
                unsubscribed=False,
                complained=False,
                cost=0.0,
                reward=CATALOGUE.margin * USUAL_ORDER * ordered,
                policy_version=policy.version,
                catalogue_version=CATALOGUE.version,
                course=stood.columns,
                course_after=course(tired[number], last[number], surprise[number]).columns,
                last_action=before[1],
            )
