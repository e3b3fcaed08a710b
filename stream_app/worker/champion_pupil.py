"""The churn pupil with challengers: teaches all models, answers requests, publishes the champion, tells of changes."""

import logging
from collections.abc import Sequence
from typing import Final, Self

from stream_app.adapters.model_events import event_record
from stream_app.core.model_events import ModelEvent
from stream_app.core.topics import Topic
from stream_app.learning.challengers import ChallengedLearner
from stream_app.learning.learner import Learner, LearnerRefusedError
from stream_app.learning.population_keeper import Defer
from stream_app.learning.promotion import PromotionRules
from stream_app.learning.specs import cautions, check_specs, created
from stream_app.settings import Settings
from stream_app.worker import churn_pupil
from stream_app.worker.churn_pupil import ChurnPupil
from stream_app.worker.pupils import Lesson, Publication, PupilKind

TOPICS: Final = churn_pupil.TOPICS | {Topic.MODEL_EVENTS}

logger = logging.getLogger(__name__)


def rules_of(settings: Settings) -> PromotionRules:
    """Return what a promotion takes, as the settings say."""
    return PromotionRules(
        mode=settings.promotion,
        error_rate=settings.promotion_error_rate,
        margin=settings.promotion_margin,
        by_segment=settings.model_selection == "bandit",
        halving_weeks=settings.challengers_halving_weeks,
    )


class ChampionPupil(ChurnPupil):
    """Is due as soon as the champion changes, and publishes each event until it is certain that it was sent.

    The trainer publishes what is due, but never sooner than `snapshot_seconds` after this pupil's last publication.

    A publication is sent after the checkpoint that holds it. So an event leaves the memory with the next publication,
    which proves that the last one went out; after a crash in between it is sent again under the same id.
    """

    def __init__(self, learner: ChallengedLearner, settings: Settings) -> None:
        super().__init__(learner, settings)
        self._models = learner
        self._champion = ""
        """As published last by this process."""
        self._sending = 0
        """How many of the unsent events went with the last publication."""

    @classmethod
    def kind_of(cls, settings: Settings) -> PupilKind:
        """Return the kind of pupil for the trainer's list.

        Raises
        ------
        ValueError
            For models in the settings that there are not, or that cannot serve.
        """
        check_specs(settings.model, settings.challengers)
        for caution in cautions(settings.challengers):
            logger.warning("%s", caution)
        defer = churn_pupil.in_a_thread()
        return PupilKind(
            churn_pupil.NAME,
            TOPICS,
            lambda: cls._fresh(settings, defer),
            lambda body: cls._restored(body, settings, defer),
        )

    @classmethod
    def _fresh(cls, settings: Settings, defer: Defer) -> Self:
        learner = Learner(settings.horizon_days, settings.model, defer=defer)
        return cls(ChallengedLearner(learner, created(settings.challengers), rules_of(settings)), settings)

    @classmethod
    def _restored(cls, body: bytes, settings: Settings, defer: Defer) -> Self:
        # The first champion stays what it was: a model that the settings name since then begins as a challenger.
        specs = [settings.model, *settings.challengers]
        learner = ChallengedLearner.restore(body, specs, rules_of(settings), defer)
        saved_days = learner.learner.horizon_days
        if saved_days != settings.horizon_days:
            raise LearnerRefusedError(
                f"STREAM_APP_HORIZON_DAYS is {settings.horizon_days}, and the trainer's checkpoint learned labels of "
                f"{saved_days} days, which it cannot mix: set STREAM_APP_HORIZON_DAYS={saved_days} to go on, or move "
                "the trainer's checkpoint away to learn the new horizon from the beginning"
            )
        if learner.champion != settings.model:
            logger.info("model %s serves, not %s: 'stream-app champion' tells why", learner.champion, settings.model)
        return cls(learner, settings)

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Learn examples or population days, or answer requests; return how many were new."""
        if topic is not Topic.MODEL_EVENTS:
            return super().learn(topic, lessons)
        for lesson in lessons:
            if isinstance(lesson, ModelEvent):
                self._models.take_event(lesson)
        return len(lessons)  # the trainer's own events come back to it, and are no repeats

    def is_due(self) -> bool:
        """Say whether the champion changed, an event waits, or enough was learned."""
        news = len(self._models.court.unsent) > self._sending
        return news or self._champion not in {"", self._models.champion} or super().is_due()

    def publication(self) -> Publication:
        """Return the champion's snapshot, the pointer to it, and the events."""
        court = self._models.court
        del court.unsent[: self._sending]
        self._sending = len(court.unsent)
        self._champion = self._models.champion
        churn = super().publication()
        return churn._replace(records=(*churn.records, *(event_record(event) for event in court.unsent)))
