"""No broker at all: one line, exit code 3."""

import os
import socket
import subprocess
import sys


def test_an_unreachable_broker_is_said_in_one_line() -> None:
    with socket.socket() as held:
        # Bound and not listening: connections are refused, and nobody else can take the port meanwhile.
        held.bind(("127.0.0.1", 0))
        environment = {**os.environ, "STREAM_APP_BOOTSTRAP": f"127.0.0.1:{held.getsockname()[1]}"}
        done = subprocess.run(
            [sys.executable, "-m", "stream_app", "topics", "check"],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )

    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "STREAM_APP_BOOTSTRAP" in done.stderr
