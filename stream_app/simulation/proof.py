"""What a policy is worth, proven on shops with known truth: seed by seed, quarter by quarter, beside its rivals.

All policies are judged at the same decisions, those that the learning policy came to: each by the true expected gain of
its probability vector (see `ahead`), so that no luck enters. Doing nothing is worth 0. The oracle is the best guess of
the truth that what the engine sees allows, fitted in shops of other seeds; it stands behind the same guardrails and
keeps the same floors.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue
from stream_app.decisions.policy import prior_snapshot
from stream_app.simulation.arena import OWN, Arena, ArenaScale, Contender, Truths
from stream_app.simulation.contenders import Foresight, Learning, Ruled, at_random, of_snapshot
from stream_app.simulation.people import KIND_NAMES, Flags, Kind
from stream_app.simulation.randomness import Floats

ORACLE = "oracle"
QUARTERS = 4
_TEACHING_SEED = 1_000_000
"""Seeds of the shops that teach the oracle begin here: no shop that is judged may be among them."""


class ShopProof(NamedTuple):
    """One shop."""

    seed: int
    values: Mapping[str, Floats]
    """By policy: true expected gain of its choices in each quarter, shop currency; `OWN` is the policy that learns."""
    contact: Mapping[str, Floats]
    """By kind of customer: the learning policy's mean probability of contact in each quarter."""
    oracle_contact: Mapping[str, Floats]
    """The same of the oracle."""
    decisions: int
    messages: int
    learned: int


class Proof(NamedTuple):
    """All shops."""

    shops: tuple[ShopProof, ...]

    @property
    def ratios(self) -> Floats:
        """Value of the learning policy in the last quarter as a share of the oracle's, by shop."""
        return np.array([shop.values[OWN][-1] / shop.values[ORACLE][-1] for shop in self.shops])

    def share(self, name: str) -> Floats:
        """Return a policy's value over all shops, as a share of the oracle's, by quarter."""
        own = np.sum([shop.values[name] for shop in self.shops], axis=0)
        shares: Floats = own / np.sum([shop.values[ORACLE] for shop in self.shops], axis=0)
        return shares

    def mean_contact(self, kind: str) -> Floats:
        """Return the learning policy's mean probability of contact with customers of a kind, by quarter."""
        return np.asarray(np.mean([shop.contact[kind] for shop in self.shops], axis=0), dtype=np.float64)

    def mean_oracle_contact(self, kind: str) -> Floats:
        """Return the oracle's in its place."""
        return np.asarray(np.mean([shop.oracle_contact[kind] for shop in self.shops], axis=0), dtype=np.float64)


def teach_oracle(scale: ArenaScale, catalogue: Catalogue, shops: int) -> Foresight:
    """Return the oracle, taught in shops of its own: one under random choices, the others under the learning policy.

    Under both, because the customers that a policy comes to are of its own making.
    """
    scale = scale._replace(judged_share=0.7, early_judged_share=0.5)
    truths: list[Truths] = []
    for number in range(shops):
        arena = Arena(scale, _TEACHING_SEED + number, catalogue)
        if number == 0:
            truths += arena.run(at_random).truths
        else:
            learner = PolicyLearner(catalogue)
            truths += arena.run(Learning(learner, catalogue), learner).truths
    return Foresight.fitted(truths, catalogue)


def prove(
    scale: ArenaScale,
    catalogue: Catalogue,
    seeds: Sequence[int],
    oracle: Foresight,
    on_shop: Callable[[ShopProof], None] | None = None,
) -> Proof:
    """Let the policy learn in shop after shop, and judge it.

    Parameters
    ----------
    scale
        Of each shop.
    catalogue
        What can be done; its uplifts are the prior.
    seeds
        One shop each.
    oracle
        See `teach_oracle`.
    on_shop
        Called as each shop is done.
    """
    rivals: dict[str, Contender] = {
        ORACLE: oracle,
        "random": at_random,
        "rules": Ruled(catalogue),
        "unlearned": partial(of_snapshot, prior_snapshot(catalogue), catalogue=catalogue),
    }
    shops = []
    for seed in seeds:
        arena = Arena(scale, seed, catalogue)
        learner = PolicyLearner(catalogue)
        ran = arena.run(Learning(learner, catalogue), learner, rivals)
        kinds = arena.shop.people.kind
        who_is = {KIND_NAMES[kind]: kinds == kind for kind in Kind}
        shop = ShopProof(
            seed=seed,
            values={name: by_quarter(ran.truths, scale, value_of(name)) for name in (OWN, *rivals)},
            contact={name: _contact(ran.truths, scale, of, OWN) for name, of in who_is.items()},
            oracle_contact={name: _contact(ran.truths, scale, of, ORACLE) for name, of in who_is.items()},
            decisions=ran.decisions,
            messages=ran.messages,
            learned=learner.learned,
        )
        shops.append(shop)
        if on_shop is not None:
            on_shop(shop)
    return Proof(tuple(shops))


def by_quarter(truths: Sequence[Truths], scale: ArenaScale, of: Callable[[Truths], float]) -> Floats:
    """Return the sums of what is told of the days that were judged, by quarter, for all customers."""
    sums = np.zeros(QUARTERS)
    for each in truths:
        sums[min(each.day * QUARTERS // scale.days, QUARTERS - 1)] += of(each) * each.weight
    return sums


def value_of(name: str) -> Callable[[Truths], float]:
    """Return what tells the true expected gain of a policy's choices on a day."""

    def value(truths: Truths) -> float:
        return float((truths.gains * truths.chosen[name]).sum())

    return value


def _contact(truths: Sequence[Truths], scale: ArenaScale, is_kind: Flags, policy: str) -> Floats:
    def contacted(each: Truths) -> float:
        return float((1.0 - each.chosen[policy][is_kind[each.view.who], 0]).sum())

    def present(each: Truths) -> float:
        return float(is_kind[each.view.who].sum())

    return by_quarter(truths, scale, contacted) / np.maximum(by_quarter(truths, scale, present), 1.0)
