import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

REGISTRIES = re.compile(r"py[p]i\.org|pythonhost[e]d|npm[j]s\.|deb[.]debian|maven[2]?\.(org|apache)")
"""Written so that it does not find itself."""


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def test_only_the_ci_script_knows_where_shared_data_lie(tracked: list[Path]) -> None:
    naming = {str(path.relative_to(ROOT)) for path in tracked if "../" + "shared" in read(path)}

    assert naming <= {".ci/run"}


def test_no_package_registry_is_named(tracked: list[Path]) -> None:
    assert [str(path) for path in tracked if REGISTRIES.search(read(path))] == []


def test_no_module_is_longer_than_400_lines(tracked: list[Path]) -> None:
    long = {
        str(path.relative_to(ROOT)): count
        for path in tracked
        if path.suffix == ".py" and path.is_relative_to(ROOT / "stream_app") and (count := read(path).count("\n")) > 400
    }

    assert long == {}
