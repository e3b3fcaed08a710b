"""The pupil that reports what interventions achieved: it learns nothing, and is taught by the same records.

The trainer is where matured decisions come together once and in order, with a checkpoint. So it keeps the books, shows
them as metrics, and publishes the report beside the models, from where every worker shows it (`/v1/experiments`).
`stream-app report` makes the same report anew from the topic.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import orjson

from stream_app.adapters.model_registry import report_record
from stream_app.core.effects import PopulationDay
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.population import ASSIGNED
from stream_app.core.times import iso
from stream_app.core.topics import Topic
from stream_app.decisions.arms import ARM_CODES
from stream_app.decisions.lift import RATES, LiftBook, LiftState
from stream_app.decisions.lift_report import MEASURES, LiftReport, Ratio, SliceLift, to_document
from stream_app.settings import Settings
from stream_app.worker.pupils import Lesson, Measure, Publication, PupilKind, bounds_of

NAME: Final = "lift"
LIFT_REPORT: Final = "lift"
TOPICS: Final = frozenset({Topic.OUTCOMES, Topic.POPULATION})


class _Saved(msgspec.Struct, array_like=True):
    """Fields may only be appended, each with a default."""

    lift: LiftState
    revisions: dict[int, int] = {}


class LiftPupil:
    """Keeps a `LiftBook`.

    Parameters
    ----------
    holdout_share
        As configured.
    saved
        To go on from.
    """

    def __init__(self, holdout_share: float, saved: _Saved | None = None) -> None:
        self._saved = saved if saved is not None else _Saved(LiftState(), {})
        self._book = LiftBook(holdout_share, state=self._saved.lift)
        self._is_new = False

    @classmethod
    def kind(cls, settings: Settings) -> PupilKind:
        """Return the kind of pupil for the trainer's list."""
        share = settings.holdout_share

        def restored(body: bytes) -> LiftPupil:
            return cls(share, msgspec.msgpack.decode(body, type=_Saved))

        return PupilKind(NAME, TOPICS, lambda: cls(share), restored)

    def learn(self, topic: Topic, lessons: Sequence[Lesson]) -> int:
        """Take in matured decisions, and the days' counts of assignments; return how many were new."""
        del topic
        new = 0
        for lesson in lessons:
            if isinstance(lesson, DecisionOutcome):
                new += self._book.add(lesson)
            elif isinstance(lesson, PopulationDay):
                new += self._assign(lesson)
        self._is_new |= new > 0
        return new

    def is_due(self) -> bool:
        """Say whether there is anything new to report."""
        return self._is_new

    def publication(self) -> Publication:
        """Return the report, and what of it goes on the metrics page."""
        self._is_new = False
        report = self._book.report()
        through = iso(report.newest_ms) if report.newest_ms else None
        document = {"through": through, **to_document(report)}
        record = report_record(LIFT_REPORT, orjson.dumps(document))
        return Publication(f"lift-{report.outcomes:09d}", (record,), tuple(_measures(report)))

    def checkpoint(self) -> bytes:
        """Return the books."""
        return msgspec.msgpack.encode(self._saved)

    def _assign(self, day: PopulationDay) -> bool:
        revisions = self._saved.revisions
        if day.revision <= revisions.get(day.partition, 0):
            return False
        revisions[day.partition] = day.revision
        counts = {arm: round(day.sums.get(f"{ASSIGNED}{code}", 0.0)) for arm, code in ARM_CODES.items()}
        for arm, customers in counts.items():
            if customers:
                self._book.add_assignments(arm, customers)
        return any(counts.values())


def _measures(report: LiftReport) -> Iterator[Measure]:
    yield Measure("lift_outcomes", report.outcomes)
    yield Measure("lift_through_timestamp_seconds", report.newest_ms / 1_000)
    for check in report.ratios:
        yield Measure("sample_ratio_p_value", check.p_value, {"ratio": check.name})
        yield Measure("sample_ratio_alarm", float(check.alarm), {"ratio": check.name})
    for each in report.slices:
        yield from _of_slice(each)
    for action, rates in report.rates.items():
        yield Measure("messages_sent", rates.sent, {"action": action})
        for rate in RATES:
            yield Measure("message_rate", getattr(rates, rate), {"action": action, "rate": rate})
        if rates.incremental_per_redeemed is not None:
            ratio, labels = rates.incremental_per_redeemed, {"slice": f"action:{action}"}
            yield from bounds_of("lift_ratio", ratio, {**labels, "ratio": "incremental_per_redeemed"})


def _of_slice(each: SliceLift) -> Iterator[Measure]:
    labels = {"slice": each.name}
    yield Measure("lift_customers", each.treated, {**labels, "group": "treated"})
    yield Measure("lift_customers", each.held, {**labels, "group": "held"})
    for measure in MEASURES:
        interval = getattr(each, measure)
        shown = Ratio(interval.estimate, interval.low, interval.high)
        yield from bounds_of("lift", shown, {**labels, "measure": measure})
    for name in ("cost_per_saved", "return_on_cost"):
        yield from bounds_of("lift_ratio", getattr(each, name), {**labels, "ratio": name})
