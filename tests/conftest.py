"""What all tests share: the folder of real event data, and settings that do not depend on this machine."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from stream_app.settings import Settings

# Shared machines are slow at times: a law that is slow is not a law that is broken.
hypothesis_settings.register_profile(
    "shared", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True, print_blob=True
)
hypothesis_settings.load_profile(os.environ.get("STREAM_APP_TEST_HYPOTHESIS", "shared"))

KEPT = ("STREAM_APP_TEST_", "STREAM_APP_DEMO_")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real event files; tests that need it skip, with the reason, where there is none."""
    configured = os.environ.get("STREAM_APP_TEST_DATA")
    if not configured:
        pytest.skip("no real event data here: set STREAM_APP_TEST_DATA to its folder")
    folder = Path(configured)
    if not folder.is_dir():
        pytest.skip(f"STREAM_APP_TEST_DATA names no folder: {configured}")
    return folder


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own STREAM_APP_ variables and .env file from every test."""
    for name in list(os.environ):
        if name.upper().startswith("STREAM_APP_") and not name.upper().startswith(KEPT):
            monkeypatch.delenv(name)
    monkeypatch.setitem(Settings.model_config, "env_file", None)
