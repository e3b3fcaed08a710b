"""Dashboard and alerts speak only of what a worker or trainer exposes, and every alert has a runbook that works."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

from stream_app.adapters.metrics_catalogue import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    PREFIX,
    CounterSpec,
    GaugeSpec,
    HistogramSpec,
    exposed_names,
)
from stream_app.cli.main import COMMANDS, build_app
from stream_app.settings import Settings

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
DASHBOARD = ROOT / "deploy/grafana/dashboards/stream-app.json"
RUNBOOKS = ROOT / "deploy/runbooks"
EVERYWHERE = {"job", "instance", "le"}
"""Labels that Prometheus adds, and the bucket label of histograms."""
WANTED_ALERTS = {
    "StreamAppNoProgress",
    "StreamAppLag",
    "StreamAppDeadLetterFlood",
    "StreamAppStaleModel",
    "StreamAppInterventionJump",
    "StreamAppUnfairTreatment",
    "StreamAppCustomersDrift",
    "StreamAppPolicyRefused",
}


class Query(NamedTuple):
    where: str
    expression: str


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> Iterator[Query]:
    for rule in alerts():
        yield Query(rule["alert"], rule["expr"])
    for panel in panels():
        for target in panel.get("targets", []):
            yield Query(panel["title"], target["expr"])


def spec_of(sample: str) -> CounterSpec | GaugeSpec | HistogramSpec:
    name = sample.removeprefix(PREFIX)
    counters: dict[str, CounterSpec] = {f"{key}_total": spec for key, spec in COUNTERS.items()}
    gauges: dict[str, GaugeSpec] = dict(GAUGES.items())
    histograms: dict[str, HistogramSpec] = {
        f"{key}_{suffix}": spec for key, spec in HISTOGRAMS.items() for suffix in ("bucket", "sum", "count")
    }
    return counters.get(name) or gauges.get(name) or histograms[name]


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_queries_name_only_metrics_and_labels_that_exist(query: Query) -> None:
    samples = set(re.findall(rf"\b{PREFIX}\w+", query.expression))
    assert samples or query.expression.startswith("up")
    assert samples <= exposed_names()

    labels = {label for sample in samples for label in spec_of(sample).labels} | EVERYWHERE
    grouped = {
        label.strip() for group in re.findall(r"\bby \(([^)]*)\)", query.expression) for label in group.split(",")
    }
    assert grouped <= labels
    for sample, matchers in re.findall(rf"({PREFIX}\w+)\{{([^}}]*)\}}", query.expression):
        matched = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        assert matched <= set(spec_of(sample).labels) | EVERYWHERE
        for job in re.findall(r'job="(\w+)"', matchers):
            assert sample in exposed_names(job)


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: query.where)
def test_queries_treat_metrics_by_their_kind(query: Query) -> None:
    for sample in set(re.findall(rf"\b{PREFIX}\w+", query.expression)):
        rated = re.search(rf"\b(rate|increase)\({sample}\b[^)]*\[", query.expression) is not None
        assert rated is not isinstance(spec_of(sample), GaugeSpec), f"{sample}: counters are rated, gauges are not"
        assert ("histogram_quantile" in query.expression) or not sample.endswith("_bucket")
    assert query.expression.count("(") == query.expression.count(")")


def test_the_check_notices_what_is_not_exposed() -> None:
    with pytest.raises(AssertionError):
        test_queries_name_only_metrics_and_labels_that_exist(Query("x", "sum(stream_app_invented_total)"))
    with pytest.raises(AssertionError):
        test_queries_name_only_metrics_and_labels_that_exist(Query("x", "sum by (customer) (stream_app_customers)"))
    with pytest.raises(AssertionError):
        test_queries_name_only_metrics_and_labels_that_exist(Query("x", 'stream_app_checkpoints_total{job="worker"}'))
    with pytest.raises(AssertionError):
        test_queries_treat_metrics_by_their_kind(Query("x", "sum(stream_app_events_total)"))


def test_there_are_the_wanted_alerts_each_with_a_runbook() -> None:
    rules = alerts()
    assert {rule["alert"] for rule in rules} == WANTED_ALERTS
    for rule in rules:
        runbook = ROOT / rule["annotations"]["runbook"]
        assert runbook.read_text().startswith(f"# {rule['alert']}:"), runbook
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {path.name for path in RUNBOOKS.iterdir()} == {Path(rule["annotations"]["runbook"]).name for rule in rules}


@pytest.mark.parametrize("runbook", sorted(RUNBOOKS.iterdir()), ids=lambda path: path.stem)
def test_runbooks_name_commands_settings_metrics_panels_and_files_that_exist(runbook: Path) -> None:
    text = runbook.read_text()
    for name, subcommand in re.findall(r"`stream-app (\w+)(?: ([a-z]+))?", text):
        assert name in COMMANDS
        if subcommand:
            program: Any = typer.main.get_command(build_app(name))
            assert subcommand in program.commands[name].commands
    for variable in re.findall(r"STREAM_APP_([A-Z_]+)(?!\w)(?:\.\.\.)?", text):
        assert any(field.startswith(variable.lower().rstrip("_")) for field in Settings.model_fields), variable
    assert set(re.findall(rf"\b{PREFIX}\w+", text)) <= exposed_names()
    titles = {panel["title"] for panel in panels()}
    for title in re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", text):
        assert any(panel.startswith(title) for panel in titles), title
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (RUNBOOKS / link).exists()


def test_every_metric_is_written_somewhere() -> None:
    sources = "\n".join(
        path.read_text() for path in (ROOT / "stream_app").rglob("*.py") if path.name != "metrics_catalogue.py"
    )
    kinds: dict[str, list[Any]] = {"count": list(COUNTERS), "gauge": list(GAUGES), "observe": list(HISTOGRAMS)}
    for kind, names in kinds.items():
        for name in names:
            # What pupils of the trainer report is set as a gauge when it is out.
            written = rf'\.{kind}\(\s*"{name}"' + (rf'|(Measure|bounds_of)\(\s*"{name}"' if kind == "gauge" else "")
            assert re.search(written, sources), f"nobody writes {name}"


def test_the_dashboard_is_provisioned_and_its_panels_do_not_overlap() -> None:
    provider = yaml.safe_load((ROOT / "deploy/grafana/provisioning/dashboards/stream-app.yml").read_text())
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounts = dict(volume.split(":")[:2] for volume in compose["services"]["grafana"]["volumes"])
    assert mounts["./deploy/grafana/dashboards"] == provider["providers"][0]["options"]["path"]
    datasources = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    uids = {source["uid"] for source in datasources["datasources"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        if "datasource" in panel:
            assert panel["datasource"]["uid"] in uids
    assert len({panel["id"] for panel in panels()}) == len(panels())
