"""Hillstrom's randomised e-mail experiment (2008): known lifts are recovered, and who visits because of an e-mail."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest

from stream_app.decisions.sequences import ArmsTest, DifferenceSequence
from stream_app.decisions.uplift import Floats, OnlineUplift, qini, qini_interval

pytestmark = pytest.mark.data
Row = dict[str, str]
NONE, MENS, WOMENS = "No E-Mail", "Mens E-Mail", "Womens E-Mail"


@pytest.fixture(scope="module")
def rows(data_dir: Path) -> list[Row]:
    with gzip.open(data_dir / "hillstrom" / "hillstrom.csv.gz", "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def visits(rows: list[Row], segment: str) -> list[float]:
    return [float(row["visit"]) for row in rows if row["segment"] == segment]


def test_visit_rates_are_the_published_ones(rows: list[Row]) -> None:
    rates = [np.mean(visits(rows, segment)) for segment in (MENS, WOMENS, NONE)]
    assert [round(100 * float(rate), 1) for rate in rates] == [18.3, 15.1, 10.6]


@pytest.mark.parametrize(("segment", "lift"), [(MENS, 0.0766), (WOMENS, 0.0452)])
def test_the_lift_in_visits_is_recovered_with_a_sound_interval(rows: list[Row], segment: str, lift: float) -> None:
    compared = [row for row in rows if row["segment"] in {segment, NONE}]
    sequence, ratio = DifferenceSequence(0.5, planned=40_000), ArmsTest({segment: 0.5, NONE: 0.5})
    excluded_at = 0
    for row in compared:
        is_treated = row["segment"] == segment
        sequence.add(is_treated, float(row["visit"]), float(np.log(float(row["history"]))))
        ratio.add(row["segment"])
        if not excluded_at and sequence.count % 500 == 0 and sequence.interval(0.05).excludes_zero:
            excluded_at = sequence.count
    found = sequence.interval(0.05)
    sizes = [len(visits(rows, name)) for name in (segment, NONE)]
    fixed = 1.96 * sum(np.var(visits(rows, n)) / s for n, s in zip((segment, NONE), sizes, strict=True)) ** 0.5
    assert found.low < lift < found.high
    assert found.estimate == pytest.approx(lift, abs=0.003)
    assert found.half_width < 2 * fixed
    assert 0 < excluded_at < len(compared) / 4
    assert ratio.p_value > 0.05


def features(rows: list[Row]) -> Floats:
    columns = [
        [1.0] * len(rows),
        [float(row["recency"]) / 12 for row in rows],
        [float(np.log(float(row["history"]))) for row in rows],
        *([float(row[name]) for row in rows] for name in ("mens", "womens", "newbie")),
        *([float(row["channel"] == name) for row in rows] for name in ("Web", "Phone")),
    ]
    return np.column_stack([np.array(column) for column in columns])


@pytest.mark.parametrize("segments", [(WOMENS,), (MENS, WOMENS)], ids=["womens", "any"])
def test_a_one_pass_uplift_model_ranks_better_than_chance(rows: list[Row], segments: tuple[str, ...]) -> None:
    compared = [row for row in rows if row["segment"] in {*segments, NONE}]
    table = features(compared)
    treated = np.array([row["segment"] != NONE for row in compared])
    responses = np.array([float(row["visit"]) for row in compared])
    learning = np.arange(len(compared)) % 2 == 0
    model = OnlineUplift(table.shape[1])
    for row, is_treated, response in zip(table[learning], treated[learning], responses[learning], strict=True):
        model.learn(row, bool(is_treated), float(response))
    effects = model.effects(table[~learning])
    found = qini(effects, treated[~learning], responses[~learning])
    low, high = qini_interval(effects, treated[~learning], responses[~learning], rounds=200, seed=7)
    assert 0 < low < found < high
