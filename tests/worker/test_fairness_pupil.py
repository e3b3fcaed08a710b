"""The trainer's fairness report: the same whatever the cuts and restarts, shown on metrics, and seen by no model."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.core.effects import TrainingExample
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.worker.fairness_pupil import FAIRNESS_REPORT, NAME, FairnessPupil
from stream_app.worker.pupils import Publication, Pupil
from stream_app.worker.trainer import pupils_of
from tests.support.decision_shop import CATALOGUE, outcomes
from tests.support.observed import examples_of, shop_rows

COUNT = 600
KIND = FairnessPupil.kind(Settings(fairness_attributes=("gender",)))


def group(number: int) -> dict[str, str]:
    return {"gender": "ab"[number % 2]}


def told() -> tuple[list[TrainingExample], list[DecisionOutcome]]:
    rows, labels = shop_rows(COUNT)
    labelled = [
        msgspec.structs.replace(
            each, kind=1, groups=group(number), contacts=number % 2, arm=1, at_ms=each.at_ms + number * DAY_MS
        )
        for number, each in enumerate(examples_of(rows, labels))
    ]
    matured = [
        each.model_copy(update={"groups": group(number), "offer": 5.0, "sent": True})
        for number, each in enumerate(outcomes(prior_snapshot(CATALOGUE), COUNT, 1))
    ]
    return labelled, matured


LABELLED, MATURED = told()


def taught(first: int, last: int, cuts: Sequence[int] = (), pupil: Pupil | None = None) -> Pupil:
    pupil = pupil or KIND.fresh()
    for start, end in pairwise(sorted({first, last, *(cut for cut in cuts if first < cut < last)})):
        pupil.learn(Topic.TRAINING, LABELLED[start:end])
        pupil.learn(Topic.OUTCOMES, MATURED[start:end])
    return pupil


def document(of: Publication) -> dict[str, Any]:
    registry = ModelRegistry()
    for record in of.records:
        registry.apply(record.key, record.value, record.headers, 1)
    assert not registry.snapshots
    found: dict[str, Any] = json.loads(registry.reports[FAIRNESS_REPORT])
    return found


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, COUNT), max_size=5), st.integers(0, COUNT), st.integers(0, 40))
def test_cuts_restarts_and_repeats_leave_no_trace(cuts: list[int], restart_at: int, repeated: int) -> None:
    first = taught(0, restart_at, cuts)
    second = taught(max(0, restart_at - repeated), COUNT, cuts, KIND.restored(first.checkpoint()))
    assert document(second.publication()) == document(taught(0, COUNT).publication())


def test_a_report_is_due_when_there_is_news() -> None:
    pupil = KIND.fresh()
    assert not pupil.is_due()
    taught(0, 100, pupil=pupil)
    assert pupil.is_due()
    pupil.publication()
    taught(0, 100, pupil=pupil)
    assert not pupil.is_due()


def test_without_attributes_nothing_is_ever_published() -> None:
    kind = FairnessPupil.kind(Settings())
    pupil = kind.fresh()
    assert pupil.learn(Topic.TRAINING, LABELLED) == pupil.learn(Topic.OUTCOMES, MATURED) == 0
    assert not kind.restored(taught(0, COUNT).checkpoint()).is_due()


def test_the_report_names_both_groups_and_every_figure_finds_its_metric() -> None:
    publication = taught(0, COUNT).publication()
    (attribute,) = document(publication)["attributes"]
    assert {each["group"] for each in attribute["groups"]} == {"a", "b"}
    assert document(publication)["alarm"] is True
    metrics = Metrics("trainer")
    for measure in publication.measures:
        metrics.gauge(measure.name, measure.value, **measure.labels)
    page = metrics.page().decode()
    assert "metric_series_refused_total{" not in page
    assert 'stream_app_fairness_alarm{attribute="gender",measure="contact_rate"} 1.0' in page
    assert 'stream_app_fairness{attribute="gender",bound="estimate",group="a",measure="contact_rate"} 0.0' in page
    assert 'stream_app_fairness_observed{attribute="gender",group="b",measure="offer_value"} 300.0' in page


def test_four_attributes_of_many_groups_fit_on_the_page() -> None:
    names = ("a", "b", "c", "d")
    pupil = FairnessPupil.kind(Settings(fairness_attributes=names)).fresh()
    for _ in range(30):
        for number, each in enumerate(LABELLED):
            groups = dict.fromkeys(names, f"g{number % 20}" if number % 50 else "")
            copy = msgspec.structs.replace(each, example_id=f"{each.example_id}/{_}", groups=groups)
            pupil.learn(Topic.TRAINING, [copy])
    metrics = Metrics("trainer")
    for measure in pupil.publication().measures:
        metrics.gauge(measure.name, measure.value, **measure.labels)
    page = metrics.page().decode()
    assert "metric_series_refused_total{" not in page
    assert page.count("stream_app_fairness_observed{") == 4 * 14 * 3


def test_no_model_and_no_policy_learns_from_what_customers_declare(tmp_path: Path) -> None:
    config = Settings(data_dir=tmp_path, fairness_attributes=("gender",))
    kinds = [kind for kind in pupils_of(config) if kind.name != NAME]
    assert {"churn", "policy", "lift"} <= {kind.name for kind in kinds}
    undeclared = [msgspec.structs.replace(each, groups={}) for each in LABELLED]
    silent = [each.model_copy(update={"groups": {}}) for each in MATURED]
    for kind in kinds:
        bodies = []
        for labelled, matured in ((LABELLED, MATURED), (undeclared, silent)):
            pupil = kind.fresh()
            if Topic.TRAINING in kind.topics:
                pupil.learn(Topic.TRAINING, labelled)
            if Topic.OUTCOMES in kind.topics:
                pupil.learn(Topic.OUTCOMES, matured)
            bodies.append(pupil.checkpoint())
        assert bodies[0] == bodies[1]
