"""A metric of a worker process, read as Prometheus reads it."""

import re
import urllib.request


def sample(port: int, name: str) -> float:
    """Return an unlabelled metric; 0 where the page does not have it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        found = re.search(rf"^stream_app_{name} (.+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found is not None else 0.0
