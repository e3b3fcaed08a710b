"""A shop reduced to its decisions: known effects of three actions on two kinds of customers, and outcomes drawn from
them."""

from collections.abc import Iterator

import numpy as np

from stream_app.core.outputs import TIERS, DecisionOutcome
from stream_app.core.times import DAY_MS, from_ms
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.policy import PolicySnapshot, choose_by, context_from, expected_cost
from stream_app.decisions.types import NOTHING
from tests.support.decisions import NOON_MS, SHIPPED

STAKE, USUAL_ORDER, HOLDOUT = 300.0, 60.0, 0.1
EFFECTS = {  # points of the margin at stake, by tier: high customers can be persuaded, critical ones are sleeping dogs
    "coupon-10": {"high": 0.12, "critical": -0.10},
    "product-picks": {"high": 0.03, "critical": 0.02},
    "seasonal-game": {"high": -0.02, "critical": -0.04},
}


def catalogue() -> Catalogue:
    raw = SHIPPED.model_dump(mode="json")
    raw["actions"] = [action for action in raw["actions"] if action["name"] in EFFECTS]
    return Catalogue.model_validate(raw)


CATALOGUE = catalogue()
ACTIONS: dict[str, Action] = {action.name: action for action in CATALOGUE.actions}
MARGIN_AT_STAKE = STAKE * CATALOGUE.margin


def context(tier: int) -> tuple[float, ...]:
    return context_from(tier, (0.0, 0.0, float(np.log1p(STAKE)), 0.0, 0.0, 0.0))


def true_gain(name: str, tier: int) -> float:
    """Return what an action gains over nothing, less its cost."""
    if name == NOTHING:
        return 0.0
    return EFFECTS[name][TIERS[tier]] * MARGIN_AT_STAKE - expected_cost(ACTIONS[name], USUAL_ORDER)


def vector(tier: int, policy: PolicySnapshot) -> dict[str, float]:
    return choose_by(list(ACTIONS.values()), context(tier), MARGIN_AT_STAKE, USUAL_ORDER, policy).probabilities


def outcomes(policy: PolicySnapshot, count: int, seed: int) -> Iterator[DecisionOutcome]:
    """Draw decisions by a policy and what came of them."""
    rng = np.random.default_rng(seed)
    vectors = {tier: vector(tier, policy) for tier in (2, 3)}
    for number in range(count):
        tier = int(rng.integers(2, 4))
        choice = vectors[tier]
        action = str(rng.choice(list(choice), p=np.array(list(choice.values())) / sum(choice.values())))
        held = rng.random() < HOLDOUT
        acted = action != NOTHING and not held
        share = 0.3 if tier == 2 else 0.15
        share += EFFECTS[action][TIERS[tier]] if acted else 0.0
        revenue = STAKE * float(rng.random() < share)
        cost = expected_cost(ACTIONS[action], USUAL_ORDER) if acted else 0.0
        yield DecisionOutcome(
            outcome_id=f"o{seed}-{number}",
            customer_id=f"c{int(rng.integers(0, count // 2 + 2))}",
            drawn_at=from_ms(NOON_MS),
            matured_at=from_ms(NOON_MS + 14 * DAY_MS),
            number=0,
            act_number=0 if action != NOTHING else -1,
            arm="holdout" if held else "treatment",
            action=action,
            propensity=choice[action],
            alternatives=choice,
            context=context(tier),
            tier=TIERS[tier],
            probability=0.7,
            value_at_stake=STAKE,
            usual_order=USUAL_ORDER,
            sent=acted,
            orders=int(revenue > 0),
            revenue=revenue,
            redeemed=False,
            unsubscribed=False,
            complained=False,
            cost=cost,
            reward=CATALOGUE.margin * revenue - cost,
            policy_version=policy.version,
            catalogue_version=CATALOGUE.version,
        )


def value(policy: PolicySnapshot) -> float:
    """Return the expected gain over nothing of a decision by this policy."""
    gains = [sum(p * true_gain(name, tier) for name, p in vector(tier, policy).items()) for tier in (2, 3)]
    return sum(gains) / len(gains)


def oracle() -> float:
    """Return the same for a policy that knows the truth and keeps the floors."""
    total = 0.0
    for tier in (2, 3):
        gains = {name: true_gain(name, tier) for name in (NOTHING, *ACTIONS)}
        best = max(gains, key=lambda name: gains[name])
        floors = {name: 0.05 if name == NOTHING else 0.02 for name in gains}
        free = 1 - sum(floors.values())
        total += sum((floors[name] + free * (name == best)) * gain for name, gain in gains.items())
    return total / 2
