"""Scoring with one model a segment: for snapshots in which a bandit selects. Others never come here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_app.core.outputs import Reason
from stream_app.learning.intervals import Interval
from stream_app.learning.scorer import Account, Scorer, SnapshotScorer
from stream_app.learning.selection import SEGMENTS, segment_of
from stream_app.learning.snapshot import ModelSnapshot, without_alternatives


def scorer_of(snapshot: ModelSnapshot) -> Scorer:
    """Return the scorer of a snapshot that has passed `decode_snapshot`; a plain one where one model serves all."""
    return SelectedScorer(snapshot) if snapshot.selection else SnapshotScorer(snapshot)


class SelectedScorer:
    """Scores each row with the model of its segment."""

    def __init__(self, snapshot: ModelSnapshot) -> None:
        self.snapshot = snapshot
        champion = SnapshotScorer(without_alternatives(snapshot))
        self.version = champion.version
        self.features_hash = champion.features_hash
        self.horizon_days = champion.horizon_days
        self.cold_start = champion.cold_start
        names = sorted(snapshot.alternatives)
        self._scorers = (champion, *(SnapshotScorer(without_alternatives(snapshot, name)) for name in names))
        place = {name: 1 + index for index, name in enumerate(names)}
        chosen = [place.get(snapshot.selection.get(segment, ""), 0) for segment in SEGMENTS]
        self._chosen = np.array(chosen, dtype=np.intp)

    def featurize(self, raw: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the features of a block of raw rows: they are the same for all models."""
        return self._scorers[0].featurize(raw)

    def score(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return P(churn) for a block of features; rows do not depend on each other."""
        chosen = self._chosen[segment_of(features)]
        result = np.empty(len(features))
        for place in np.unique(chosen).tolist():
            rows = chosen == place
            result[rows] = self._scorers[place].score(features[rows])
        return result

    def explain(self, features: NDArray[np.float32], language: str = "en", top: int = 3) -> tuple[Reason, ...]:
        """Return up to `top` reasons for one row, as its model has them."""
        return self._of(features).explain(features, language, top)

    def interval(self, features: NDArray[np.float32]) -> Interval | None:
        """Return the interval of one row, None where its model has none."""
        return self._of(features).interval(features)

    def account(self, features: NDArray[np.float32], languages: Sequence[str]) -> list[Account]:
        """Return interval and reasons of each row of a block, as its model has them."""
        chosen = self._chosen[segment_of(features)]
        accounts: dict[int, Account] = {}
        for place in np.unique(chosen).tolist():
            rows: list[int] = np.flatnonzero(chosen == place).tolist()
            told = self._scorers[place].account(features[rows], [languages[row] for row in rows])
            accounts.update(zip(rows, told, strict=True))
        return [accounts[row] for row in range(len(features))]

    def _of(self, features: NDArray[np.float32]) -> SnapshotScorer:
        return self._scorers[int(self._chosen[segment_of(features[None, :])[0]])]
