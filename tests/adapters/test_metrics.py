from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from stream_app.adapters.metrics import CONTENT_TYPE, Metrics, record_effects
from stream_app.adapters.metrics_catalogue import COUNTERS, GAUGES, HISTOGRAMS, exposed_names
from stream_app.core.effects import Effects


def _samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.page().decode())
        for sample in family.samples
    }


@given(st.lists(st.tuples(st.sampled_from(["orders", "reviews"]), st.integers(0, 1_000))))
def test_counters_add_up_per_series(updates: list[tuple[str, int]]) -> None:
    metrics = Metrics()
    expected: Counter[str] = Counter()
    for topic, amount in updates:
        metrics.count("events", amount, topic=topic)
        expected[topic] += amount

    samples = _samples(metrics)

    assert {topic: samples["stream_app_events_total", (("topic", topic),)] for topic in expected} == dict(expected)


@given(st.lists(st.text(min_size=1), min_size=150, max_size=200, unique=True))
def test_series_stay_bounded_and_nothing_counted_is_lost(reasons: list[str]) -> None:
    metrics = Metrics()
    for reason in reasons:
        metrics.count("suppressed", reason=reason)

    series = {key: value for key, value in _samples(metrics).items() if key[0] == "stream_app_suppressed_total"}

    assert len(series) <= COUNTERS["suppressed"].max_series + 1
    assert sum(series.values()) == len(reasons)


def test_a_gauge_beyond_the_bound_is_dropped_and_counted() -> None:
    metrics = Metrics()
    for number in range(GAUGES["customers"].max_series + 3):
        metrics.gauge("customers", 1, tier=f"tier-{number}")

    samples = _samples(metrics)

    assert sum(name == "stream_app_customers" for name, _ in samples) == GAUGES["customers"].max_series
    assert samples["stream_app_metric_series_refused_total", (("metric", "customers"),)] == 3


def test_a_forgotten_partition_leaves_the_page_and_may_come_back() -> None:
    metrics = Metrics()
    metrics.gauge("lag_records", 7, topic="orders", partition="3")
    metrics.forget("lag_records", topic="orders", partition="3")
    metrics.forget("lag_records", topic="orders", partition="4")
    assert not [name for name, _ in _samples(metrics) if name == "stream_app_lag_records"]

    metrics.gauge("lag_records", 2, topic="orders", partition="3")

    assert _samples(metrics)["stream_app_lag_records", (("partition", "3"), ("topic", "orders"))] == 2


def test_wrong_labels_are_named() -> None:
    with pytest.raises(ValueError, match=r"metric events has the labels \['topic'\], not \['customer_id'\]"):
        Metrics().count("events", customer_id="c-1")


def test_every_metric_of_the_catalogue_can_be_written_and_appears_under_its_exposed_name() -> None:
    metrics = Metrics()
    for counter, counter_spec in COUNTERS.items():
        metrics.count(counter, **dict.fromkeys(counter_spec.labels, "x"))
    for gauge, gauge_spec in GAUGES.items():
        metrics.gauge(gauge, 1, **dict.fromkeys(gauge_spec.labels, "x"))
    for histogram, histogram_spec in HISTOGRAMS.items():
        metrics.observe(histogram, 1, **dict.fromkeys(histogram_spec.labels, "x"))

    names = {name for name, _ in _samples(metrics) if not name.endswith("_created") and name.startswith("stream_app_")}

    assert names == exposed_names()


def test_a_process_shows_its_own_metrics_only() -> None:
    assert "stream_app_examples_learned_total" not in exposed_names("worker")
    assert "stream_app_examples_learned_total" in exposed_names("trainer")
    assert "stream_app_lag_records" in exposed_names("worker") & exposed_names("trainer")
    with pytest.raises(KeyError):
        Metrics("worker").count("examples_learned")


def test_engine_steps_of_a_batch_are_counted() -> None:
    metrics = Metrics()
    counts = Counter({"applied": 5, "late": 1, "intervention:coupon": 1})
    record_effects(metrics, Effects(outputs=[], interventions=[], rejected=[], counts=counts))

    steps = {key[1][0][1]: value for key, value in _samples(metrics).items() if key[0].endswith("engine_steps_total")}

    assert steps == {"applied": 5, "late": 1}
    assert CONTENT_TYPE.startswith("text/plain")
