"""Which models score the further horizons: the trainer's newest of each, or the one that a person pinned."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from stream_app.adapters.logs import fields
from stream_app.adapters.metrics import Recorder
from stream_app.adapters.model_registry import PRIOR, ModelRefusedError, ModelRegistry
from stream_app.learning.horizons import with_horizons
from stream_app.learning.scorer import PriorScorer, Scorer
from stream_app.learning.selected import scorer_of

logger = logging.getLogger(__name__)


class _Stored(NamedTuple):
    version: str
    digest: str
    stored_at_ms: int


class FurtherModels:
    """A scorer for each further horizon; without any, there is nothing to do.

    What does not fit is refused, said and counted once; the last good one stays.

    Parameters
    ----------
    horizons_days
        Longer than the first horizon, rising.
    pinned
        STREAM_APP_PINNED_MODEL: it names a version of the first horizon, but "prior" is meant for all.
    key
        HMAC key of snapshots; empty if they are not signed.
    metrics
        Versions in force, refusals.
    """

    def __init__(self, horizons_days: Sequence[int], pinned: str, key: bytes, metrics: Recorder) -> None:
        self._pinned = PRIOR if pinned == PRIOR else ""
        self._key = key
        self._metrics = metrics
        self._scorers: dict[int, Scorer] = {days: PriorScorer(days) for days in horizons_days}
        self._looked_at: dict[int, _Stored] = {}
        for scorer in self._scorers.values():
            self._show(scorer)

    def beside(self, first: Scorer) -> Scorer:
        """Return a scorer of the first horizon that brings these along."""
        return with_horizons(first, list(self._scorers.values()))

    def follow(self, registry: ModelRegistry) -> bool:
        """Take over what the topic says now; return whether any model changed."""
        changed = [self._follow(registry, days) for days in self._scorers]  # each of them, not up to the first change
        return any(changed)

    def _follow(self, registry: ModelRegistry, horizon_days: int) -> bool:
        choice = registry.choice(horizon_days, self._pinned)
        stored = registry.snapshots.get(choice.version)
        found = _Stored(choice.version, stored.digest if stored else "", stored.stored_at_ms if stored else 0)
        if not choice.version or found == self._looked_at.get(horizon_days):
            return False
        self._looked_at[horizon_days] = found
        try:
            scorer = self._scorer(registry, choice.version, horizon_days)
        except ModelRefusedError as error:
            self._metrics.count("snapshots_refused", reason=error.code)
            logger.error(  # noqa: TRY400 - the message says it all
                "model of %d days not served, %s stays in force: %s",
                horizon_days,
                self._scorers[horizon_days].version,
                error,
                extra=fields(reason=error.code, chosen_by=choice.by),
            )
            return False
        self._metrics.forget("model_info", version=self._scorers[horizon_days].version, horizon_days=str(horizon_days))
        self._scorers[horizon_days] = scorer
        self._show(scorer)
        logger.info("model %s in force", scorer.version, extra=fields(chosen_by=choice.by))
        return True

    def _scorer(self, registry: ModelRegistry, version: str, horizon_days: int) -> Scorer:
        if version == PRIOR:
            return PriorScorer(horizon_days)
        return scorer_of(registry.load(version, self._key, horizon_days))

    def _show(self, scorer: Scorer) -> None:
        self._metrics.gauge("model_info", 1, version=scorer.version, horizon_days=str(scorer.horizon_days))
