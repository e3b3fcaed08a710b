"""Every metric that stream-app can expose: name, kind, meaning, labels. Dashboard and alerts are checked against it."""

from typing import Literal, NamedTuple

PREFIX = "stream_app_"
"""Stands before every name on the page."""

CounterName = Literal[
    "events",
    "engine_steps",
    "dead_letters",
    "rerouted",
    "interventions",
    "suppressed",
    "warnings",
    "expired_interventions",
    "changelog_records",
    "changelog_bytes",
    "foreign_changelog_records",
    "outbox_resends",
    "alignment_waits_exceeded",
    "recovered_records",
    "standby_records",
    "standby_failures",
    "rebalances",
    "ticks_sent",
    "snapshots_loaded",
    "snapshots_refused",
    "snapshots_published",
    "catalogues_loaded",
    "catalogues_refused",
    "policies_loaded",
    "policies_refused",
    "examples_learned",
    "examples_skipped",
    "population_days",
    "checkpoints",
    "api_requests",
    "metric_series_refused",
]
GaugeName = Literal[
    "lag_records",
    "watermark_timestamp_seconds",
    "buffered_records",
    "partitions_owned",
    "customers",
    "ready",
    "recovery_remaining_records",
    "recovery_records_per_second",
    "recovery_records_per_customer",
    "standby_partitions",
    "standby_lag_records",
    "last_progress_timestamp_seconds",
    "interventions_enabled",
    "model_info",
    "catalogue_info",
    "policy_info",
    "policy_learned_outcomes",
    "q_policy_learned_outcomes",
    "model_published_timestamp_seconds",
    "model_trained_through_timestamp_seconds",
    "model_trained_examples",
    "model_quality",
    "last_checkpoint_timestamp_seconds",
    "lift",
    "lift_ratio",
    "lift_customers",
    "lift_outcomes",
    "lift_through_timestamp_seconds",
    "message_rate",
    "messages_sent",
    "sample_ratio_p_value",
    "sample_ratio_alarm",
    "fairness",
    "fairness_observed",
    "fairness_comparison",
    "fairness_bound",
    "fairness_alarm",
    "build_info",
]
HistogramName = Literal[
    "batch_seconds",
    "batch_records",
    "end_to_end_seconds",
    "changelog_seconds",
    "recovery_seconds",
    "checkpoint_seconds",
]
MetricName = CounterName | GaugeName | HistogramName
Process = Literal["worker", "trainer", "both"]

LATENCY_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
RECORDS = (1.0, 5.0, 10.0, 50.0, 100.0, 500.0, 1_000.0, 5_000.0, 10_000.0, 50_000.0)


class CounterSpec(NamedTuple):
    """A number that only grows; the page appends `_total` to its name."""

    help: str
    labels: tuple[str, ...] = ()
    process: Process = "worker"
    max_series: int = 100


class GaugeSpec(NamedTuple):
    """A number that goes up and down."""

    help: str
    labels: tuple[str, ...] = ()
    process: Process = "worker"
    max_series: int = 100


class HistogramSpec(NamedTuple):
    """Observations counted into buckets; the page has `_bucket`, `_sum` and `_count`."""

    help: str
    buckets: tuple[float, ...]
    labels: tuple[str, ...] = ()
    process: Process = "worker"
    max_series: int = 100


_PARTITION_SERIES = 20_000
"""Bound of series per topic and partition: 18 topics of up to 1,024 partitions."""

_LIFT_SERIES = 2_000

_FAIRNESS_SERIES = 600
"""Four attributes of fourteen groups, three measures, three bounds."""

