"""Models as they are named in configuration: a name of the zoo, with or without options, "adagrad:rate=0.1"."""

from collections.abc import Iterable, Sequence

from stream_app.learning.zoo.registry import ENTRIES, Entry, create, entry_of
from stream_app.learning.zoo.types import ModelNotServedError, OnlineModel


def parse_spec(spec: str) -> tuple[str, dict[str, float]]:
    """Return name and options of "name" or "name:option=number,option=number"; raises ValueError for other texts."""
    name, _, listed = spec.partition(":")
    options: dict[str, float] = {}
    for part in listed.split(",") if listed else []:
        option, equals, number = part.partition("=")
        try:
            options[option.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"model {spec!r}: write options as name:option=number,option=number")
    return name.strip(), options


def create_spec(spec: str, inputs: tuple[str, ...] | None = None) -> OnlineModel:
    """Return a fresh model that sees `inputs` (None: its own choice); raises what `create` raises.

    An ensemble's members choose for themselves, whatever is given.
    """
    name, options = parse_spec(spec)
    return create(name, inputs if entry_of(name).chooses_inputs else None, options)


def check_specs(champion: str, challengers: Sequence[str]) -> None:
    """Check that the models can be created and learn for as long as a trainer runs, and the champion can be served.

    Raises
    ------
    ValueError
        They cannot; says what to do.
    ModuleNotFoundError
        A model's optional dependency is not installed; the message names the extra.
    """
    for spec in (champion, *challengers):
        create_spec(spec)
    if not _entry(champion).served:
        raise ValueError(f"model {champion!r} has no array form, so workers cannot serve it: name it as a challenger")
    for spec in challengers:
        if _entry(spec).unbounded:
            bounded = ", ".join(name for name, entry in ENTRIES.items() if not entry.unbounded and not entry.served)
            raise ValueError(
                f"model {spec!r} remembers every example, so that a trainer's memory would grow without end: compare "
                f"it by 'stream-app evaluate', or take another that is not served ({bounded})"
            )
    if len(set(challengers)) < len(challengers) or champion in challengers:
        raise ValueError("name each model once, as the champion or as a challenger")


def cautions(challengers: Iterable[str]) -> list[str]:
    """Return what has to be said of challengers that can run and cost much, a sentence each."""
    return [
        f"challenger {spec} takes about a millisecond of the trainer for each label: with many customers the trainer "
        "falls behind; watch its lag, or compare the model by 'stream-app evaluate'"
        for spec in challengers
        if _entry(spec).slow
    ]


def _entry(spec: str) -> Entry:
    return entry_of(parse_spec(spec)[0])


def created(specs: Iterable[str]) -> dict[str, OnlineModel]:
    """Return fresh models by spec; raises what `create` raises."""
    return {spec: create_spec(spec) for spec in specs}


def has_array_form(model: OnlineModel) -> bool:
    """Whether workers can serve the model."""
    try:
        model.export()
    except ModelNotServedError:
        return False
    return True
