"""What the README tells a newcomer is run here, in its order, on a broker of its own."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stream_app.adapters.broker import EmbeddedBroker
from stream_app.core.outputs import Intervention
from stream_app.core.topics import Topic
from stream_app.wire.decode import decode

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SERVICES = {"worker", "trainer", "dashboard"}
"""Commands that run until they are stopped."""

READY_SECONDS = 60


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line]
PRODUCT = [line for line in COMMANDS if line.startswith(("stream-app ", "export ", "curl "))]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Shell:
    """Runs the README's lines one after the other, as a person would who gives each service a terminal of its own."""

    def __init__(self, folder: Path, bootstrap: str) -> None:
        self.folder = folder
        self.ports = {port: str(free_port()) for port in ("9464", "6066", "8080")}
        self.bootstrap = bootstrap
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        # The history of a simulated shop is fed, and someone is to be contacted: what the text says of both.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")} | {
            "PATH": path,
            "STREAM_APP_CLOCK": "event",
            "STREAM_APP_ACTIONS_MODE": "live",
            "STREAM_APP_PARTITIONS": "4",
            "STREAM_APP_METRICS_HOST": "127.0.0.1",
            "STREAM_APP_DASHBOARD_PORT": self.ports["8080"],
        }
        self.services: dict[str, subprocess.Popen[bytes]] = {}

    def here(self, text: str) -> str:
        """Put this test's addresses for those of a machine where nothing else runs."""
        text = text.replace("127.0.0.1:9092", self.bootstrap)
        for port, own in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        return text

    def run(self, line: str) -> str:
        words = shlex.split(self.here(line))
        if words[0] == "export":
            name, _, value = words[1].partition("=")
            self.environment[name] = value
            return ""
        if words[0] == "curl":
            return self.fetch(words[-1])
        assert words[0] == "stream-app", line
        if words[1] in SERVICES:
            self.start(words)
            return ""
        place = ROOT if words[1] == "schemas" else self.folder  # the contracts are a folder of the checkout
        done = subprocess.run(
            words, cwd=place, env=self.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, words: list[str]) -> None:
        ports = ("9464", "6066") if words[1] == "worker" else (None, None)
        metrics, api = (self.ports[port] if port else str(free_port()) for port in ports)
        own = {"STREAM_APP_METRICS_PORT": metrics, "STREAM_APP_API_PORT": api}
        with (self.folder / f"{words[1]}.log").open("wb") as log:
            self.services[words[1]] = subprocess.Popen(
                words, cwd=self.folder, env=self.environment | own, stdout=log, stderr=log
            )

    def fetch(self, url: str) -> str:
        """Ask as curl does, with the patience of a person who has just started a worker."""
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    text: str = answer.read().decode()
                    return text
            except OSError:
                for name, service in self.services.items():
                    assert service.poll() is None, (self.folder / f"{name}.log").read_text()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    def stop(self) -> None:
        for service in self.services.values():
            service.send_signal(signal.SIGTERM)
        for name, service in self.services.items():
            assert service.wait(60) == 0, (self.folder / f"{name}.log").read_text()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with EmbeddedBroker(tmp_path / "broker") as broker:
        shell = Shell(tmp_path, broker.bootstrap)
        try:
            yield shell
        finally:
            for service in shell.services.values():
                service.kill()
                service.wait()


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(900)  # twenty programs are started one after the other
def test_every_command_works_in_the_order_of_the_text(shell: Shell) -> None:
    said = {line: shell.run(line) for line in PRODUCT}
    subscriber = subprocess.Popen(
        [sys.executable, "-c", shell.here(blocks("python")[0])], stdout=subprocess.PIPE, env=shell.environment
    )
    assert subscriber.stdout is not None
    first = subscriber.stdout.readline().decode()  # the test's own time limit ends it where nothing comes
    subscriber.kill()
    subscriber.communicate()
    shell.stop()

    assert re.fullmatch(r"\S+ to c\d+ by \S+, until \S+\n", first)
    assert json.loads(said["stream-app replay shop.jsonl --json"])["interventions"]
    assert "stream_app_" in said["curl -s http://127.0.0.1:9464/metrics"]


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    others = [line for line in COMMANDS if line not in PRODUCT]

    assert all(line.startswith(("make ", "docker compose ")) for line in others), others


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"`?make ([a-z-]+)", README))

    assert {"demo", "test"} <= targets
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert {"demo", "test"} <= set(re.findall(r"deploy/bootstrap\.py ([a-z-]+)", README))


def test_docker_commands_name_services_and_profiles_that_exist() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    scaled = set(re.findall(r"--scale ([a-z]+)=", README))
    profiles = set(re.findall(r"--profile ([a-z]+)", README))

    assert scaled <= set(compose["services"])
    assert profiles <= {name for service in compose["services"].values() for name in service.get("profiles", ())}
    assert all(
        shutil.which("docker") is None or line.startswith("docker compose") for line in COMMANDS if "docker" in line
    )


def test_the_intervention_shown_is_one() -> None:
    shown = blocks("json")[0]

    assert Intervention.model_validate_json(shown).reasons


def test_the_events_shown_are_accepted() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| `(\{.*\})` \|$", README, re.MULTILINE)

    assert [topic for topic, _ in rows] == ["clickstream", "orders", "reviews"]
    for topic, event in rows:
        record = decode(Topic(topic), b"c7", event.encode(), (), 0, 0, 0)
        assert type(record).__name__ == "Record", record


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_subscriber_is_short() -> None:
    assert len(blocks("python")[0].splitlines()) <= 15
