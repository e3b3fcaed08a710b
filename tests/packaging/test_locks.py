import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "deploy" / "lock").glob("*.txt"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")
EXTRAS_OF = {"runtime": ("rocksdb",), "demo": ("embedded",), "dev": ("dev",), "bench": ("bench",)}


def pins(lock: Path) -> list[Requirement]:
    text = lock.read_text().replace("\\\n", " ")
    rows = [line.split(" --hash")[0].strip() for line in text.splitlines() if line[:1].isalnum()]
    return [Requirement(row) for row in rows]


def versions(lock: Path, python: str) -> dict[str, str]:
    """Return what a lock installs on Linux with a Python."""
    environment = {"python_version": python, "python_full_version": f"{python}.1", "sys_platform": "linux"}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins(lock)
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def wanted(extras: tuple[str, ...]) -> list[Requirement]:
    """Return the direct requirements of a set of extras, with those of the extras that they name."""
    found = [Requirement(row) for row in PROJECT["dependencies"]]
    for extra in extras:
        for row in PROJECT["optional-dependencies"][extra]:
            one = Requirement(row)
            found += wanted(tuple(sorted(one.extras))) if one.name == PROJECT["name"] else [one]
    return found


def test_there_is_a_lock_for_every_purpose() -> None:
    assert {lock.stem for lock in LOCKS} == set(EXTRAS_OF)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_every_pin_is_exact_and_hashed_and_names_no_host(lock: Path) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", lock.read_text(), flags=re.IGNORECASE)[1:]

    assert "://" not in lock.read_text()
    assert len(blocks) == len(pins(lock))
    for block in blocks:
        assert re.match(r"[a-z0-9._-]+(\[[^]]*\])?==", block, re.IGNORECASE), block[:80]
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block[:80]


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_holds_what_the_project_asks_for(lock: Path, python: str) -> None:
    held = versions(lock, python)
    for requirement in wanted(EXTRAS_OF[lock.stem]):
        if requirement.marker is not None and not requirement.marker.evaluate({"python_version": python}):
            continue
        version = held.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is missing: run make lock"
        assert requirement.specifier.contains(Version(version)), (
            f"{requirement}, but {version} is locked: run make lock"
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_dev_holds_all_of_demo_in_the_same_versions(python: str) -> None:
    by_name = {lock.stem: versions(lock, python) for lock in LOCKS}

    assert by_name["demo"].items() <= by_name["dev"].items()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_building_the_project_needs_nothing_unpinned(lock: Path) -> None:
    assert {"hatchling", "editables"} <= set(versions(lock, "3.12"))
