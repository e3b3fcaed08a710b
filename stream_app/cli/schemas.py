"""`stream-app schemas export|check|release`: the contracts as files."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from stream_app.adapters.schema_files import check as check_folder
from stream_app.adapters.schema_files import export as export_folder
from stream_app.adapters.schema_files import has_json_schema_validator, iter_examples
from stream_app.adapters.schema_files import release as release_folder
from stream_app.cli.errors import CommandError, ExitCode

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Folder = Annotated[Path, typer.Option("--dir", help="The folder of schemas.")]
_DEFAULT_FOLDER = Path("schemas")


@app.command()
def export(folder: Folder = _DEFAULT_FOLDER) -> None:
    r"""Write JSON Schemas, topic files and asyncapi.yaml from the models. Examples are never touched.

    \b
    Example:
      stream-app schemas export --dir schemas
    """
    written = export_folder(folder)
    print(f"{len(written)} files written to {folder}" if written else f"{folder} was up to date")
    for name in written:
        print(f"  {name}")


@app.command()
def check(
    folder: Folder = _DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    r"""Fail on drift, orphans, invalid examples, and changes that break producers or subscribers of the last release.

    \b
    Example:
      stream-app schemas check
    """
    if folder == _DEFAULT_FOLDER and not folder.is_dir():
        folder = _shipped_folder()
    if not folder.is_dir():
        raise CommandError(f"{folder}: there is no such folder; give --dir, or run `stream-app schemas export`")
    findings = check_folder(folder)
    if as_json:
        report = {"ok": not findings, "findings": [finding._asdict() for finding in findings]}
        print(json.dumps(report, indent=2))
    else:
        for finding in findings:
            print(f"{finding.rule}: {finding.file} {finding.detail}")
        if not findings:
            print(f"{folder}: {sum(1 for _ in iter_examples(folder))} examples, no drift, nothing broken")
        if not has_json_schema_validator():
            print(
                "note: examples were checked by the models alone; install stream-app[dev] to check by JSON Schema too"
            )
    raise typer.Exit(ExitCode.FINDING if findings else ExitCode.OK)


def _shipped_folder() -> Path:
    """Return the folder inside an installed wheel, for whoever has no clone at hand."""
    return Path(str(files("stream_app"))) / "_data" / "schemas"


@app.command()
def release(folder: Folder = _DEFAULT_FOLDER) -> None:
    """Keep the present schemas as the release that later changes are compared with. Part of making a release."""
    findings = check_folder(folder)
    if findings:
        raise CommandError(f"{len(findings)} findings: a release needs a clean `stream-app schemas check`")
    kept = release_folder(folder)
    print(f"{len(kept)} schemas kept in {folder / 'released'}")
