"""`stream-app settings`: every setting, its value and where it comes from; secrets masked."""

import difflib
import json
import os
from typing import Any

import typer
from pydantic import SecretStr
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource
from rich.console import Console
from rich.text import Text

from stream_app.settings import ENV_PREFIX, Settings, load_settings

MASK = "********"
_FOREIGN_PREFIXES = (ENV_PREFIX + "TEST_", ENV_PREFIX + "DEMO_")
"""Variables of the test suite and of `make demo`, which are no settings."""


def command(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON array instead of text."),
    changed: bool = typer.Option(False, "--changed", help="Show only what is not at its default."),
) -> None:
    r"""Show every setting, its value and where it comes from; secrets are masked.

    Settings are read from environment variables STREAM_APP_<NAME>, then from a file .env in the current folder.

    \b
    Examples:
      stream-app settings
      stream-app settings --json
      STREAM_APP_CLOCK=event stream-app settings --changed
    """
    rows = [row for row in describe(load_settings()) if not changed or row["source"] != "default"]
    unknown = unknown_variables()
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        _print_rows(rows)
    for name in unknown:
        close = difflib.get_close_matches(name, [row["variable"] for row in describe(load_settings())], n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        print_warning(f"{name} is set, and is no setting{hint}")


def describe(settings: Settings) -> list[dict[str, str]]:
    """Return name, value, source and meaning of every setting, in the order in which they are declared."""
    environment: dict[str, Any] = EnvSettingsSource(Settings)()
    dotenv: dict[str, Any] = DotEnvSettingsSource(Settings)()
    rows = []
    for name, field in Settings.model_fields.items():
        source = "environment" if name in environment else ".env" if name in dotenv else "default"
        rows.append(
            {
                "variable": ENV_PREFIX + name.upper(),
                "value": _shown(getattr(settings, name)),
                "source": source,
                "description": field.description or "",
            }
        )
    return rows


def unknown_variables() -> list[str]:
    """Return variables that look like settings and are none: typing errors that would be ignored in silence."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    candidates = sorted(name for name in os.environ if name.upper().startswith(ENV_PREFIX))
    return [name for name in candidates if name.upper() not in known and not name.startswith(_FOREIGN_PREFIXES)]


def print_warning(text: str) -> None:
    """Tell the person at the terminal something that a script reading stdout need not see."""
    Console(stderr=True, highlight=False).print(f"warning: {text}", markup=False, soft_wrap=True)


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return MASK if value.get_secret_value() else ""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _print_rows(rows: list[dict[str, str]]) -> None:
    """Print two lines a setting, so that nothing is cut on a narrow terminal; what was changed stands out."""
    console = Console(highlight=False, soft_wrap=True)
    for row in rows:
        line = Text(f"{row['variable']}={row['value']}", style="" if row["source"] == "default" else "bold green")
        console.print(line.append(f"  ({row['source']})", style="dim"))
        console.print(Text(f"    {row['description']}", style="dim"))
