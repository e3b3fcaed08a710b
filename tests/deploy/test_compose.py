"""What of docker-compose.yml, Dockerfile and the Kubernetes files can be checked without their engines."""

import re
from pathlib import Path

import pytest
import typer
import yaml

from stream_app.cli.main import COMMANDS, build_app
from stream_app.settings import Settings
from tests.support.compose import IMAGE, MissingVariableError, Service, compose_services

ROOT = Path(__file__).parents[2]
GIVEN = {"STREAM_APP_API_TOKEN": "t"}


def ours() -> list[Service]:
    return [service for service in compose_services(GIVEN).values() if service.is_ours]


def test_compose_has_the_whole_platform() -> None:
    services = compose_services(GIVEN)

    assert set(services) == {"kafka", "topics", "worker", "trainer", "dashboard", "shop", "prometheus", "grafana"}
    assert [name for name, service in services.items() if "profiles" in service.definition] == ["shop"]
    assert services["shop"].definition["profiles"] == ["demo"]
    assert "healthcheck" in services["kafka"].definition


def test_compose_demands_a_token_and_tells_where_to_put_it() -> None:
    with pytest.raises(MissingVariableError, match=r"in \.env"):
        compose_services({})


@pytest.mark.parametrize("service", ours(), ids=lambda service: service.name)
def test_commands_and_environments_are_ours(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.command[0] in COMMANDS
    group = typer.main.get_command(build_app(service.command[0]))
    group.make_context("stream-app", list(service.command), resilient_parsing=False)
    fields = {f"STREAM_APP_{name.upper()}" for name in Settings.model_fields}
    assert set(service.environment) <= fields
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.bootstrap == "kafka:9092"


def test_services_wait_for_what_they_need_and_can_be_scaled() -> None:
    services = compose_services(GIVEN)
    for service in services.values():
        needed = service.definition.get("depends_on", {})
        assert set(needed) <= set(services)
        if service.is_ours and service.name != "topics":
            assert needed["topics"]["condition"] == "service_completed_successfully"
    assert services["topics"].definition["depends_on"]["kafka"]["condition"] == "service_healthy"
    # Two replicas cannot share a name or a port of the host.
    assert not {"ports", "container_name", "hostname"} & set(services["worker"].definition)


def test_nothing_is_open_beyond_this_machine() -> None:
    for service in compose_services(GIVEN).values():
        for port in service.definition.get("ports", []):
            assert port.startswith("127.0.0.1:"), (service.name, port)


def test_mounted_files_exist_and_volumes_are_declared() -> None:
    parsed = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for service in parsed["services"].values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in parsed["volumes"]


def test_prometheus_scrapes_the_ports_that_are_served() -> None:
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in scraped["scrape_configs"]}
    port = Settings().metrics_port
    assert set(jobs) == {"worker", "trainer"}
    (discovery,) = jobs["worker"]["dns_sd_configs"]
    assert (discovery["names"], discovery["port"]) == (["worker"], port)
    assert jobs["trainer"]["static_configs"][0]["targets"] == [f"trainer:{port}"]
    for name in jobs:
        assert str(port) in compose_services(GIVEN)[name].definition["expose"]
    for rules in scraped["rule_files"]:
        assert (ROOT / "deploy/prometheus" / rules).exists()


def test_the_image_is_built_from_the_lock_by_a_plain_user() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text()
    stages = re.findall(r"^FROM \S+( AS \w+)?$", text, re.MULTILINE)
    installs = re.findall(r"pip install ([^&\n]+)", text)

    assert len(stages) == 2
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)
    final = text.rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER 10001$", final, re.MULTILINE)
    assert 'ENTRYPOINT ["stream-app"]' in final
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert any(source == kept[1:] or source.startswith(kept[1:] + "/") for kept in ignored if kept[0] == "!")
    assert {service.image for service in ours()} == {IMAGE}
