"""Every command of docker-compose.yml with its environment, as plain processes against the broker of this session."""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_app.adapters.broker import ApacheKafka, EmbeddedBroker, free_port
from stream_app.adapters.metrics_catalogue import PREFIX
from tests.support.compose import Service, compose_services, run_as_process

ROOT = Path(__file__).parents[2]
TOKEN = "compose-test-token"
VARIABLES = {
    "STREAM_APP_API_TOKEN": TOKEN,
    "STREAM_APP_CLOCK": "event",
    "STREAM_APP_ACTIONS_MODE": "live",
}


def get(url: str, token: str = "") -> tuple[int, str]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def eventually(what: str, condition: Callable[[], bool], seconds: float, crew: "Crew") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        crew.check()
        assert time.monotonic() < deadline, f"{what} did not come about in {seconds:.0f} s\n{crew.logs()}"
        time.sleep(0.2)


class Crew:
    """The services of one test, as processes; those that Compose gives a port of their own have one here."""

    def __init__(self, bootstrap: str, folder: Path) -> None:
        self.folder = folder
        self.services = {name: one for name, one in compose_services(VARIABLES).items() if one.is_ours}
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, dict[str, int]] = {}
        self._bootstrap = bootstrap

    def start(self, name: str) -> subprocess.Popen[bytes]:
        ports = self.ports[name] = {kind: free_port() for kind in ("metrics", "api", "dashboard")}
        changes = {f"STREAM_APP_{kind.upper()}_PORT": str(port) for kind, port in ports.items()}
        changes |= {"STREAM_APP_BOOTSTRAP": self._bootstrap, "STREAM_APP_DATA_DIR": str(self.folder / f"{name}-data")}
        self.running[name] = run_as_process(self.services[name], changes, self.folder)
        return self.running[name]

    def url(self, name: str, kind: str, path: str) -> str:
        return f"http://127.0.0.1:{self.ports[name][kind]}{path}"

    def check(self) -> None:
        for name, process in self.running.items():
            assert process.poll() in {None, 0}, f"{name} ended with status {process.returncode}\n{self.logs(name)}"

    def logs(self, *names: str) -> str:
        wanted = names or tuple(self.running)
        return "\n".join(f"--- {name}\n{(self.folder / f'{name}.log').read_text()[-3_000:]}" for name in wanted)

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(grace_seconds(self.services[name]))

    def end(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


def grace_seconds(service: Service) -> float:
    grace = str(service.definition.get("stop_grace_period", "10s"))
    return float(grace.removesuffix("s"))


@pytest.fixture
def crew(broker: EmbeddedBroker | ApacheKafka | None, tmp_path: Path) -> Iterator[Crew]:
    if broker is None:
        pytest.skip("the topics of a given broker are not ours to fill: names are Compose's own here")
    crew = Crew(broker.bootstrap, tmp_path)
    try:
        yield crew
    finally:
        crew.end()


def total(page: str, metric: str) -> float:
    return sum(float(value) for value in re.findall(rf"^{PREFIX}{metric}(?:\{{.*\}})? ([\d.e+]+)$", page, re.MULTILINE))


@pytest.mark.slow
def test_every_compose_command_runs_as_a_plain_process(crew: Crew) -> None:
    assert crew.start("topics").wait(90) == 0, crew.logs("topics")
    del crew.running["topics"]
    for name in ("worker", "trainer", "dashboard"):
        crew.start(name)
    for name in ("worker", "trainer"):
        ready = crew.url(name, "metrics", "/readyz")
        eventually(f"{name} ready", lambda ready=ready: get(ready)[0] == 200, 90, crew)  # type: ignore[misc]
    eventually("live page", lambda: get(crew.url("dashboard", "dashboard", "/healthz"))[0] == 200, 60, crew)
    crew.start("shop")
    worker_page = crew.url("worker", "metrics", "/metrics")
    eventually("events of the shop", lambda: total(get(worker_page)[1], "events_total") > 500, 120, crew)

    # The healthcheck that Docker would run.
    for name in ("worker", "trainer"):
        kind, *command = crew.services[name].definition["healthcheck"]["test"]
        assert (kind, command[0]) == ("CMD", "python")
        probe = [part.replace(":9464/", f":{crew.ports[name]['metrics']}/") for part in command[1:]]
        assert subprocess.run([sys.executable, *probe], check=False).returncode == 0

    # /v1 wants the token, which the live page does, too.
    status_url = crew.url("worker", "api", "/v1/status")
    assert get(status_url)[0] == 401
    status = json.loads(get(status_url, TOKEN)[1])
    assert len(status["partitions"]) == 12
    assert get(crew.url("dashboard", "dashboard", "/"))[0] == 401
    assert get(crew.url("dashboard", "dashboard", "/"), TOKEN)[0] == 200

    # Dashboard and alerts find what they ask for on the pages of these very processes.
    asked = "".join(
        (ROOT / "deploy" / path).read_text() for path in ("prometheus/alerts.yml", "grafana/dashboards/stream-app.json")
    )
    pages = get(worker_page)[1] + get(crew.url("trainer", "metrics", "/metrics"))[1]
    shown = set(re.findall(rf"^# TYPE ({PREFIX}\w+) ", pages, re.MULTILINE))
    for sample in set(re.findall(rf"\b{PREFIX}\w+", asked)):
        assert {sample, re.sub("_(bucket|sum|count)$", "", sample)} & shown, sample

    for name in ("shop", "dashboard", "trainer", "worker"):
        # The shop is a plain program that SIGTERM ends (Compose gives it an init process for that).
        assert crew.stop(name) == (-signal.SIGTERM if name == "shop" else 0), crew.logs()
