import numpy as np

from stream_app.simulation.actions import ACTION_KINDS
from stream_app.simulation.config import ShopConfig
from stream_app.simulation.oracle import NOTHING, Economics, at_random, effects, oracle, value_of
from stream_app.simulation.people import Kind
from stream_app.simulation.shop import Shop

ECONOMICS = Economics()


def shops() -> list[ShopConfig]:
    return [
        ShopConfig(customers=1000, days=130, seed=seed, existing_share=0.9, texts=False, visits_per_order=0.5)
        for seed in range(2)
    ]


def test_knowing_the_truth_pays_and_shooting_at_random_does_not() -> None:
    nothing = np.array([value_of(None, config, ECONOMICS).value for config in shops()])
    knowing = np.array([value_of(oracle(ECONOMICS), config, ECONOMICS).value for config in shops()])
    blind = np.array([value_of(at_random(0.5, 1), config, ECONOMICS).value for config in shops()])

    assert (knowing > nothing).all()
    assert (blind < knowing).all()
    assert blind.mean() < nothing.mean()


def test_the_oracle_lets_sleeping_dogs_lie_and_sure_things_be() -> None:
    shop = Shop(shops()[0])
    for _ in range(20):
        shop.skip_day()
    who = np.arange(shop.present(19))
    chosen = oracle(ECONOMICS)(shop, who)
    contacted = shop.people.kind[who][chosen != NOTHING]

    assert len(contacted) > 50
    assert set(contacted.tolist()) <= {int(Kind.PERSUADABLE), int(Kind.COUPON_LOVER)}


def test_without_effects_no_policy_changes_revenue_and_the_oracle_stays_silent() -> None:
    config = ShopConfig(customers=300, days=60, seed=1, effects=False)
    nothing, blind = value_of(None, config, ECONOMICS), value_of(at_random(0.5, 1), config, ECONOMICS)

    assert blind.messages > 0
    assert blind.revenue == nothing.revenue
    assert value_of(oracle(ECONOMICS), config, ECONOMICS).messages == 0


def test_effects_have_a_column_per_action() -> None:
    shop = Shop(ShopConfig(customers=50, days=10))
    shop.skip_day()

    assert effects(shop, np.arange(shop.present(0)), 7).shape == (shop.present(0), len(ACTION_KINDS))


def test_skipping_days_is_living_them() -> None:
    lived, skipped = (Shop(ShopConfig(customers=80, days=20, seed=6)) for _ in range(2))
    for _ in lived.events():
        pass
    while skipped.day < 20:
        skipped.skip_day()

    assert lived.revenue.tolist() == skipped.revenue.tolist()
    assert lived.state.mood.tolist() == skipped.state.mood.tolist()
