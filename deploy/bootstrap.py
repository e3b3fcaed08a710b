#!/usr/bin/env python3
"""Set up and run stream-app from a fresh clone: `python3 deploy/bootstrap.py demo|test|check|...`.

The Makefile only calls this file, so that machines without make have the same commands. It uses the standard library
alone and runs on Python 3.8, so that a machine whose `python3` is too old hears what to do instead of a syntax error.
It finds a fitting Python, makes `.venv`, installs exactly what the hash-pinned lock names, installs the project itself
in editable mode, and then becomes the command that was asked for. A stamp in `.venv` holds the hash of what is
installed: a second run starts at once.

Environment: STREAM_APP_PYTHON (use this interpreter), STREAM_APP_VENV (another place than `.venv`).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "deploy" / "lock"
OLDEST = (3, 11)
NEWEST_TESTED = (3, 13)
EXIT_FINDING = 1
EXIT_ENVIRONMENT = 3
PROBE_LINES = 3
LOCK_EXTRAS: dict[str, tuple[str, ...]] = {
    "runtime": ("rocksdb",),
    "demo": ("embedded",),
    "dev": ("dev",),
    "bench": ("bench",),
}

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "embedded broker, worker, trainer, simulated shop and a live page; Ctrl-C ends it"),
    "test": ("dev", "the test suite (more arguments go to pytest)"),
    "check": ("dev", "lint, format, types, layers, schemas, then the test suite"),
    "lint": ("dev", "the checks without the test suite"),
    "test-kafka": ("dev", "the integration tests on real Apache Kafka (needs Java 17 and Maven)"),
    "soak": ("dev", "a hundred kills over a million events on Apache Kafka, and then both laws (about an hour)"),
    "bench": ("bench", "the worker beside other stream libraries, on Apache Kafka (.venv-bench; needs Java and Maven)"),
    "install": ("dev", "only make .venv and install everything for development"),
    "lock": ("", "write the lock files anew from pyproject.toml (needs uv)"),
}

LINT_STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lint", ("ruff", "check", ".")),
    ("format", ("ruff", "format", "--check", ".")),
    ("types", ("mypy",)),
    ("layers", ("lint-imports",)),
    ("schemas", ("stream-app", "schemas", "check")),
)


class Interpreter(NamedTuple):
    """A Python that was found, and which of the modules that make a virtual environment it lacks."""

    path: str
    version: tuple[int, int]
    lacks: tuple[str, ...]


def say(text: str) -> None:
    """Tell the person at the terminal; standard error, because a command's own output may be read by a program."""
    print(text, file=sys.stderr, flush=True)


def stop(text: str) -> NoReturn:
    """End because the machine lacks something; the text names the remedy."""
    say("\n" + text)
    raise SystemExit(EXIT_ENVIRONMENT)


def dotted(version: tuple[int, int]) -> str:
    """Return a version as people write it."""
    return f"{version[0]}.{version[1]}"


def probe(path: str) -> Interpreter | None:
    """Return what an interpreter is, or None where it does not run (pyenv leaves shims that only print an error)."""
    code = (
        "import sys, importlib.util as u; print(getattr(sys, '_base_executable', sys.executable));"
        "print(*sys.version_info[:2]);"
        "print(*[m for m in ('venv', 'ensurepip', 'ssl') if u.find_spec(m) is None])"
    )
    try:
        done = subprocess.run(
            [path, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode != 0 or len(lines) < PROBE_LINES:
        return None
    major, minor = lines[1].split()
    return Interpreter(lines[0], (int(major), int(minor)), tuple(lines[2].split()))


def candidates() -> list[str]:
    """Return interpreters to try, the likeliest first."""
    names = ["python3.13", "python3.12", "python3.11", "python3", "python"]
    found = [sys.executable] + [path for path in map(shutil.which, names) if path]
    folders = [Path("/usr/local/bin"), Path("/opt/homebrew/bin"), Path.home() / ".local" / "bin"]
    found += [str(folder / name) for folder in folders for name in names[:3] if (folder / name).exists()]
    pyenv = Path(os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))) / "versions"
    found += [
        str(path) for minor in (13, 12, 11) for path in sorted(pyenv.glob(f"3.{minor}*/bin/python"), reverse=True)
    ]
    return list(dict.fromkeys(found))


def python_remedy() -> str:
    """Return how to get a fitting Python on this system."""
    if sys.platform == "darwin":
        return "    brew install python@3.12"
    if shutil.which("apt-get"):
        return (
            "    sudo apt-get install python3.11 python3.11-venv     (or python3.12, python3.13: what your release has)"
        )
    if shutil.which("dnf"):
        return "    sudo dnf install python3.12"
    return "    install Python 3.12 with your system's package manager, pyenv or uv"


