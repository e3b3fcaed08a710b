"""A duel is fair: one shop and one luck for all, money that is exact, and silence that costs and brings nothing."""

import json

import numpy as np
import pytest

from stream_app.cli.main import main
from stream_app.simulation.arena import OWN, Arena, ArenaScale
from stream_app.simulation.duel import BANDIT, FLOORS, LIVES, Q_LEARNING, SILENCE, ShopDuel, duel, reluctant, silent
from stream_app.simulation.shop import Shop
from tests.support.decisions import SHIPPED

SCALE = ArenaScale(customers=300, days=112, early_judged_share=1.0, judged_share=1.0)


@pytest.fixture(scope="module")
def shop() -> ShopDuel:
    [found] = duel(SCALE, SHIPPED, [3])
    return found


def test_every_policy_lives_through_the_same_shop_and_again_so(shop: ShopDuel) -> None:
    assert set(shop.lives) == {SILENCE, *LIVES}
    [again] = duel(SCALE, SHIPPED, [3], [Q_LEARNING])
    assert again.lives[Q_LEARNING].money.tolist() == shop.lives[Q_LEARNING].money.tolist()
    assert again.lives[SILENCE].money.tolist() == shop.lives[SILENCE].money.tolist()
    assert shop.lives[BANDIT].money.tolist() != shop.lives[Q_LEARNING].money.tolist()


def test_silence_is_the_shop_that_nobody_writes_to(shop: ShopDuel) -> None:
    untouched = Shop(SCALE.shop(3))
    for _ in range(SCALE.days):
        untouched.skip_day()
    treated = Arena(SCALE, 3, SHIPPED).is_treated
    life = shop.lives[SILENCE]
    assert life.money.sum() == pytest.approx(SHIPPED.margin * untouched.revenue[treated].sum())
    assert (life.messages, life.gains.sum()) == (0, 0.0)
    assert shop.money_above_silence(SILENCE).tolist() == [0.0] * 4


def test_floors_write_less_than_those_who_want_to_and_more_than_silence(shop: ShopDuel) -> None:
    assert 0 < shop.lives[FLOORS].messages < min(shop.lives[name].messages for name in LIVES if name != FLOORS)


def test_costs_are_those_of_the_messages_that_were_sent() -> None:
    arena = Arena(SCALE, 3, SHIPPED)
    ran = arena.run(reluctant)
    costs = [action.cost for action in SHIPPED.actions]
    sent = sum(flags[arena.is_treated].sum(axis=0) for flags in arena.sight.sent_on.values())
    assert int(np.sum(sent)) == ran.messages
    assert arena.spent.sum() >= float(np.dot(sent, costs))
    assert not arena.spent[~arena.is_treated].any()
    assert not Arena(SCALE, 3, SHIPPED).run(silent).messages
    assert all(vectors.chosen[OWN].sum(axis=1) == pytest.approx(1.0) for vectors in ran.truths)


def test_the_command_tells_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["policy", "duel", "--seeds", "1", "--customers", "200", "--days", "112", "--json", "--least", "-1000"])
    assert end.value.code in {0, None}
    told = json.loads(capsys.readouterr().out)
    assert set(told["shops"][0]["policies"]) == set(LIVES)
    assert told["sequences_above_bandit"]["standard_error"] is None
