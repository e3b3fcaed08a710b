"""Metrics of one process: typed by the catalogue, updated once a batch, shown on one Prometheus page.

Labels never hold anything about a person. The number of series of each metric is bounded, so that a topic full of
surprises cannot fill Prometheus: the surplus of a counter or histogram goes to the series "other", that of a gauge is
dropped, and both are counted.
"""

import collections
from collections.abc import Mapping
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from stream_app.adapters.metrics_catalogue import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    PREFIX,
    CounterName,
    CounterSpec,
    GaugeName,
    GaugeSpec,
    HistogramName,
    HistogramSpec,
    MetricName,
    Process,
)
from stream_app.core.effects import Effects
from stream_app.core.outputs import Intervention, SuppressedIntervention
from stream_app.core.told import WarningTold
from stream_app.core.topics import Topic

CONTENT_TYPE = "text/plain; version=1.0.0; charset=utf-8"
OTHER = "other"


class Recorder(Protocol):
    """Where code puts its numbers: `Metrics` in a process, `RecordingMetrics` in tests."""

    def count(self, name: CounterName, amount: float = 1, /, **labels: str) -> None:
        """Add `amount` (at least 0) to a counter."""
        ...

    def gauge(self, name: GaugeName, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, name: HistogramName, value: float, /, **labels: str) -> None:
        """Add one observation to a histogram."""
        ...

    def forget(self, name: GaugeName, /, **labels: str) -> None:
        """Take a gauge's series off the page, as when its partition has gone to another worker; it need not exist."""
        ...


class Metrics:
    """The metrics of this process in a registry of its own. Safe to use from several threads.

    Parameters
    ----------
    process
        Which of the catalogue's metrics the page has: a trainer's page has no empty worker metrics.
    """

    def __init__(self, process: Process = "both") -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self.registry)
        self._series: dict[tuple[str, tuple[str, ...]], Counter | Gauge | Histogram] = {}
        self._counts_of_series: dict[str, int] = {}
        self._counters = {
            name: Counter(PREFIX + name, spec.help, spec.labels, registry=self.registry)
            for name, spec in COUNTERS.items()
            if _belongs(spec, process)
        }
        self._gauges = {
            name: Gauge(PREFIX + name, spec.help, spec.labels, registry=self.registry)
            for name, spec in GAUGES.items()
            if _belongs(spec, process)
        }
        self._histograms = {
            name: Histogram(PREFIX + name, spec.help, spec.labels, buckets=spec.buckets, registry=self.registry)
            for name, spec in HISTOGRAMS.items()
            if _belongs(spec, process)
        }

    def count(self, name: CounterName, amount: float = 1, /, **labels: str) -> None:
        """Add `amount` (at least 0) to a counter."""
        series = self._child(name, self._counters[name], COUNTERS[name], labels)
        if isinstance(series, Counter):
            series.inc(amount)

    def gauge(self, name: GaugeName, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        series = self._child(name, self._gauges[name], GAUGES[name], labels)
        if isinstance(series, Gauge):
            series.set(value)

    def observe(self, name: HistogramName, value: float, /, **labels: str) -> None:
        """Add one observation to a histogram."""
        series = self._child(name, self._histograms[name], HISTOGRAMS[name], labels)
        if isinstance(series, Histogram):
            series.observe(value)

    def forget(self, name: GaugeName, /, **labels: str) -> None:
        """Take a gauge's series off the page, as when its partition has gone to another worker; it need not exist."""
        values = _values(name, GAUGES[name], labels)
        if self._series.pop((name, values), None) is not None:
            self._counts_of_series[name] -= 1
            self._gauges[name].remove(*values)

    def total(self, name: CounterName) -> float:
        """Return a counter's sum over its labels; 0 where this process has no such counter."""
        counter = self._counters.get(name)
        if counter is None:
            return 0.0
        samples = (sample for family in counter.collect() for sample in family.samples)
        return sum(sample.value for sample in samples if sample.name.endswith("_total"))

    def page(self) -> bytes:
        """Return the page that Prometheus reads (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def _child(
        self,
        name: MetricName,
        parent: Counter | Gauge | Histogram,
        spec: CounterSpec | GaugeSpec | HistogramSpec,
        labels: Mapping[str, str],
    ) -> Counter | Gauge | Histogram | None:
        if not spec.labels:
            _values(name, spec, labels)
            return parent
        values = _values(name, spec, labels)
        key = (name, values)
        series = self._series.get(key)
        if series is not None:
            return series
        if self._counts_of_series.get(name, 0) >= spec.max_series and set(values) != {OTHER}:
            self.count("metric_series_refused", metric=name)
            if isinstance(spec, GaugeSpec):
                return None
            return self._child(name, parent, spec, dict.fromkeys(spec.labels, OTHER))
        series = parent.labels(*values)
        self._series[key] = series
        self._counts_of_series[name] = self._counts_of_series.get(name, 0) + 1
        return series


def record_effects(metrics: Recorder, effects: Effects) -> None:
    """Count what one batch led to: engine steps, interventions by action, suppressions by reason, tier changes.

    Call it once the batch's outputs are acknowledged, so that the page shows what has really left.
    """
    for step, amount in effects.counts.items():
        if ":" not in step:  # actions and reasons have metrics of their own
            metrics.count("engine_steps", amount, step=step)
    for output in effects.interventions:
        if isinstance(output.body, Intervention):
            metrics.count("interventions", action=output.body.action)
    suppressed: collections.Counter[str] = collections.Counter()
    warnings: collections.Counter[str] = collections.Counter()
    for output in effects.outputs:
        if isinstance(output.body, WarningTold):
            warnings[output.body.tier] += 1
        elif output.topic is Topic.SUPPRESSED and isinstance(output.body, SuppressedIntervention):
            suppressed[output.body.reason] += 1
    for reason, amount in suppressed.items():
        metrics.count("suppressed", amount, reason=reason)
    for tier, amount in warnings.items():
        metrics.count("warnings", amount, tier=tier)


def _belongs(spec: CounterSpec | GaugeSpec | HistogramSpec, process: Process) -> bool:
    return process == "both" or spec.process in {"both", process}


def _values(
    name: MetricName, spec: CounterSpec | GaugeSpec | HistogramSpec, labels: Mapping[str, str]
) -> tuple[str, ...]:
    if len(labels) == len(spec.labels):
        try:
            return tuple([labels[label] for label in spec.labels])
        except KeyError:
            pass
    raise ValueError(f"metric {name} has the labels {list(spec.labels)}, not {sorted(labels)}")
