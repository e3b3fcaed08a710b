"""Models as they are named in configuration: a name of the zoo, with or without options, "adagrad:rate=0.1"."""

from collections.abc import Iterable, Sequence

from stream_app.learning.zoo.registry import create, entry_of
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
    """Check that the models can be created and the champion can be served.

    Raises
    ------
    ValueError
        They cannot; says what to do.
    ModuleNotFoundError
        A model's optional dependency is not installed; the message names the extra.
    """
    for spec in (champion, *challengers):
        create_spec(spec)
    if parse_spec(champion)[1]:
        raise ValueError(f"model {champion!r}: the first champion has no options; name a challenger with them")
    if not entry_of(champion).served:
        raise ValueError(f"model {champion!r} has no array form, so workers cannot serve it: name it as a challenger")
    if len(set(challengers)) < len(challengers) or champion in challengers:
        raise ValueError("name each model once, as the champion or as a challenger")


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
