import msgspec
import numpy as np
import pytest

from stream_app.core.features import FEATURE_INDEX, FEATURE_NAMES
from stream_app.core.packing import pack, unpack
from stream_app.evaluation.ablation import FAMILIES, ablate, inputs_without
from stream_app.evaluation.measures import auc
from stream_app.learning.inputs import DEFAULT_INPUTS, feature_of
from tests.support.small_pass import small_pass


def test_every_feature_belongs_to_a_family_but_the_offset_and_the_shops_own() -> None:
    known = {name for features in FAMILIES.values() for name in features}

    assert set(FEATURE_NAMES) - known == {"lo_gampois_dec", "glob_trend"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_taken_out_whole_or_added_whole(family: str) -> None:
    inputs, features = set(inputs_without(family)), set(FAMILIES[family])

    taken, added = set(DEFAULT_INPUTS) - inputs, inputs - set(DEFAULT_INPUTS)

    assert bool(taken) != bool(added)
    if family == "calendar":
        assert taken == {name for name in DEFAULT_INPUTS if feature_of(name) != name or name == "calendar"}
    elif taken:
        assert {feature_of(name) for name in taken} == {feature_of(name) for name in DEFAULT_INPUTS} & features
    else:
        assert added == features


def test_gains_are_of_having_the_family_and_absent_data_are_left_out() -> None:
    result, _ = small_pass()
    judged = result.observed.kind == 1
    asked = ["frequency", "clicks", "season"]

    found = ablate(result.examples, result.learned_before, result.observed, judged, asked)

    assert list(found) == ["", "frequency", "season"]
    served = auc(result.observed.probability[judged], result.observed.churned[judged])
    assert found[""]["auc"] == pytest.approx(served)
    assert found["frequency"]["auc_without"] == pytest.approx(served - found["frequency"]["auc_gain"])
    assert found["frequency"]["in_default_model"]
    assert not found["season"]["in_default_model"]
    assert found["season"]["auc_without"] == pytest.approx(served)
    low, high = found["season"]["auc_gain_interval"]
    assert low < found["season"]["auc_gain"] < high


def test_a_family_that_decides_the_label_shows() -> None:
    # A feature that nobody else tells of, put into the examples: with it the model must be far better.
    result, _ = small_pass()
    random = np.random.default_rng(5)
    examples, rows = [], result.observed.features.copy()
    for index, example in enumerate(result.examples):
        row = unpack(example.features, len(FEATURE_NAMES))
        row[FEATURE_INDEX["sentiment"]] = (0.5 if example.churned else -0.5) + random.normal(0.0, 0.5)
        rows[index] = row
        examples.append(msgspec.structs.replace(example, features=pack(row)))
    observed = type(result.observed)(**(vars(result.observed) | {"features": rows}))

    found = ablate(
        examples, result.learned_before, observed, observed.kind == 1, ["reviews and sentiment", "all texts"]
    )

    gain = found["reviews and sentiment"]
    assert gain["auc_gain"] > 0.05
    assert gain["auc_gain_interval"][0] > 0.0
    assert found["all texts"]["auc_gain"] == gain["auc_gain"]