def find_python() -> str:
    """Return the path of an interpreter that can make the environment, or stop with the remedy."""
    wanted = os.environ.get("STREAM_APP_PYTHON")
    seen: list[Interpreter] = []
    for path in [wanted] if wanted else candidates():
        found = probe(path)
        if found is None:
            continue
        if OLDEST <= found.version <= NEWEST_TESTED and not found.lacks:
            return found.path
        seen.append(found)
    fitting = [one for one in seen if one.version >= OLDEST]
    for one in fitting:
        if one.lacks:
            version = dotted(one.version)
            stop(
                "Python {} ({}) has no {}, which it needs to make a virtual environment. Remedy:\n"
                "    sudo apt-get install python{}-venv     (Debian, Ubuntu; elsewhere install a complete Python)\n"
                "then run the same command again.".format(version, one.path, " and no ".join(one.lacks), version)
            )
    if fitting:
        say(f"note: Python {dotted(fitting[0].version)} is newer than what stream-app is tested with; trying it.")
        return fitting[0].path
    what = f"STREAM_APP_PYTHON={wanted} is not" if wanted else "None of the Pythons here is"
    here = ", ".join(sorted({f"{dotted(one.version)} ({one.path})" for one in seen})) or "none"
    stop(f"{what} Python 3.11 or newer. Found: {here}.\nRemedy:\n{python_remedy()}\nthen run the same command again.")


def environment() -> Path:
    """Return the folder of the virtual environment."""
    return Path(os.environ.get("STREAM_APP_VENV") or ROOT / ".venv").absolute()


def python_of(venv: Path) -> Path:
    """Return the interpreter inside a virtual environment."""
    return venv / ("Scripts" if os.name == "nt" else "bin") / ("python.exe" if os.name == "nt" else "python")


def program(python: Path, name: str) -> str:
    """Return a console script that is installed beside an interpreter."""
    return str(python.with_name(name + (".exe" if os.name == "nt" else "")))


def run_quietly(what: str, command: Sequence[str]) -> None:
    """Run an install step; show its output only if it fails."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        say(done.stdout.decode("utf-8", "replace")[-6000:])
        stop(
            f"{what} failed (the reason stands above).\n"
            "Where a download failed, check the network and pip's index setting and run the same command again.\n"
            "Where a package had to be compiled, your platform has no ready wheel for it: use\n"
            "Linux x86-64 or macOS with Python 3.11 to 3.13, or install a C compiler."
        )
    say(f"  {what} ({time.monotonic() - started:.0f} s)")


def make_environment(venv: Path) -> Path:
    """Make the virtual environment unless a usable one is there, and return its interpreter."""
    python = python_of(venv)
    there = probe(str(python)) if python.exists() else None
    if (
        there is not None
        and there.version >= OLDEST
        and subprocess.call(
            [str(python), "-m", "pip", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        == 0
    ):
        return python
    chosen = find_python()
    if venv.exists():
        say(f"  {venv} is unusable (its Python is gone, too old, or it was left half made): making it anew")
    run_quietly(f"made {venv} with {chosen}", [chosen, "-m", "venv", "--clear", str(venv)])
    return python


def fingerprint(lock: str) -> str:
    """Return the hash of everything that decides what an installed lock looks like."""
    parts = (LOCKS / (lock + ".txt")).read_bytes(), (ROOT / "pyproject.toml").read_bytes(), bytes(str(ROOT), "utf-8")
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(venv: Path, lock: str) -> bool:
    """Tell whether an environment holds what a lock names now, by its stamp."""
    stamp = venv / (f".stream-app-{lock}")
    return python_of(venv).exists() and stamp.exists() and stamp.read_text() == fingerprint(lock)


def install(lock: str) -> Path:
    """Make sure that what a lock names, and the project, are installed; return the environment's interpreter."""
    venv = environment()
    python, lock_file = python_of(venv), LOCKS / (lock + ".txt")
    if installed(venv, lock) or (lock == "demo" and installed(venv, "dev")):  # dev.txt holds all of demo.txt
        return python
    say("setting up (only the first time, or after the lock changed; a minute or two on a cold cache)")
    python = make_environment(venv)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
    count = sum(1 for line in lock_file.read_text().splitlines() if line[:1].isalpha())
    run_quietly(
        f"installed {count} pinned packages of {lock_file.name}", [*pip, "--require-hashes", "-r", str(lock_file)]
    )
    run_quietly("installed stream-app itself", [*pip, "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    (venv / (f".stream-app-{lock}")).write_text(fingerprint(lock))
    return python


def become(command: Sequence[str]) -> NoReturn:
    """Turn into the command, so that signals and the exit code are its own."""
    if os.name == "nt":  # exec on Windows returns to the shell at once
        raise SystemExit(subprocess.call(command))
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], list(command))


def lint(python: Path) -> list[str]:
    """Run all checks, each to its end, and return the names of those that failed."""
    failed = []
    for name, words in LINT_STEPS:
        started = time.monotonic()
        say(f"== {name}")
        if subprocess.call([program(python, words[0]), *words[1:]], cwd=str(ROOT)) != 0:
            failed.append(name)
        say("== {} {} ({:.0f} s)".format(name, "FAILED" if name in failed else "passed", time.monotonic() - started))
    return failed


