"""Numbers of single precision: what a state is stored with is what was folded."""

from operator import attrgetter
from struct import Struct

import msgspec


class Singles:
    """Rounds float fields of a struct to single precision, in place.

    A fold that ends so leaves a state that comes back from four bytes a number exactly as it was: a customer that was
    stored and read in between is scored as one that never left memory. Seven digits are far more than a score can show.

    Parameters
    ----------
    names
        The fields.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names
        self._get = attrgetter(*names)
        self._layout = Struct(f"<{len(names)}f")

    def round(self, struct: msgspec.Struct) -> None:
        """Round the fields. Raises OverflowError for a number beyond 3.4e38."""
        layout = self._layout
        for name, value in zip(self.names, layout.unpack(layout.pack(*self._get(struct))), strict=True):
            setattr(struct, name, value)
