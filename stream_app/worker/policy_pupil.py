"""The pupil that learns which action helps whom, from matured decisions, and publishes what is believed of them.

Rewards come when their window has passed, so the trainer learns of decisions weeks after they were taken: each is
learned once, whatever was told twice, and beliefs are a function of the decisions learned and of the catalogue.
Workers take over a changed catalogue while they run; the trainer looks at the file when a decision by a catalogue comes
that it has not met, so that new actions are learned from their first outcome on. Whether workers decide by what is
published is their setting (STREAM_APP_POLICY); the trainer learns in any case.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from stream_app.adapters.assembly import catalogue_of
from stream_app.adapters.policy_versions import PolicyMethod, policy_records
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.decisions.bandit import PolicyLearner
from stream_app.decisions.catalogue import Catalogue, CatalogueError
from stream_app.decisions.q_learning import QLearner
from stream_app.decisions.repeats import is_first
from stream_app.settings import Settings
from stream_app.worker.pupils import Lesson, Measure, Publication, PupilKind

Learner = PolicyLearner | QLearner
LEARNERS: Final[Mapping[PolicyMethod, Callable[[Catalogue], Learner]]] = {
    "learned": PolicyLearner,
    "q_learning": QLearner,
}
NAMES: Final[Mapping[PolicyMethod, str]] = {"learned": "policy", "q_learning": "q_policy"}
"""Of the pupils, in the trainer's checkpoint."""
_MEASURES: Final[Mapping[PolicyMethod, Callable[[int], Measure]]] = {
    "learned": lambda outcomes: Measure("policy_learned_outcomes", outcomes),
    "q_learning": lambda outcomes: Measure("q_policy_learned_outcomes", outcomes),
}
TOPICS: Final = frozenset({Topic.OUTCOMES})
LEAST_NEW: Final = 20
"""Fewer new decisions tell too little to change what all workers believe."""
LEAST_NEW_SHARE: Final = 0.01
"""The same as a share of those that were published before."""

logger = logging.getLogger(__name__)


class _Saved(msgspec.Struct, array_like=True):
    """Fields may only be appended, each with a default."""

    sums: dict[str, Any]
    told: dict[int, None] = {}


class PolicyPupil:
    """Teaches a learner of policies: the bandit, or the one over sequences.

    Parameters
    ----------
    method
        Which.
    catalogue_now
        Reads the catalogue; its uplifts are the priors. Outcomes of actions that it does not have are passed over, and
        what was learned of an action that left it is forgotten.
    key
        To sign what is published; empty: unsigned.
    saved
        To go on from.

    Raises
    ------
    CatalogueError, OSError
        The catalogue cannot be used. Once it runs, a wrong one changes nothing.
    """

    def __init__(
        self,
        method: PolicyMethod,
        catalogue_now: Callable[[], Catalogue],
        key: bytes = b"",
        saved: _Saved | None = None,
    ) -> None:
        self._method: PolicyMethod = method
        self._catalogue_now = catalogue_now
        self._catalogue = catalogue_now()
        self._learner = LEARNERS[method](self._catalogue)
        self._met: set[str] = set()
        """Versions that decisions were taken by; with overrides, so they are not those of the file."""
        self._key = key
        self._told: dict[int, None] = {} if saved is None else saved.told
        self._published = 0
        """Decisions learned at the last publication by this catalogue; after a restart it is published once more."""
        if saved is not None:
            try:
                self._learner.restore(saved.sums)
            except ValueError as error:
                # Outcomes that were logged on another context cannot be learned by this build: nothing is to be read
                # again, and the catalogue's beliefs are where it begins.
                logger.warning("the policy is learned anew: %s", error)

    @classmethod
    def kind(cls, settings: Settings, method: PolicyMethod = "learned") -> PupilKind:
        """Return the kind of pupil for the trainer's list; raises CatalogueError for a wrong catalogue."""
        catalogue_of(settings)
        key = settings.model_key.get_secret_value().encode()

        def catalogue_now() -> Catalogue:
            return catalogue_of(settings)

        def restored(body: bytes) -> PolicyPupil:
            return cls(method, catalogue_now, key, msgspec.msgpack.decode(body, type=_Saved))

        return PupilKind(NAMES[method], TOPICS, lambda: cls(method, catalogue_now, key), restored)

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Take in matured decisions one by one, so that blocks leave no trace; return how many were new."""
        del topic
        new = 0
        for lesson in lessons:
            if isinstance(lesson, DecisionOutcome) and is_first(self._told, lesson.outcome_id):
                self._follow_catalogue(lesson.catalogue_version)
                self._learner.learn(lesson)
                new += 1
        return new

    def _follow_catalogue(self, version: str) -> None:
        if version in self._met:
            return
        self._met.add(version)
        try:
            catalogue = self._catalogue_now()
        except (CatalogueError, OSError) as problems:
            logger.error("catalogue not taken over, %s stays in force:\n%s", self._catalogue.version, problems)  # noqa: TRY400 - the message says it all
            return
        if catalogue.version == self._catalogue.version:
            return
        learner = LEARNERS[self._method](catalogue)
        learner.restore(self._learner.sums())
        self._catalogue, self._learner, self._published = catalogue, learner, 0
        logger.info("policy learned for catalogue %s from here on", catalogue.version)

    def is_due(self) -> bool:
        """Say whether enough was learned to change what is believed."""
        new = self._learner.learned - self._published
        return new >= max(LEAST_NEW, LEAST_NEW_SHARE * self._published)

    def publication(self) -> Publication:
        """Return what is believed now."""
        policy = self._learner.snapshot()
        self._published = self._learner.learned
        measures = (_MEASURES[self._method](self._published),)
        return Publication(policy.version, policy_records(policy, self._key, self._method), measures)

    def checkpoint(self) -> bytes:
        """Return the sums and which decisions are in them."""
        return msgspec.msgpack.encode(_Saved(self._learner.sums(), self._told))
