import re
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.learning.learner import Learner
from stream_app.learning.specs import cautions, check_specs, create_spec
from stream_app.learning.zoo.chunks import Waiting
from stream_app.learning.zoo.descent import AdaGrad
from stream_app.learning.zoo.platt import PlattScaling
from stream_app.learning.zoo.registry import ENTRIES, create, knobs_of, options_of
from stream_app.learning.zoo.scaling import CLIP, Repeats, RunningScaler
from tests.support.observed import shop_rows

_IMPORTANCES = st.lists(st.floats(0.0, 10.0), max_size=60)
_ROWS = st.lists(st.tuples(st.floats(-100.0, 100.0), st.floats(0.1, 5.0)), min_size=3, max_size=40)


@given(_IMPORTANCES)
def test_repeats_add_up_to_the_importances(importances: list[float]) -> None:
    repeats = Repeats()

    assert abs(sum(map(repeats.of, importances)) - sum(importances)) <= 1.0


@given(st.integers(1, 200))
def test_ordinary_rows_are_learned_once(count: int) -> None:
    repeats = Repeats()

    assert [repeats.of(1.0) for _ in range(count)] == [1] * count


@given(_ROWS)
def test_the_scaler_is_the_weighted_mean_and_variance(rows: list[tuple[float, float]]) -> None:
    scaler = RunningScaler(1)
    for value, weight in rows:
        scaler.learn(np.array([value]), weight)
    values, weights = np.array(rows).T
    mean = np.average(values, weights=weights)

    assert scaler.mean[0] == pytest.approx(mean, abs=1e-7)
    assert scaler.squares[0] == pytest.approx(weights @ (values - mean) ** 2, rel=1e-6, abs=1e-6)
    assert np.abs(scaler.transform(np.array([[1e9], [-1e9]]))).max() <= CLIP
    again = RunningScaler(1)
    again.load(scaler.dump())
    assert again.dump() == scaler.dump()


def test_platt_scaling_finds_slope_and_shift_of_a_margin() -> None:
    random, platt = np.random.default_rng(2), PlattScaling()
    margins = random.normal(0.0, 3.0, 6_000)
    labels = random.random(6_000) < 1.0 / (1.0 + np.exp(-(0.4 * margins - 0.7)))
    for margin, label in zip(margins.tolist(), labels.tolist(), strict=True):
        platt.learn(margin, float(label), 1.0)

    assert platt.slope == pytest.approx(0.4, abs=0.05)
    assert platt.shift == pytest.approx(-0.7, abs=0.1)


def test_a_margin_that_points_the_wrong_way_is_not_believed() -> None:
    platt = PlattScaling()
    for margin in np.random.default_rng(3).normal(0.0, 1.0, 500).tolist():
        platt.learn(margin, float(margin < 0), 1.0)

    assert platt.slope == 0.0


@given(st.lists(st.integers(1, 9), max_size=8))
def test_chunks_do_not_depend_on_when_the_rest_was_saved(cuts: Sequence[int]) -> None:
    whole, saved = Waiting(2, 4), Waiting(2, 4)
    for number in range(sum(cuts)):
        row = np.array([float(number), -float(number)])
        one, other = whole.add(row, number % 2 == 0, 1.0), saved.add(row, number % 2 == 0, 1.0)
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert one.rows.tolist() == other.rows.tolist()
            assert one.churned.tolist() == other.churned.tolist()
        if number % 3 == 0:
            restored = Waiting(2, 4)
            restored.load(saved.dump())
            saved = restored


def test_descent_goes_down_and_refuses_another_shape() -> None:
    descent = AdaGrad(np.array([3.0, -2.0]), rate=0.5, l2=0.0)
    for _ in range(400):
        descent.step(2.0 * descent.weights)

    assert np.abs(descent.weights).max() < 0.01
    with pytest.raises(ValueError, match="2 weights have 4 numbers"):
        descent.load([1.0])


@pytest.mark.parametrize("name", ENTRIES)
def test_every_option_has_a_default_within_its_range(name: str) -> None:
    for knob in knobs_of(name).values():
        assert knob.low <= knob.default <= knob.high
        assert not knob.logarithmic or knob.low > 0


def test_families_of_inputs_are_left_out_by_an_option() -> None:
    plain, lean = create("kalman"), create_spec("kalman:crossed=0,visits=0,voice=0,value=0")

    assert set(lean.inputs.names) < set(plain.inputs.names)
    assert not {"c30*calendar", "clicks_30", "sentiment", "log_dec_amt"} & set(lean.inputs.names)
    assert "c30" in lean.inputs.names
    with pytest.raises(ValueError, match="has no option 'crossed'"):
        options_of("stacked", {"crossed": 0.0})


def test_an_unknown_model_is_told_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"unknown model 'oracle': choose one of kalman, .*stacked"):
        create("oracle")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("adagrad:rate=nan", "rate is nan, but must be a finite number"),
        ("adagrad:rate=inf", "finite"),
        ("adagrad:rate=0", "above 0"),
        ("adagrad:l2=-1", "0 or more"),
        ("mlp:hidden=0", "hidden is 0, but must be 1 or more"),
        ("mlp:hidden=2.5", "whole number"),
        ("mlp:seed=-1", "0 or more"),
        ("alma:alpha=1.5", "1 or less"),
        ("kalman:voice=2", "1 or less"),
    ],
)
def test_an_impossible_option_is_refused_before_anything_learns(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        check_specs("kalman", [spec])


def test_what_remembers_every_example_is_no_challenger() -> None:
    create_spec("mondrian-forest:trees=3")
    with pytest.raises(ValueError, match=r"'mondrian-forest:trees=3' remembers every example.*adaptive-random-forest"):
        check_specs("kalman", ["adagrad", "mondrian-forest:trees=3"])


def test_slow_challengers_are_cautioned_against_and_others_are_not() -> None:
    said = cautions(["adagrad", "boosting:trees=3", "random-patches", "knn"])

    assert [sentence.split()[1] for sentence in said] == ["boosting:trees=3", "random-patches"]


def test_a_champion_may_have_options_and_keeps_them_over_a_restart() -> None:
    check_specs("kalman:prior_variance=0.01", ["kalman"])
    with pytest.raises(ValueError, match="no array form"):
        check_specs("knn:neighbours=10", [])

    learner = Learner(30, "kalman:prior_variance=0.01")
    restored = Learner.restore(learner.checkpoint())

    assert restored.spec == "kalman:prior_variance=0.01"
    assert restored.snapshot() == learner.snapshot()
    assert restored.snapshot() != Learner(30, "kalman").snapshot()


@pytest.mark.parametrize("name", ENTRIES)
def test_no_value_that_is_searched_is_impossible(name: str) -> None:
    for knob in knobs_of(name).values():
        assert [knob.refusal(float(value)) for value in (knob.low, knob.default, knob.high)] == ["", "", ""]


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if "l2" in entry.knobs])
def test_regularisation_keeps_what_is_learned_small(name: str) -> None:
    if ENTRIES[name].extra:
        pytest.importorskip("deep_river", reason=f"model {name} needs the extra {ENTRIES[name].extra!r}")
    features, churned = shop_rows(300)

    def size(l2: float) -> float:
        model = create(name, None, {"l2": l2})
        model.learn(features, churned, np.ones(len(churned)))
        logits = np.log(model.predict(features) / (1.0 - model.predict(features)))
        return float(np.std(logits))

    free, bound = size(0.0), size(ENTRIES[name].knobs["l2"].high)
    assert bound < free
