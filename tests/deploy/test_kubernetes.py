"""The Kubernetes files agree with the program: commands, settings, ports and probes that exist."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from stream_app.cli.main import build_app
from stream_app.settings import Settings

FILE = Path(__file__).parents[2] / "deploy/kubernetes/stream-app.yaml"
FIELDS = {f"STREAM_APP_{name.upper()}" for name in Settings.model_fields}
SECRETS = {"STREAM_APP_API_TOKEN", "STREAM_APP_MODEL_KEY", "STREAM_APP_SALT"}


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(FILE.read_text()))


def named(kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in documents() if one["kind"] == kind and one["metadata"]["name"] == name)
    return found


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents():
        template = document.get("spec", {}).get("template")
        if template:
            for container in template["spec"]["containers"]:
                yield document["metadata"]["name"], container


@pytest.mark.parametrize(
    ("name", "container"), list(containers()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_containers_run_our_commands_with_our_settings(name: str, container: dict[str, Any]) -> None:
    arguments = container["args"]
    command = typer.main.get_command(build_app(arguments[0]))
    command.make_context("stream-app", list(arguments), resilient_parsing=False)
    assert {variable["name"] for variable in container.get("env", [])} <= FIELDS
    for source in container["envFrom"]:
        assert "secretRef" in source or named("ConfigMap", source["configMapRef"]["name"])
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    for probe in ("readinessProbe", "livenessProbe"):
        if probe in container:
            assert container[probe]["httpGet"]["port"] in ports, name


def test_configuration_is_valid_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    data = named("ConfigMap", "stream-app")["data"]
    assert set(data) <= FIELDS - SECRETS
    assert all(isinstance(value, str) for value in data.values())
    for name, value in data.items():
        monkeypatch.setenv(name, value)
    assert Settings().partitions == int(data["STREAM_APP_PARTITIONS"])
    for secret in SECRETS:
        assert f"--from-literal={secret}=" in FILE.read_text()


def test_workers_are_static_members_that_others_can_reach() -> None:
    worker = named("StatefulSet", "worker")["spec"]
    service = named("Service", worker["serviceName"])["spec"]
    (container,) = worker["template"]["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}

    assert service["clusterIP"] == "None"
    assert service["selector"].items() <= worker["template"]["metadata"]["labels"].items()
    assert variables["STREAM_APP_INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    url = variables["STREAM_APP_API_ADVERTISED_URL"]["value"]
    assert url == f"http://$(STREAM_APP_INSTANCE_ID).{worker['serviceName']}:{ports['api']}"
    assert ports == {"metrics": Settings().metrics_port, "api": Settings().api_port}


def test_the_trainer_is_one_and_keeps_its_checkpoint() -> None:
    trainer = named("StatefulSet", "trainer")["spec"]
    (container,) = trainer["template"]["spec"]["containers"]
    (claim,) = trainer["volumeClaimTemplates"]

    assert trainer["replicas"] == 1
    assert container["volumeMounts"] == [{"name": claim["metadata"]["name"], "mountPath": "/var/lib/stream-app"}]
    assert "STREAM_APP_DATA_DIR=/var/lib/stream-app" in (FILE.parents[1] / "Dockerfile").read_text()