def check(python: Path, rest: Sequence[str]) -> int:
    """Run the checks and the tests, and report all that failed."""
    failed = lint(python)
    say("== tests")
    if subprocess.call([str(python), "-m", "pytest", *rest], cwd=str(ROOT)) != 0:
        failed.append("tests")
    say("check: %s" % ("FAILED: " + ", ".join(failed) if failed else "all passed"))
    return EXIT_FINDING if failed else 0


def need_java(otherwise: str) -> None:
    """Stop with the remedy where Apache Kafka cannot be started from its jars."""
    missing = [tool for tool in ("java", "mvn") if shutil.which(tool) is None]
    if missing:
        stop(
            "Apache Kafka's jars need {}, which is not on PATH.\n"
            "Remedy: sudo apt-get install openjdk-17-jre-headless maven{}".format(" and ".join(missing), otherwise)
        )


def soak(python: Path, rest: Sequence[str]) -> int:
    """Run the long form of the crash laws, its progress on the terminal; STREAM_APP_TEST_SEED=... replays one."""
    need_java(".")
    surroundings = dict(os.environ, STREAM_APP_TEST_BROKER="apache", STREAM_APP_TEST_SOAK="1")
    command = [str(python), "-m", "pytest", "-q", "--capture=no", "tests/kafka/test_soak.py", *rest]
    return subprocess.call(command, cwd=str(ROOT), env=surroundings)


def test_kafka(python: Path, rest: Sequence[str]) -> int:
    """Run the integration suite on Apache Kafka; with STREAM_APP_TEST_BOOTSTRAP neither Java nor Maven is needed."""
    if not os.environ.get("STREAM_APP_TEST_BOOTSTRAP"):
        need_java(",\nor point STREAM_APP_TEST_BOOTSTRAP=host:port at a Kafka of yours.")
    surroundings = dict(os.environ, STREAM_APP_TEST_BROKER="apache")
    return subprocess.call(
        [str(python), "-m", "pytest", "-m", "kafka or apache", *rest], cwd=str(ROOT), env=surroundings
    )


def write_locks() -> None:
    """Resolve pyproject.toml anew into deploy/lock/*.txt: for all platforms, with hashes, naming no index."""
    inside = python_of(environment()).parent / "uv"
    uv = shutil.which("uv") or (str(inside) if inside.exists() else None)
    if uv is None:
        stop(f"Writing the locks needs uv. Remedy: {python_of(environment())} -m pip install uv")
    options = ["--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url"]
    options += ["--no-annotate", "--upgrade", "--quiet", "--custom-compile-command", "make lock"]
    for name, extras in LOCK_EXTRAS.items():
        target = LOCKS / (name + ".txt")
        chosen = [word for extra in extras for word in ("--extra", extra)]
        # demo and dev share one environment, so both take what runtime took; the bench's peers want older libraries
        same = ["--constraint", str(LOCKS / "runtime.txt")] if name in {"demo", "dev"} else []
        command = [
            uv,
            "pip",
            "compile",
            *options,
            *chosen,
            *same,
            "-o",
            str(target),
        ]
        subprocess.run(
            [*command, "pyproject.toml", "deploy/lock/build.in"], cwd=str(ROOT), stdout=subprocess.DEVNULL, check=True
        )
        if "://" in target.read_text():
            stop(f"{target} names a host: only plain versions and hashes may stand in a lock.")
        say(f"  wrote {target.relative_to(ROOT)}")


def main(arguments: Sequence[str]) -> int:
    """Do what was asked for; the exit code is the command's own, or 3 where the machine lacks something."""
    lines = "\n".join(f"  {name:<11} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="bootstrap.py",
        usage="python3 deploy/bootstrap.py COMMAND [arguments of the command]",
        description="commands:\n" + lines,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=sorted(COMMANDS), metavar="COMMAND")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.command == "lock":
        write_locks()
        return 0
    if given.command == "bench":
        # Its own environment: the peers want older libraries than development does.
        os.environ.setdefault("STREAM_APP_VENV", str(ROOT / ".venv-bench"))
    python = install(COMMANDS[given.command][0])
    if given.command == "demo":
        become([program(python, "stream-app"), "demo", *given.rest])
    if given.command == "bench":
        become([program(python, "stream-app"), "bench", *given.rest])
    if given.command == "test":
        os.chdir(str(ROOT))
        become([str(python), "-m", "pytest", *given.rest])
    if given.command == "check":
        return check(python, given.rest)
    if given.command == "lint":
        return EXIT_FINDING if lint(python) else 0
    if given.command == "test-kafka":
        return test_kafka(python, given.rest)
    if given.command == "soak":
        return soak(python, given.rest)
    say(f"installed in {environment()}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
