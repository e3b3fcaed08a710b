"""The product's commands as processes beside a test."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from stream_app.settings import Settings
from tests.support.kafka import text_of_setting


def environment(settings: Settings) -> dict[str, str]:
    """Hand a test's settings to a command."""
    named = {name: value for name, value in os.environ.items() if not name.startswith("STREAM_APP_")}
    return named | {
        f"STREAM_APP_{name.upper()}": text_of_setting(getattr(settings, name)) for name in settings.model_fields_set
    }


@contextlib.contextmanager
def command(settings: Settings, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run `stream-app` beside the test and end it politely."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "stream_app", *arguments], env=environment(settings), stdout=output, stderr=output
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait(10)
