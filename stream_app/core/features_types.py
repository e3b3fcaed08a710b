"""What a feature is: a name for good, a unit, a meaning, and a function over a block's columns."""

from collections.abc import Callable
from dataclasses import dataclass

from stream_app.core.features_columns import Column, Columns


@dataclass(frozen=True, slots=True)
class Feature:
    """One definition for serving and for training.

    A change of meaning takes a new name: examples that wait in the log are learned by name.
    """

    name: str
    unit: str
    meaning: str
    theme: str
    """What it tells a person about: reasons sum the contributions of a theme."""
    function: Callable[[Columns], Column]
    population: bool = False
    """Whether it depends on the statistics of all customers."""
