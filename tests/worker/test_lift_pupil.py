"""The trainer's report: the same books whatever the cuts and restarts, shown as a record, on metrics and by workers."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.adapters.metrics import Metrics
from stream_app.adapters.model_registry import ModelRegistry
from stream_app.core.effects import PopulationDay
from stream_app.core.events import CustomerRecord
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import DAY_MS
from stream_app.core.topics import Topic
from stream_app.decisions.policy import prior_snapshot
from stream_app.settings import Settings
from stream_app.worker.lift_pupil import LIFT_REPORT, LiftPupil
from stream_app.worker.pupils import Publication, Pupil
from tests.support.decision_shop import CATALOGUE, HOLDOUT, outcomes
from tests.support.engines import run
from tests.support.logs import START_MS, log_of, order

KIND = LiftPupil.kind(Settings(holdout_share=HOLDOUT))
TOLD = list(outcomes(prior_snapshot(CATALOGUE), 900, 1))
DAYS = [
    PopulationDay(partition, 10, 1, {"orders": 9.0, "assigned:1": 900.0, "assigned:2": 100.0}) for partition in (0, 1)
]


def taught(told: Sequence[DecisionOutcome], cuts: Sequence[int] = (), pupil: Pupil | None = None) -> Pupil:
    pupil = pupil or KIND.fresh()
    bounds = sorted({0, len(told), *(cut for cut in cuts if cut < len(told))})
    for start, end in pairwise(bounds):
        pupil.learn(Topic.OUTCOMES, told[start:end])
    return pupil


def document(of: Publication) -> dict[str, Any]:
    registry = ModelRegistry()
    for record in of.records:
        registry.apply(record.key, record.value, record.headers, 1)
    assert not registry.snapshots
    found: dict[str, Any] = json.loads(registry.reports[LIFT_REPORT])
    return found


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 900), max_size=5), st.integers(0, 900), st.integers(0, 40))
def test_cuts_restarts_and_repeats_leave_no_trace(cuts: list[int], restart_at: int, repeated: int) -> None:
    first = taught(TOLD[:restart_at], cuts)
    second = taught(TOLD[max(0, restart_at - repeated) :], cuts, KIND.restored(first.checkpoint()))
    assert document(second.publication()) == document(taught(TOLD).publication())


def test_a_report_is_due_when_there_is_news() -> None:
    pupil = KIND.fresh()
    assert not pupil.is_due()
    taught(TOLD[:10], pupil=pupil)
    assert pupil.is_due()
    pupil.publication()
    assert not pupil.is_due()
    taught(TOLD[:10], pupil=pupil)
    assert not pupil.is_due()


def test_every_figure_of_the_report_finds_its_metric() -> None:
    publication = taught(TOLD).publication()
    metrics = Metrics("trainer")
    for measure in publication.measures:
        metrics.gauge(measure.name, measure.value, **measure.labels)
    page = metrics.page().decode()
    assert "metric_series_refused_total{" not in page
    assert 'stream_app_lift{bound="estimate",measure="conversion",slice="all"}' in page
    assert 'stream_app_sample_ratio_alarm{ratio="first_triggers"} 0.0' in page
    assert 'stream_app_message_rate{action="coupon-10",rate="redeemed"} 0.0' in page
    unknown = [m for m in publication.measures if m.labels.get("ratio") == "incremental_per_redeemed"]
    assert unknown
    assert all(math.isinf(m.value) or math.isnan(m.value) for m in unknown)


def test_assignments_are_counted_once_from_the_days_of_all_partitions() -> None:
    pupil = KIND.fresh()
    assert pupil.learn(Topic.POPULATION, [*DAYS, *DAYS]) == 2
    (check,) = document(pupil.publication())["ratios"]
    expected = {"name": "assignments", "customers": {"treatment": 1800, "holdout": 200}, "alarm": False}
    assert {name: check[name] for name in expected} == expected


def test_the_engine_counts_each_new_customer_under_its_arm_once() -> None:
    log: list[CustomerRecord] = [order(f"c{n}", START_MS + n) for n in range(50)]
    log += [order(f"c{n}", START_MS + DAY_MS + n) for n in range(50)]
    result = run(log_of(log), [], end_ms=START_MS + 5 * DAY_MS)
    days = [output.body for output, _ in result.outputs if isinstance(output.body, PopulationDay)]
    counts = [sum(day.sums.get(f"assigned:{code}", 0.0) for day in days) for code in (1, 2)]
    assert sum(counts) == 50
    assert min(counts) > 0
