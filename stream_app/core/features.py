"""The features of a customer at a time: one definition for serving and for training.

Two stages. `raw_row` reads numbers from the state, for one customer, on the hot path. `featurize` turns a block of raw
rows into features, with the population's statistics and the horizon. What it returns is already rounded to what `pack`
keeps, so the score that is served and the example that is learned are of the very same numbers.

The list is versioned by the hash of its names. Appending or removing a feature gives a new hash; a snapshot names the
list that it was learned on, and examples packed under an older list are learned by name (see `FEATURE_LISTS`).
"""

from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from stream_app.core.features_columns import Columns
from stream_app.core.features_orders import ORDER_FEATURES
from stream_app.core.features_raw import RAW_COLUMNS, RAW_WIDTH, raw_row
from stream_app.core.features_types import Feature
from stream_app.core.features_visits import SEASON_FEATURES, VISIT_FEATURES, VOICE_FEATURES
from stream_app.core.packing import quantise
from stream_app.core.population import Population

__all__ = [
    "FEATURES",
    "FEATURES_HASH",
    "FEATURE_INDEX",
    "FEATURE_LISTS",
    "FEATURE_NAMES",
    "KIND",
    "RAW_COLUMNS",
    "RAW_WIDTH",
    "Feature",
    "featurize",
    "list_hash",
    "raw_row",
]

KIND = "calendar"
"""The feature that tells the kind of an observation: 0 after an order, 1 on the calendar."""

_KIND_FEATURE = Feature(KIND, "0 or 1", "kind of the point in time", "kind", lambda c: c.raw("calendar"))

FEATURES: tuple[Feature, ...] = (*ORDER_FEATURES, *VISIT_FEATURES, *VOICE_FEATURES, *SEASON_FEATURES, _KIND_FEATURE)
FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
FEATURE_INDEX: dict[str, int] = {name: index for index, name in enumerate(FEATURE_NAMES)}


def list_hash(names: tuple[str, ...]) -> str:
    """Return the version of a feature list: 16 hex digits over its names in order."""
    return sha256("\n".join(names).encode()).hexdigest()[:16]


FEATURES_HASH: str = list_hash(FEATURE_NAMES)

FEATURE_LISTS: dict[str, tuple[str, ...]] = {FEATURES_HASH: FEATURE_NAMES}
"""Names by hash: the present list, and every released one, for examples that were packed before an upgrade."""


def featurize(raw: NDArray[np.float64], population: Population, horizon_days: float) -> NDArray[np.float32]:
    """Return the features (n, len(FEATURES)) of a block of raw rows, rounded to what packing keeps.

    A row's result is the same bits in whatever block it stands. Raises ValueError on rows of another width.
    """
    columns = Columns(raw, population, horizon_days)
    block = np.empty((len(FEATURES), raw.shape[0]))
    for index, feature in enumerate(FEATURES):
        block[index] = feature.function(columns)
    return quantise(block.T)