COUNTERS: dict[CounterName, CounterSpec] = {
    "events": CounterSpec("Input records applied to customer states, or found to be repeats, by topic.", ("topic",)),
    "engine_steps": CounterSpec(
        "What the engine did: applied, duplicates, late, timers, points, observations, ...", ("step",)
    ),
    "dead_letters": CounterSpec("Records refused, by topic and reason code.", ("topic", "reason")),
    "rerouted": CounterSpec(
        "Records re-published by customer_id: null_key, foreign_key or wrong_partition.", ("topic", "cause")
    ),
    "interventions": CounterSpec("Interventions sent, by action of the catalogue.", ("action",)),
    "suppressed": CounterSpec("Decisions not to contact, by reason code.", ("reason",)),
    "warnings": CounterSpec("Tier changes published, by the tier entered.", ("tier",)),
    "expired_interventions": CounterSpec("Interventions dropped unsent because they were too old.", ("action",)),
    "changelog_records": CounterSpec("Customer states and partition records written to the changelog."),
    "changelog_bytes": CounterSpec("Bytes of changelog values written."),
    "foreign_changelog_records": CounterSpec("Changelog records of another owner that were found and repaired."),
    "outbox_resends": CounterSpec("Interventions sent again from the outbox of a former owner."),
    "alignment_waits_exceeded": CounterSpec("Times that a lagging topic was no longer waited for.", ("topic",)),
    "recovered_records": CounterSpec("Changelog records read while restoring."),
    "standby_records": CounterSpec("Changelog records read for standby copies of other workers' partitions."),
    "standby_failures": CounterSpec("Standby copies that could not be kept: their takeover will read more."),
    "rebalances": CounterSpec("Rebalances of the consumer group that this process took part in.", (), "both"),
    "ticks_sent": CounterSpec("Records written to the ticks topic for idle partitions."),
    "snapshots_loaded": CounterSpec("Model snapshots put into service."),
    "snapshots_refused": CounterSpec("Model snapshots that were not served, by reason code.", ("reason",)),
    "catalogues_loaded": CounterSpec("Changed action catalogues put into force without a restart."),
    "catalogues_refused": CounterSpec("Changed action catalogues that were wrong: the last good one stays in force."),
    "policies_loaded": CounterSpec("Learned policies put into force without a restart."),
    "policies_refused": CounterSpec(
        "Learned policies that were not taken over: the one before stays in force.", ("reason",)
    ),
    "snapshots_published": CounterSpec("Model snapshots published.", (), "trainer"),
    "examples_learned": CounterSpec("Training examples learned.", (), "trainer"),
    "examples_skipped": CounterSpec("Training examples not learned: repeated, malformed.", ("reason",), "trainer"),
    "population_days": CounterSpec("Daily population sums merged.", (), "trainer"),
    "checkpoints": CounterSpec("Checkpoints written.", (), "trainer"),
    "api_requests": CounterSpec("Requests to /v1, by route and HTTP status.", ("route", "status")),
    "metric_series_refused": CounterSpec(
        "Updates folded into 'other' or dropped by a bound on label values.", ("metric",), "both"
    ),
}

