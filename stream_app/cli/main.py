"""The `stream-app` program: finds the group that was called, loads only that, and turns failures into exit codes."""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import typer

from stream_app import __version__
from stream_app.cli.errors import ExitCode, explain


class Entry(NamedTuple):
    """Where a command lives: `app` (a group) or `command` (a function) of a module in `stream_app.cli`."""

    module: str
    attribute: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "demo": Entry(
        "demo", "command", "Watch it work: broker, worker, trainer, simulated shop and live page on this machine."
    ),
    "worker": Entry("worker", "command", "Run a worker: events in, scores and interventions out."),
    "trainer": Entry("trainer", "command", "Run the trainer: learns from matured labels, publishes model snapshots."),
    "dashboard": Entry("dashboard", "command", "Serve the live page for retention people."),
    "feed": Entry("feed", "command", "Feed event files to Kafka at any speed."),
    "simulate": Entry("simulate", "command", "Make a plausible shop with known truth, to a file or to Kafka."),
    "replay": Entry("replay", "command", "Run engine and learner over event files, without Kafka."),
    "evaluate": Entry("evaluate", "command", "Measure how well churn is predicted, on event files."),
    "tune": Entry("tune", "command", "Search for a better model and label settings, on event files."),
    "prove": Entry("prove", "app", "Judge scores and drift alarms in simulated shops, whose truth is known."),
    "topics": Entry("topics", "app", "Create the topics, or check how they are set up."),
    "schemas": Entry("schemas", "app", "Export the contracts, or check them."),
    "model": Entry("model", "app", "List, show, pin and roll back model snapshots."),
    "champion": Entry("champion", "app", "Show, promote, approve and roll back the model that serves."),
    "policy": Entry("policy", "app", "Check, compare, judge and learn policies; measure their lift."),
    "report": Entry("report", "report", "Tell what the interventions achieved, against the holdout."),
    "subscribe": Entry("subscribe", "command", "Take interventions off their topic and deliver each once."),
    "approvals": Entry("approvals", "app", "List, approve or reject decisions that wait for a person."),
    "bench": Entry("bench", "app", "Measure speed and latency, beside other stream libraries."),
    "settings": Entry("settings", "command", "Show every setting, its value and where it comes from."),
}
"""Every command, in the order of the help page. Modules are imported only when their command is called."""

EPILOG = """
\b
Examples:
  stream-app topics create                         all topics, on STREAM_APP_BOOTSTRAP
  stream-app worker                                one worker (start more to scale)
  stream-app feed orders.jsonl.gz --topic orders   history, as fast as it goes
  stream-app replay orders.jsonl.gz --json         the same engine on a file, no Kafka
  stream-app simulate --days 365 --out shop.jsonl  a year of a made-up shop

\b
Exit status:
  0  done
  1  the command found something wrong
  2  bad usage or settings
  3  broker or files not reachable
"""


def _show_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


def _root(
    _version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Show the version."),
    _debug: bool = typer.Option(False, "--debug", help="Show a stack trace when something fails."),
) -> None:
    """Streaming churn engine for online shops: Kafka events in, explained interventions out."""


def _stub() -> None:
    """Stand in for a command on the help page; never run."""


def _help_of(command: Callable[..., Any] | None) -> str | None:
    """Return a command's docstring; paragraphs marked by backslash-b are left unwrapped, as examples must be."""
    text = inspect.getdoc(command)
    return text.replace("\\b\n", "\b\n") if text else None


def build_app(called: str | None) -> typer.Typer:
    """Return the program with the real command where it was called, and only names and summaries elsewhere.

    Parameters
    ----------
    called
        Name of the command on the command line; None for the help page.
    """
    app = typer.Typer(
        name="stream-app", no_args_is_help=True, add_completion=False, rich_markup_mode=None, epilog=EPILOG
    )
    app.callback(epilog=EPILOG)(_root)
    for name, entry in COMMANDS.items():
        if name != called:
            app.command(name, short_help=entry.summary)(_stub)
            continue
        target: Any = getattr(import_module(f"stream_app.cli.{entry.module}"), entry.attribute)
        if isinstance(target, typer.Typer):
            for subcommand in target.registered_commands:
                subcommand.help = subcommand.help or _help_of(subcommand.callback)
            app.add_typer(target, name=name, help=entry.summary)
        else:
            app.command(name, help=_help_of(target))(target)
    return app


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with a status of `ExitCode`.

    Parameters
    ----------
    arguments
        Command line without the program's name; None: this process's own.
    """
    # Before numpy is loaded: matrices here are small, so that threads of a linear algebra library cost more than they
    # save, most of all beside other processes. Whoever wants them sets the variable.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    given = list(sys.argv[1:] if arguments is None else arguments)
    called = next((word for word in given if not word.startswith("-")), None)
    # `--debug` works before and after the command, because one wants it after something has just failed.
    debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        command: Any = typer.main.get_command(build_app(called))
        command(args=given, prog_name="stream-app")
    except BrokenPipeError:
        # The reader went away (`| head`): nothing is wrong, and Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.BROKEN_PIPE)
    except (Exception, KeyboardInterrupt) as failure:  # noqa: BLE001 - the one place where failures become exit codes
        message, code = explain(failure)
        if debug:
            traceback.print_exc()
        for number, line in enumerate(message.splitlines() or [type(failure).__name__]):
            print(f"stream-app: {line}" if number == 0 else f"  {line}", file=sys.stderr)
        sys.exit(code)
    sys.exit(ExitCode.OK)
