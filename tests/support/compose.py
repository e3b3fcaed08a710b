"""docker-compose.yml without Docker: services with their variables filled in, and run as plain processes."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
IMAGE = "stream-app:latest"


class Service(NamedTuple):
    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    definition: dict[str, Any]

    @property
    def is_ours(self) -> bool:
        return self.image == IMAGE


class MissingVariableError(Exception):
    """A variable that Compose demands; the message is the one that it would show."""


def compose_services(variables: Mapping[str, str]) -> dict[str, Service]:
    text = (ROOT / "docker-compose.yml").read_text()
    parsed = yaml.safe_load(text)
    return {
        name: Service(
            name,
            definition["image"],
            [filled(part, variables) for part in definition.get("command", [])],
            {key: filled(value, variables) for key, value in definition.get("environment", {}).items()},
            definition,
        )
        for name, definition in parsed["services"].items()
    }


def filled(value: str, variables: Mapping[str, str]) -> str:
    """Fill in ${NAME:-default} and ${NAME:?message} as Compose does: an empty variable counts as absent."""
    assert isinstance(value, str), f"{value!r}: Compose takes strings, quote it"

    def fill(match: re.Match[str]) -> str:
        given = variables.get(match["name"], "")
        if given or match["kind"] == "-":
            return given or match["rest"]
        raise MissingVariableError(match["rest"])

    return re.sub(r"\$\{(?P<name>\w+):(?P<kind>[-?])(?P<rest>[^}]*)\}", fill, value)


def run_as_process(service: Service, changes: Mapping[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a service's command with its environment; output goes to <folder>/<name>.log."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
    environment = {**inherited, **service.environment, **changes, "PYTHONPATH": str(ROOT)}
    with (folder / f"{service.name}.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "stream_app", *service.command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
