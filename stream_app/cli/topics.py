"""`stream-app topics create|check`: the topics on a broker, made and compared with what stream-app needs."""

import json

import typer

from stream_app.adapters.topics_admin import Difference, check_topics, create_topics, plan_topics
from stream_app.cli.errors import ExitCode
from stream_app.settings import load_settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_AS_JSON = typer.Option(False, "--json", help="Print one JSON object instead of text.")


@app.command()
def create(as_json: bool = _AS_JSON) -> None:
    r"""Create every topic that does not exist yet, the changelog included.

    Existing topics are never changed; where one is not as it should be, this says so and exits 1, as check does.

    \b
    Example:
      STREAM_APP_BOOTSTRAP=broker:9092 STREAM_APP_PARTITIONS=12 stream-app topics create
    """
    settings = load_settings()
    creation = create_topics(settings)
    differences = check_topics(settings) if creation.existing else []
    if as_json:
        print(json.dumps({**creation._asdict(), "differences": [found._asdict() for found in differences]}, indent=2))
    else:
        print(f"created {len(creation.created)} topics, {len(creation.existing)} existed, on {settings.bootstrap}")
        for name in creation.created:
            print(f"  {name}")
        _print_differences(differences)
    raise typer.Exit(ExitCode.FINDING if differences else ExitCode.OK)


@app.command()
def check(as_json: bool = _AS_JSON) -> None:
    r"""Compare the topics with what stream-app needs: partitions, cleanup, retention. Exits 1 where something differs.

    \b
    Example:
      stream-app topics check --json
    """
    settings = load_settings()
    differences = check_topics(settings)
    if as_json:
        report = {"ok": not differences, "differences": [found._asdict() for found in differences]}
        print(json.dumps(report, indent=2))
    elif differences:
        _print_differences(differences)
    else:
        print(f"all {len(plan_topics(settings))} topics on {settings.bootstrap} are as they should be")
    raise typer.Exit(ExitCode.FINDING if differences else ExitCode.OK)


def _print_differences(differences: list[Difference]) -> None:
    for found in differences:
        if found.property == "exists":
            print(f"{found.topic}: does not exist")
        else:
            print(f"{found.topic}: {found.property} is {found.found}, should be {found.expected}")
        print(f"    {found.remedy}")
