import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.events import OrderEvent, OrderItem
from stream_app.core.features import (
    FEATURE_INDEX,
    FEATURE_LISTS,
    FEATURES,
    FEATURES_HASH,
    RAW_WIDTH,
    featurize,
    list_hash,
    raw_row,
)
from stream_app.core.folds.orders import fold_order
from stream_app.core.packing import pack, pack_rows, quantise, unpack
from stream_app.core.population import BetaGeometric, Population
from stream_app.core.reasons import LANGUAGES, sentence
from stream_app.core.state import CustomerState, OrdersState, new_state
from stream_app.core.times import DAY_MS, from_ms
from tests.support.observed import AT_MS, customers, raw_rows

_POPULATIONS = st.sampled_from(
    [Population(), Population(gap_mean=2.0, repeat_rate=0.02, bgnbd=BetaGeometric(r=0.5, alpha=30.0, a=0.5, b=2.0))]
)


def _value(state: CustomerState, name: str, population: Population | None = None, days_later: float = 0.0) -> float:
    at_ms = AT_MS + int(days_later * DAY_MS)
    row = np.array([raw_row(state, at_ms, 1)], dtype=np.float64)
    return float(featurize(row, population or Population(), 30)[0, FEATURE_INDEX[name]])


def _ordering(*days_ago: float, amount: float = 50.0) -> CustomerState:
    state = new_state()
    state.orders = OrdersState()
    for number, days in enumerate(days_ago):
        at_ms = AT_MS - int(days * DAY_MS)
        event = OrderEvent(
            customer_id="c", timestamp=from_ms(at_ms), event_id=f"o{number}", order_id=f"o{number}", amount=amount,
            items=(OrderItem(product_id="p", quantity=1, unit_price=amount),),
        )  # fmt: skip
        fold_order(state.orders, event, at_ms, amount)
    return state


@given(st.lists(customers(), min_size=1, max_size=12), _POPULATIONS, st.integers(1, 5))
def test_a_row_has_the_same_bits_in_whatever_block_it_stands(
    states: list[CustomerState], population: Population, chunk: int
) -> None:
    raw = raw_rows(states)

    whole = featurize(raw, population, 30)
    parts = [featurize(raw[start : start + chunk], population, 30) for start in range(0, len(raw), chunk)]

    assert whole.tobytes() == np.concatenate(parts).tobytes()


@given(st.lists(customers(), min_size=1, max_size=4), _POPULATIONS)
def test_features_are_always_finite(states: list[CustomerState], population: Population) -> None:
    assert np.isfinite(featurize(raw_rows(states), population, 90)).all()


@given(customers())
def test_packing_gives_back_exactly_what_was_scored(state: CustomerState) -> None:
    row = featurize(raw_rows([state]), Population(), 30)[0]

    packed = pack(row)

    assert unpack(packed, len(FEATURES)).tobytes() == row.tobytes()
    assert len(packed) == (len(FEATURES) + 7) // 8 + 2 * np.count_nonzero(row)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40))
def test_quantised_values_survive_packing_whatever_they_are(values: list[float]) -> None:
    row = quantise(np.array([values]))[0]

    assert unpack(pack(row), len(values)).tobytes() == row.tobytes()
    assert np.array_equal(quantise(row[np.newaxis].astype(np.float64))[0], row)


@given(st.lists(customers(), max_size=6))
def test_rows_of_a_block_are_packed_one_by_one(states: list[CustomerState]) -> None:
    rows = featurize(raw_rows(states), Population(), 30) if states else np.zeros((0, len(FEATURES)), dtype=np.float32)

    packed = pack_rows(rows)

    assert [unpack(each, len(FEATURES)).tobytes() for each in packed] == [row.tobytes() for row in rows]


@pytest.mark.parametrize("cut", [0, 3, -1])
def test_unpacking_refuses_bytes_that_are_no_row(cut: int) -> None:
    packed = pack(quantise(np.arange(40.0)[np.newaxis])[0])

    with pytest.raises(ValueError, match="packed row"):
        unpack(packed[:cut], 40)


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=f"rows of {RAW_WIDTH} numbers"):
        featurize(np.zeros((2, RAW_WIDTH + 1)), Population(), 30)


def test_the_feature_list_is_released_under_its_hash_and_names_are_unique() -> None:
    assert len(FEATURE_INDEX) == len(FEATURES)
    assert all(list_hash(names) == known for known, names in FEATURE_LISTS.items())
    assert FEATURES_HASH in FEATURE_LISTS


