import ast
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the script as a module whose project is a small one in a folder of its own."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "bootstrap_under_test", module)
    spec.loader.exec_module(module)
    (tmp_path / "lock").mkdir()
    for name in ("demo", "dev"):
        (tmp_path / "lock" / f"{name}.txt").write_text(f"{name}==1\n")
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LOCKS", tmp_path / "lock")
    monkeypatch.setenv("STREAM_APP_VENV", str(tmp_path / "venv"))
    return module


def interpreter(folder: Path, name: str, *lines: str, status: int = 0) -> str:
    """Make a program that answers the probe as some Python would."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines) + f"exit {status}\n")
    path.chmod(0o755)
    return str(path)


def test_it_can_be_read_by_the_oldest_python_that_should_hear_its_advice() -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))


def test_it_imports_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_a_python_that_is_too_old_is_named_with_the_remedy(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = interpreter(tmp_path, "old", "/opt/old/python", "3 9", "")
    monkeypatch.setattr(bootstrap, "candidates", lambda: [old])

    with pytest.raises(SystemExit) as ended:
        bootstrap.find_python()

    said = capsys.readouterr().err
    assert ended.value.code == 3
    assert "3.9 (/opt/old/python)" in said
    assert "Remedy" in said
    assert "install" in said


def test_a_python_without_ensurepip_is_told_which_package_to_install(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = interpreter(tmp_path, "bare", "/usr/bin/python3.12", "3 12", "ensurepip")
    monkeypatch.setattr(bootstrap, "candidates", lambda: [bare])

    with pytest.raises(SystemExit) as ended:
        bootstrap.find_python()

    assert ended.value.code == 3
    assert "apt-get install python3.12-venv" in capsys.readouterr().err


def test_the_first_fitting_and_complete_python_is_taken(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        interpreter(tmp_path, "shim", "not here", status=127),
        interpreter(tmp_path, "old", "/old", "3 9", ""),
        interpreter(tmp_path, "bare", "/bare", "3 12", "ensurepip"),
        interpreter(tmp_path, "newer", "/newer", "3 99", ""),
        interpreter(tmp_path, "good", "/good", "3 12", ""),
        interpreter(tmp_path, "later", "/later", "3 13", ""),
    ]
    monkeypatch.setattr(bootstrap, "candidates", lambda: found)

    assert bootstrap.find_python() == "/good"


def test_a_newer_python_is_tried_where_there_is_no_other(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "candidates", lambda: [interpreter(tmp_path, "newer", "/newer", "3 99", "")])

    assert bootstrap.find_python() == "/newer"
    assert "3.99" in capsys.readouterr().err


def test_what_is_installed_is_not_installed_again_until_the_lock_changes(
    bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run_quietly", lambda _, command: steps.append(list(command)))
    monkeypatch.setattr(bootstrap, "make_environment", bootstrap.python_of)
    python = bootstrap.python_of(tmp_path / "venv")
    python.parent.mkdir(parents=True)
    python.touch()

    bootstrap.install("dev")
    first = len(steps)
    bootstrap.install("dev")
    bootstrap.install("demo")
    unchanged = len(steps)
    (tmp_path / "lock" / "dev.txt").write_text("dev==2\n")
    bootstrap.install("dev")

    assert first == 2
    assert unchanged == first, "dev holds all of demo"
    assert len(steps) == 2 * first
    assert "--require-hashes" in steps[0]
    assert "--no-deps" in steps[1]


@pytest.mark.slow
def test_a_broken_environment_is_made_anew(bootstrap: ModuleType, tmp_path: Path) -> None:
    python = bootstrap.python_of(tmp_path / "venv")
    python.parent.mkdir(parents=True)
    python.symlink_to(tmp_path / "python-that-was-removed")

    made = bootstrap.make_environment(tmp_path / "venv")

    assert subprocess.run([str(made), "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0


def test_an_unknown_command_lists_the_known_ones() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "dance"], capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "demo" in done.stderr
