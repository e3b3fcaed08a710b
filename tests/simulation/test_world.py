from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from stream_app.core.times import DAY_MS, iso
from stream_app.simulation.actions import ACTION_KINDS, action_index
from stream_app.simulation.clock_text import date_text, time_text
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.places import REGIONS, utc_offset_ms
from stream_app.simulation.presets import preset_of
from stream_app.simulation.randomness import Chance, customer_keys
from stream_app.simulation.world import World, holidays


def world(drift: Drift, days: int = 400, **more: object) -> World:
    return World(ShopConfig(days=days, drift=drift, **more), Chance(1))  # type: ignore[arg-type]


@given(st.integers(0, 2**62), st.text(max_size=20), st.integers(0, 10_000), st.integers(0, 100))
def test_a_draw_is_a_function_of_its_key_alone(seed: int, purpose: str, day: int, item: int) -> None:
    keys = customer_keys(seed, 50)
    together = Chance(seed).uniforms(purpose, keys, day, item)
    other = Chance(seed)
    other.uniforms("something else", keys)

    assert [float(other.uniforms(purpose, keys[n : n + 1], day, item)[0]) for n in range(50)] == together.tolist()
    assert ((together > 0) & (together < 1)).all()


def test_draws_are_uniform_and_unrelated_over_customers_days_items_and_purposes() -> None:
    chance, keys = Chance(7), customer_keys(7, 20_000)
    columns = [
        chance.uniforms("a", keys, 1, 0),
        chance.uniforms("a", keys, 2, 0),
        chance.uniforms("a", keys, 1, 1),
        chance.uniforms("b", keys, 1, 0),
        chance.uniforms("a", keys[:1], np.arange(20_000)),
        chance.uniforms("a", keys[:1], 0, np.arange(20_000)),
        Chance(8).uniforms("a", keys, 1, 0),
    ]
    for column in columns:
        assert kstest(column, "uniform").pvalue > 1e-4
    correlations = np.corrcoef(columns) - np.eye(len(columns))
    assert np.abs(correlations).max() < 5 / np.sqrt(20_000)


def test_only_seasonal_shops_have_seasons_and_only_drifting_ones_shift() -> None:
    for drift in (Drift.NONE, Drift.ABRUPT, Drift.GRADUAL):
        season = world(drift).season
        assert np.allclose(season[:, :-7], season[:, 7:])  # the week alone
    assert not np.allclose(world(Drift.SEASONAL).season[:, :-7], world(Drift.SEASONAL).season[:, 7:])
    for drift in (Drift.NONE, Drift.SEASONAL):
        assert not world(drift).shift.any()


def test_drift_happens_where_it_is_asked_for() -> None:
    abrupt, gradual = world(Drift.ABRUPT, drift_at=0.25).shift, world(Drift.GRADUAL).shift

    assert np.flatnonzero(np.diff(abrupt)).tolist() == [99]
    assert gradual[:100].max() == 0.0
    assert gradual[301:].min() == 1.0
    assert 0 < np.diff(gradual[100:300]).max() < 0.01


def test_promotions_and_crises_can_be_switched_off() -> None:
    assert world(Drift.NONE).promotions
    assert world(Drift.NONE).crises
    calm = world(Drift.NONE, promotions=False, crises=False)
    assert not calm.promotions
    assert not calm.crises
    assert not calm.discount.any()
    assert not calm.trouble.any()


def test_holidays_fall_where_calendars_have_them() -> None:
    by_name = {holiday.name: holiday.day for holiday in holidays(2025)}

    assert by_name["Black Friday"] == date(2025, 11, 28)
    assert by_name["Lunar New Year"] == date(2025, 1, 29)
    assert by_name["Singles' Day"] == date(2025, 11, 11)


def test_local_clocks_know_summer_time() -> None:
    london = next(region for region in REGIONS if region.name == "gb")
    winter, summer = ((date(2025, month, 1) - date(1970, 1, 1)).days for month in (1, 7))

    assert utc_offset_ms(london, winter) == 0
    assert utc_offset_ms(london, summer) == 3_600_000


@given(st.integers(0, 40_000), st.integers(0, DAY_MS - 1))
def test_fast_times_are_written_as_the_core_writes_them(day: int, ms_of_day: int) -> None:
    assert time_text(date_text(day), ms_of_day) == iso(day * DAY_MS + ms_of_day)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((kind, kind) for kind in ACTION_KINDS),
        ("VIP service", "vip_service"),
        ("call-back", "personal_care"),
        ("coupon-20", "coupon"),
        ("anything else", "promotion_news"),
    ],
)
def test_catalogues_of_others_are_understood(name: str, kind: str) -> None:
    assert ACTION_KINDS[action_index(name)] == kind


@pytest.mark.parametrize(
    "wrong",
    [
        {"customers": 0},
        {"days": 4000},
        {"seed": -1},
        {"drift_at": 1.5},
        {"products": 3},
        {"visits_per_order": 0},
        {"horizons_days": ()},
        {"browser_share": -0.1},
    ],
)
def test_what_cannot_be_simulated_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShopConfig(**wrong)  # type: ignore[arg-type]


def test_an_unknown_preset_names_those_there_are() -> None:
    with pytest.raises(ValueError, match="cdnow"):
        preset_of("amazon")