GAUGES: dict[GaugeName, GaugeSpec] = {
    "lag_records": GaugeSpec(
        "Records between the committed position and the end of the log.",
        ("topic", "partition"),
        "both",
        _PARTITION_SERIES,
    ),
    "watermark_timestamp_seconds": GaugeSpec(
        "Event time that a partition has reached.", ("partition",), "worker", 1_024
    ),
    "buffered_records": GaugeSpec("Records fetched and not yet processed."),
    "partitions_owned": GaugeSpec("Customer partitions that this worker owns."),
    "customers": GaugeSpec("Customers of this worker's partitions by tier.", ("tier",)),
    "ready": GaugeSpec("1 while recovered and not rebalancing.", (), "both"),
    "recovery_remaining_records": GaugeSpec("Changelog records still to be read before processing starts."),
    "recovery_records_per_second": GaugeSpec("How fast the changelog was read at the newest assignment."),
    "recovery_records_per_customer": GaugeSpec(
        "Changelog records read for each customer at the newest assignment: compaction falls behind where it grows."
    ),
    "standby_partitions": GaugeSpec("Partitions of other workers of which this one keeps a warm copy."),
    "standby_lag_records": GaugeSpec("Changelog records that the standby copies of this worker have still to read."),
    "last_progress_timestamp_seconds": GaugeSpec(
        "Wall time at which this process last finished a batch or had nothing to do.", (), "both"
    ),
    "interventions_enabled": GaugeSpec("0 while the kill switch is thrown."),
    "catalogue_info": GaugeSpec("1 for the version of the action catalogue in force.", ("version",)),
    "policy_info": GaugeSpec("1 for the version of the policy in force.", ("version",)),
    "policy_learned_outcomes": GaugeSpec("Matured decisions that the published policy learned from.", (), "trainer"),
    "q_policy_learned_outcomes": GaugeSpec("The same of the policy over sequences of contacts.", (), "trainer"),
    "model_info": GaugeSpec("1 for the model version in force.", ("version", "horizon_days"), "both"),
    "model_published_timestamp_seconds": GaugeSpec("When the model in force was published; 0: the prior.", (), "both"),
    "model_trained_through_timestamp_seconds": GaugeSpec("Event time through which the model has learned.", (), "both"),
    "model_trained_examples": GaugeSpec("Examples that the model has learned.", (), "both"),
    "model_quality": GaugeSpec(
        "Prequential quality of served scores by measure: auc, log_loss, brier, ece, ...", ("measure",), "both"
    ),
    "last_checkpoint_timestamp_seconds": GaugeSpec("When the newest checkpoint was written.", (), "trainer"),
    "lift": GaugeSpec(
        "Difference per customer in 14 days, treated less held out, by slice (all, tier:, action:, experiment:), "
        "measure (conversion, revenue, margin, cost) and bound (estimate, low, high; infinite: nothing can be said).",
        ("slice", "measure", "bound"),
        "trainer",
        _LIFT_SERIES,
    ),
    "lift_ratio": GaugeSpec(
        "Ratios of differences by slice: cost_per_saved, return_on_cost, incremental_per_redeemed; infinite bounds "
        "where the denominator may be 0.",
        ("slice", "ratio", "bound"),
        "trainer",
        _LIFT_SERIES,
    ),
    "lift_customers": GaugeSpec(
        "Customers compared, by slice and group (treated, held).", ("slice", "group"), "trainer", _LIFT_SERIES
    ),
    "lift_outcomes": GaugeSpec("Matured decisions in the report.", (), "trainer"),
    "lift_through_timestamp_seconds": GaugeSpec(
        "Event time through which decisions in the report matured.", (), "trainer"
    ),
    "message_rate": GaugeSpec(
        "What became of messages, as shares of those sent, by action: converted, opened, clicked, redeemed, responded, "
        "unsubscribed, complained.",
        ("action", "rate"),
        "trainer",
        400,
    ),
    "messages_sent": GaugeSpec("Messages sent whose outcome has matured, by action.", ("action",), "trainer"),
    "sample_ratio_p_value": GaugeSpec(
        "Anytime-valid p-value of the arms' configured shares, by what is watched: assignments, first_triggers, "
        "experiment:.",
        ("ratio",),
        "trainer",
    ),
    "sample_ratio_alarm": GaugeSpec(
        "1: arms are not filled as configured, do not trust the comparison.", ("ratio",), "trainer"
    ),
    "fairness": GaugeSpec(
        "How a group is treated, by declared attribute, group, measure (contact_rate, offer_value, score_error) and "
        "bound (estimate, low, high; infinite: nothing can be said). Groups of fewer than 30 are not shown.",
        ("attribute", "group", "measure", "bound"),
        "trainer",
        _FAIRNESS_SERIES,
    ),
    "fairness_observed": GaugeSpec(
        "Windows, offers and labels that this rests on, by measure.",
        ("attribute", "group", "measure"),
        "trainer",
        _FAIRNESS_SERIES,
    ),
    "fairness_comparison": GaugeSpec(
        "The two groups that are furthest apart: ratio of contact rates and of offers, difference of score errors.",
        ("attribute", "measure", "bound"),
        "trainer",
    ),
    "fairness_bound": GaugeSpec("The bound of that comparison.", ("attribute", "measure"), "trainer"),
    "fairness_alarm": GaugeSpec(
        "1: the comparison is certainly beyond its bound, whenever it is looked at.",
        ("attribute", "measure"),
        "trainer",
    ),
    "build_info": GaugeSpec("1; the version of stream-app.", ("version",), "both"),
}

HISTOGRAMS: dict[HistogramName, HistogramSpec] = {
    "batch_seconds": HistogramSpec(
        "Time from a micro-batch's first step to its acknowledgement.", LATENCY_SECONDS, (), "both"
    ),
    "batch_records": HistogramSpec("Records in a micro-batch.", RECORDS, (), "both"),
    "end_to_end_seconds": HistogramSpec(
        "From the Kafka timestamp of a batch's oldest record to the acknowledgement of the batch's outputs.",
        LATENCY_SECONDS,
    ),
    "changelog_seconds": HistogramSpec("Time to write a batch's changelog.", LATENCY_SECONDS),
    "recovery_seconds": HistogramSpec("Time to restore partitions after an assignment.", LATENCY_SECONDS),
    "checkpoint_seconds": HistogramSpec("Time to write a checkpoint.", LATENCY_SECONDS, (), "trainer"),
}


def exposed_names(process: Process = "both") -> frozenset[str]:
    """Return every sample name that a page of `process` can hold, with the suffixes that Prometheus sees."""

    def shown(by: Process) -> bool:
        return process == "both" or by in {"both", process}

    names = {PREFIX + name + "_total" for name, counter in COUNTERS.items() if shown(counter.process)}
    names |= {PREFIX + name for name, gauge in GAUGES.items() if shown(gauge.process)}
    for name, histogram in HISTOGRAMS.items():
        if shown(histogram.process):
            names |= {PREFIX + name + suffix for suffix in ("_bucket", "_sum", "_count")}
    return frozenset(names)
