"""The pupil that reports how groups of customers are treated, by the attributes that the shop declares.

It learns nothing and no model sees what it sees: it counts labels and matured decisions, and publishes the report
beside the lift report, from where every worker shows it (`/v1/fairness`).
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import orjson

from stream_app.adapters.assembly import fairness_watch_of
from stream_app.adapters.model_registry import report_record
from stream_app.core.effects import TrainingExample
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.topics import Topic
from stream_app.decisions.fairness_report import (
    MEASURES,
    AttributeFairness,
    to_document,
)
from stream_app.decisions.fairness_watch import FairnessState, FairnessWatch
from stream_app.decisions.lift_report import Ratio
from stream_app.settings import Settings
from stream_app.worker.pupils import Lesson, Measure, Publication, PupilKind, bounds_of

NAME: Final = "fairness"
FAIRNESS_REPORT: Final = "fairness"
TOPICS: Final = frozenset({Topic.TRAINING, Topic.OUTCOMES})


class FairnessPupil:
    """Keeps a `FairnessWatch`.

    Parameters
    ----------
    watch
        Fresh, or restored.
    """

    def __init__(self, watch: FairnessWatch) -> None:
        self._watch = watch
        self._is_new = False

    @classmethod
    def kind(cls, settings: Settings) -> PupilKind:
        """Return the kind of pupil for the trainer's list."""

        def restored(body: bytes) -> FairnessPupil:
            return cls(fairness_watch_of(settings, msgspec.msgpack.decode(body, type=FairnessState)))

        return PupilKind(NAME, TOPICS, lambda: cls(fairness_watch_of(settings)), restored)

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Count what is new of labels and matured decisions; return how many counted."""
        del topic
        new = 0
        for lesson in lessons:
            if isinstance(lesson, TrainingExample):
                new += self._watch.add_example(lesson)
            elif isinstance(lesson, DecisionOutcome):
                new += self._watch.add_outcome(lesson)
        self._is_new |= new > 0
        return new

    def is_due(self) -> bool:
        """Say whether there is anything new to report."""
        return self._is_new

    def publication(self) -> Publication:
        """Return the report, and what of it goes on the metrics page."""
        self._is_new = False
        report = self._watch.report()
        record = report_record(FAIRNESS_REPORT, orjson.dumps(to_document(report)))
        measures = tuple(measure for each in report.attributes for measure in _measures(each))
        return Publication(f"fairness-{report.newest_ms:013d}", (record,), measures)

    def checkpoint(self) -> bytes:
        """Return the counts."""
        return msgspec.msgpack.encode(self._watch.state)


def _measures(of: AttributeFairness) -> Iterator[Measure]:
    for group in of.groups:
        labels = {"attribute": of.attribute, "group": group.group}
        counts = (group.windows, group.offers, group.labelled)
        for measure, count in zip(MEASURES, counts, strict=True):
            interval = getattr(group, measure)
            shown = Ratio(interval.estimate, interval.low, interval.high) if count else Ratio(None, None, None)
            yield from bounds_of("fairness", shown, {**labels, "measure": measure})
            yield Measure("fairness_observed", count, {**labels, "measure": measure})
    for found in of.comparisons:
        labels = {"attribute": of.attribute, "measure": found.measure}
        yield from bounds_of("fairness_comparison", Ratio(found.estimate, found.low, found.high), labels)
        yield Measure("fairness_bound", found.bound, labels)
        yield Measure("fairness_alarm", float(found.alarm), labels)
