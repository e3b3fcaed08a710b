import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE)

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def dry_run(*arguments: str) -> str:
    # The suite itself may run under make, whose children tell which folder they enter.
    outside = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    done = subprocess.run(
        ["make", "-n", *arguments], cwd=ROOT, env=outside, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_target_is_phony_and_on_the_help_page() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None

    assert set(TARGETS) == set(phony[1].split())
    assert all(f"make {target}" in MAKEFILE for target in TARGETS if target not in {"help", "lint"})


@needs_make
@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"help", "clean"}))
def test_a_target_only_calls_the_bootstrap(target: str) -> None:
    commands = dry_run(target).splitlines()

    assert len(commands) == 1
    assert re.fullmatch(rf"\S+ deploy/bootstrap\.py {target} *", commands[0])


@needs_make
def test_data_and_arguments_are_handed_on() -> None:
    assert 'demo --data "my orders.jsonl"' in dry_run("demo", "DATA=my orders.jsonl")
    assert "test -k engine" in dry_run("test", "ARGS=-k engine")


def test_nothing_newer_than_make_3_81_is_used() -> None:
    newer = r"\.ONESHELL|\$\(file |!=|::=|\$\(guile|\.RECIPEPREFIX|&:"

    assert not re.search(newer, MAKEFILE)


def test_the_ci_script_runs_both_suites_and_fails_when_one_does(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("java", "mvn"):
        (tools / name).write_text("#!/bin/sh\n")
        (tools / name).chmod(0o755)
    for failing in ("check", "test-kafka", "none"):
        (tools / "make").write_text(f'#!/bin/sh\necho "called $1"\ntest "$1" != {failing}\n')
        (tools / "make").chmod(0o755)
        done = subprocess.run(
            ["bash", str(tmp_path / ".ci" / "run")],
            env={"PATH": f"{tools}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

        assert "called check" in done.stdout
        assert "called test-kafka" in done.stdout
        assert (done.returncode == 0) == (failing == "none")