def test_the_list_changes_only_on_purpose() -> None:
    # Examples wait in the log under this hash. When the list changes, put the old names into FEATURE_LISTS, then this.
    assert FEATURES_HASH == "136f9ad3b1101044"


def test_order_features_follow_their_formulas() -> None:
    state = _ordering(60.0, 40.0, 10.0)
    population = Population(gap_mean=3.0, gap_variance=0.5, repeat_rate=0.01)
    ln_gaps = np.log([20.0, 30.0])
    mean = (ln_gaps.sum() + 2 * 3.0) / 4
    variance = (((ln_gaps - mean) ** 2).sum() + 3 * 0.5) / 5
    expected = {
        "log_rec": np.log1p(10.0),
        "log_tenure": np.log1p(60.0),
        "log_norders": np.log1p(3),
        "lg_mu": mean,
        "lg_sd": np.sqrt(variance * (1 + 1 / 4)),
        "log_ewma_gap": 0.3 * ln_gaps[1] + 0.7 * (0.3 * ln_gaps[0] + 0.7 * 3.0),
        "gap_trend": ln_gaps[1] - mean,
        "c30": np.log1p(sum(2 ** (-age / 30) for age in (10, 40, 60))),
        "lo_gampois_dec": _gamma_poisson_logit(
            sum(2 ** (-age / 60) for age in (10, 40)), (1 - 2 ** (-60 / 60)) * 60 / np.log(2), 0.01
        ),
        "lo_gampois": _gamma_poisson_logit(2, 60.0, 0.01),
        "single": 0.0,
    }

    actual = {name: _value(state, name, population) for name in expected}

    assert actual == pytest.approx(expected, rel=2e-3)


def _gamma_poisson_logit(purchases: float, exposure: float, rate: float) -> float:
    scale = 0.5 / rate
    silent = ((scale + exposure) / (scale + exposure + 30)) ** (0.5 + purchases)
    return float(np.log(silent / (1 - silent)))


def test_bgnbd_follows_its_formula() -> None:
    fitted = BetaGeometric(r=0.4, alpha=25.0, a=0.6, b=2.5)
    state = _ordering(60.0, 40.0, 10.0)
    x, recency, age = 2, 50.0, 60.0
    dead_odds = fitted.a / (fitted.b + x - 1) * ((fitted.alpha + age) / (fitted.alpha + recency)) ** (fitted.r + x)
    silent = ((fitted.alpha + age) / (fitted.alpha + age + 30)) ** (fitted.r + x)
    churn = 1 - (1 - silent) / (1 + dead_odds)

    actual = _value(state, "lo_bgnbd", Population(bgnbd=fitted))

    assert actual == pytest.approx(np.log(churn / (1 - churn)), rel=2e-3)


@pytest.mark.parametrize("model", ["lo_gampois_dec", "lo_gampois", "lo_bgnbd"])
def test_every_counting_model_sees_more_risk_in_a_longer_silence(model: str) -> None:
    state = _ordering(40.0, 30.0, 20.0, 10.0, 0.0)
    population = Population(bgnbd=BetaGeometric(r=0.5, alpha=30.0, a=0.5, b=2.0))

    risks = [_value(state, model, population, days_later=days) for days in (0.0, 20.0, 60.0, 150.0)]

    assert risks == sorted(risks)
    assert risks[0] < risks[-1]


def test_a_customer_without_clicks_or_texts_has_neutral_values() -> None:
    row = featurize(raw_rows([_ordering(5.0)]), Population(), 30)[0]
    unknown = [f.name for f in FEATURES if f.theme in {"visits", "visit_trend", "interest", "cart", "channel", "voice"}]

    assert {name: float(row[FEATURE_INDEX[name]]) for name in unknown} == dict.fromkeys(unknown, 0.0)


@pytest.mark.parametrize("language", [*LANGUAGES, "zh-CN", "de"])
@given(state=customers())
def test_every_theme_has_a_sentence_for_every_customer(language: str, state: CustomerState) -> None:
    row = featurize(raw_rows([state]), Population(), 30)[0]
    facts = {feature.name: float(value) for feature, value in zip(FEATURES, row, strict=True)}

    sentences = {theme: sentence(theme, facts, language) for theme in {feature.theme for feature in FEATURES}}

    assert all(text.endswith((".", "。")) and text[0] != " " for text in sentences.values())
    assert all(
        any("\u4e00" <= sign <= "\u9fff" for sign in text) for text in sentences.values()
    ) == language.startswith("zh")
