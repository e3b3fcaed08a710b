"""The model card: what is known of the model that serves, gathered from the running system's own topics.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019): what it is and means, what it was
taught, how good it is as a whole and by group, how it is judged by attributes that it never sees, what moved, what it
costs and what it cannot do. Nothing in it names a customer.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import process_time

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.adapters.model_events import ModelLog
from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURE_LISTS, FEATURES, FEATURES_HASH
from stream_app.core.packing import unpack
from stream_app.core.times import from_ms, iso
from stream_app.decisions.fairness import FairnessBook, FairnessReport
from stream_app.learning.inputs import feature_of
from stream_app.learning.learner import HOLDOUT_ARM, renamed
from stream_app.learning.quality import CALIBRATION_BINS, QualityTally
from stream_app.learning.selected import scorer_of
from stream_app.learning.selection import SEGMENTS, segment_of
from stream_app.learning.snapshot import ModelSnapshot, encode_snapshot
from stream_app.settings import Settings

FEW_EXAMPLES = 1_000
FEW_HOLDOUT = 300
BAD_ECE = 0.05
_TIMED_ROWS = 500
_TIMED_ROUNDS = 20

_Judged = tuple[float, bool, float]
"""Served probability, label and weight."""


class Bin(msgspec.Struct, frozen=True):
    """One tenth of the scale: what was predicted there and what came."""

    low: float
    labels: float
    """Weighted count."""
    predicted: float | None
    observed: float | None


class Slice(msgspec.Struct, frozen=True):
    """Quality of served scores on one part of the labels."""

    name: str
    metrics: dict[str, float]
    """auc, log_loss, brier, ece, churn_rate, examples, as far as they are defined."""


class Month(msgspec.Struct, frozen=True):
    """One month of observations, by T."""

    month: str
    metrics: dict[str, float]


class ModelCard(msgspec.Struct, frozen=True):
    """Everything of the card; the page is made of it."""

    model: dict[str, str | int | float]
    definition: dict[str, str | int | float | bool]
    data: dict[str, str | int | float]
    inputs: dict[str, int]
    """Number of inputs by theme."""
    quality: tuple[Slice, ...]
    calibration: tuple[Bin, ...]
    fairness: FairnessReport | None
    fairness_attributes: tuple[str, ...]
    """Attributes that profiles declare."""
    drift: dict[str, float]
    months: tuple[Month, ...]
    contest: dict[str, object]
    cost: dict[str, float]
    limits: tuple[str, ...]


class CardEvidence:
    """What the topics told, added up record by record.

    Parameters
    ----------
    horizon_days
        Examples of other horizons are counted and left out.
    attribute
        Declared attribute to compare groups by; empty: none.
    """

    def __init__(self, horizon_days: int, attribute: str = "") -> None:
        self._horizon_days = horizon_days
        self._attribute = attribute
        self._judged: dict[str, list[_Judged]] = defaultdict(list)
        self._by_month: dict[str, list[_Judged]] = defaultdict(list)
        self._book = FairnessBook(attribute)
        self._concerned: set[str] = set()
        """Everybody who was scored or contacted."""
        self._profiles: dict[str, Mapping[str, str]] = {}
        self._told: set[str] = set()
        """Ids of examples and interventions: after a crash a record may stand on its topic twice."""
        self.counts: Counter[str] = Counter()
        self.first_ms = 0
        self.last_ms = 0
        self.intervention_cost = 0.0
        self._rows: list[NDArray[np.float32]] = []

    def add_profile(self, customer_id: str, attributes: Mapping[str, str] | None) -> None:
        """Take in the newest profile of a customer; None erases it."""
        if attributes is None:
            self._profiles.pop(customer_id, None)
        else:
            self._profiles[customer_id] = attributes

    def add_intervention(self, intervention_id: str, customer_id: str, cost: float) -> None:
        """Take in a decision to act, once."""
        if self._is_repeat(intervention_id):
            return
        self.counts["interventions"] += 1
        self.intervention_cost += cost
        self._concerned.add(customer_id)
        self._book.add_intervention(customer_id, cost)

    def add_example(self, example: TrainingExample) -> None:
        """Take in a matured observation, once."""
        if self._is_repeat(example.example_id):
            return
        if example.horizon_days != self._horizon_days:
            self.counts["other_horizon"] += 1
            return
        self.counts["labels"] += 1
        self.first_ms = min(self.first_ms or example.at_ms, example.at_ms)
        self.last_ms = max(self.last_ms, example.at_ms)
        if example.contacts > 0:
            self.counts["censored"] += 1
            return
        if example.probability < 0:
            self.counts["unscored"] += 1
            return
        self.counts["churned"] += example.churned
        self.counts["uncensored"] += 1
        self._concerned.add(example.customer_id)
        self._book.add_label(example.customer_id, example.probability, example.churned)
        judged = (example.probability, example.churned, example.weight)
        for name in self._slices_of(example):
            self._judged[name].append(judged)
        self._by_month[f"{from_ms(example.at_ms):%Y-%m}"].append(judged)

    def slices(self) -> tuple[Slice, ...]:
        """Return the quality of all parts that occurred, the whole first."""
        order = ["all", "holdout", "not in holdout", "after order", "calendar", *SEGMENTS]
        return tuple(Slice(name, _tally(self._judged[name]).metrics()) for name in order if name in self._judged)

    def months(self) -> tuple[Month, ...]:
        """Return the quality by month of T, oldest first."""
        return tuple(Month(name, _tally(self._by_month[name]).metrics()) for name in sorted(self._by_month))

    def bins(self) -> tuple[Bin, ...]:
        """Return predicted and observed shares by tenths of the scale."""
        tally = _tally(self._judged["all"])
        churned = tally.churned.reshape(CALIBRATION_BINS, -1).sum(axis=1)
        labels = churned + tally.stayed.reshape(CALIBRATION_BINS, -1).sum(axis=1)
        found = []
        for place in range(CALIBRATION_BINS):
            count = float(labels[place])
            predicted = float(tally.predicted[place]) / count if count else None
            found.append(
                Bin(place / CALIBRATION_BINS, count, predicted, float(churned[place]) / count if count else None)
            )
        return tuple(found)

    def fairness(self) -> FairnessReport | None:
        """Return the comparison of groups; None where no profile declares the attribute."""
        if self._attribute not in self.attributes():
            return None
        for customer_id in sorted(self._concerned):
            self._book.add_customer(customer_id, self._profiles.get(customer_id, {}).get(self._attribute, ""))
        return self._book.report()

    def attributes(self) -> tuple[str, ...]:
        """Return the names of the attributes that profiles declare."""
        return tuple(sorted({name for attributes in self._profiles.values() for name in attributes}))

    @property
    def profiles(self) -> int:
        """How many customers have a profile."""
        return len(self._profiles)

    def sample_rows(self) -> NDArray[np.float32]:
        """Return some feature rows, to time the scorer on."""
        return np.array(self._rows, dtype=np.float32)

    def _is_repeat(self, identity: str) -> bool:
        known = identity in self._told
        self._told.add(identity)
        return known

    def _slices_of(self, example: TrainingExample) -> Sequence[str]:
        kind = "calendar" if example.kind else "after order"
        arm = "holdout" if example.arm == HOLDOUT_ARM else "not in holdout"
        row = _row_of(example)
        if row is None:
            return "all", kind, arm
        if len(self._rows) < _TIMED_ROWS:
            self._rows.append(row)
        return "all", kind, arm, SEGMENTS[int(segment_of(row[None, :])[0])]


def build_card(
    settings: Settings,
    snapshot: ModelSnapshot,
    chosen_by: str,
    stored_at_ms: int,
    evidence: CardEvidence,
    log: ModelLog,
) -> ModelCard:
    """Return the card of the model that serves.

    Parameters
    ----------
    settings
        The churn definition and the tiers.
    snapshot
        What is served.
    chosen_by, stored_at_ms
        Who says so, and when it was published.
    evidence
        From the topics.
    log
        Reviews, promotions, rollbacks.
    """
    slices = evidence.slices()
    return ModelCard(
        model={
            "version": snapshot.version,
            "name": snapshot.model,
            "chosen_by": chosen_by,
            "published_at": iso(stored_at_ms),
            "snapshot_format": snapshot.format,
            "features_hash": snapshot.features_hash,
        },
        definition=_definition(settings),
        data=_data(snapshot, evidence),
        inputs=_inputs(snapshot),
        quality=slices,
        calibration=evidence.bins(),
        fairness=evidence.fairness(),
        fairness_attributes=evidence.attributes(),
        drift={name: value for name, value in sorted(snapshot.metrics.items()) if name.startswith("drift_")},
        months=evidence.months(),
        contest=_contest(settings, log),
        cost=_cost(snapshot, evidence),
        limits=tuple(_limits(settings, snapshot, slices, evidence)),
    )


def _definition(settings: Settings) -> dict[str, str | int | float | bool]:
    return {
        "churn": f"no completed order in the {settings.horizon_days} days after an observation",
        "score": "probability of churn if nobody contacts the customer",
        "horizon_days": settings.horizon_days,
        "longer_horizons_days": ", ".join(map(str, settings.extra_horizons_days)) or "none",
        "observed": f"after each order, and every {settings.observation_days} days",
        "eligible_days": settings.eligible_days,
        "tier_medium": settings.tier_medium,
        "tier_high": settings.tier_high,
        "tier_critical": settings.tier_critical,
    }


def _data(snapshot: ModelSnapshot, evidence: CardEvidence) -> dict[str, str | int | float]:
    counts = evidence.counts
    return {
        "learned_examples": snapshot.trained_examples,
        "effective_examples": round(snapshot.effective_examples, 1),
        "learned_through": iso(snapshot.trained_through_ms),
        "labels_read": counts["labels"],
        "labels_censored_by_contact": counts["censored"],
        "labels_without_score": counts["unscored"],
        "labels_of_other_horizons": counts["other_horizon"],
        "observations_from": iso(evidence.first_ms),
        "observations_to": iso(evidence.last_ms),
        "churned_share": round(counts["churned"] / max(counts["uncensored"], 1), 4),
        "profiles": evidence.profiles,
        "interventions": counts["interventions"],
    }


def _inputs(snapshot: ModelSnapshot) -> dict[str, int]:
    themes = {feature.name: feature.theme for feature in FEATURES}
    return dict(sorted(Counter(themes[feature_of(name)] for name in snapshot.inputs).items()))


def _contest(settings: Settings, log: ModelLog) -> dict[str, object]:
    review, proposal = log.last_review, log.proposal
    changes = log.told(("promoted", "rolled_back"))
    return {
        "champion": log.champion or settings.model,
        "challengers": [] if review is None else [standing.model_dump(mode="json") for standing in review.standings],
        "reviewed_at": "" if review is None else review.at.isoformat(),
        "waits_for_approval": "" if proposal is None else proposal.challenger,
        "changes": [
            {"at": each.at.isoformat(), "kind": each.kind, "from": each.former, "to": each.champion, "by": each.by}
            for each in changes
        ],
        "selection": {} if review is None else review.selection,
    }


def _cost(snapshot: ModelSnapshot, evidence: CardEvidence) -> dict[str, float]:
    """Return bytes and CPU time; measured here and now, on rows from the topic."""
    rows = evidence.sample_rows()
    result = {"snapshot_bytes": float(len(encode_snapshot(snapshot))), "inputs": float(len(snapshot.inputs))}
    result["interventions_committed_cost"] = round(evidence.intervention_cost, 2)
    if len(rows) == 0:
        return result
    scorer = scorer_of(snapshot)
    result["score_cpu_microseconds_a_row"] = _microseconds(lambda: scorer.score(rows), len(rows))
    result["explain_cpu_microseconds_a_row"] = _microseconds(lambda: [scorer.explain(row) for row in rows], len(rows))
    return result


def _limits(
    settings: Settings, snapshot: ModelSnapshot, slices: Sequence[Slice], evidence: CardEvidence
) -> Iterable[str]:
    by_name = {each.name: each.metrics for each in slices}
    yield (
        f"It tells of the next {settings.horizon_days} days only, and of customers as they would be left alone: not of "
        "what a contact would do."
    )
    yield "Whoever is erased or has opted out of profiling is neither scored nor learned from."
    yield f"Looks end {settings.eligible_days} days after a customer's last order: later there is no score."
    if snapshot.effective_examples < FEW_EXAMPLES:
        yield (
            f"It stands on {snapshot.effective_examples:,.0f} effective examples: fewer than {FEW_EXAMPLES:,}, so "
            "scores lean on the prior."
        )
    holdout = by_name.get("holdout", {}).get("examples", 0.0)
    if holdout < FEW_HOLDOUT:
        yield (
            f"Only {holdout:,.0f} labels are of the holdout, who alone are never contacted: quality on others is "
            "judged among those whom nobody contacted."
        )
    for name, metrics in by_name.items():
        if metrics.get("ece", 0.0) > BAD_ECE and metrics["examples"] >= FEW_HOLDOUT:
            yield f"Scores are off by {metrics['ece']:.1%} points on average on: {name}."
    alarms = sum(value for name, value in snapshot.metrics.items() if name.startswith("drift_"))
    if alarms:
        yield f"Drift alarms were raised {alarms:,.0f} times since it began to learn: see the drift section."
    if not evidence.attributes():
        yield "No profile declares an attribute, so nothing can be said of how groups of people are treated."
    if not snapshot.covariance:
        yield "It gives no interval: it does not know how sure it is."


def _tally(judged: Sequence[_Judged]) -> QualityTally:
    tally = QualityTally()
    if judged:
        scores, labels, weights = zip(*judged, strict=True)
        tally.add(np.array(scores), np.array(labels, dtype=np.bool_), np.array(weights))
    return tally


def _row_of(example: TrainingExample) -> NDArray[np.float32] | None:
    names = FEATURE_LISTS.get(example.features_hash)
    if names is None or not example.features:
        return None
    try:
        row = unpack(example.features, len(names))
    except ValueError:
        return None
    return row if example.features_hash == FEATURES_HASH else renamed(row, names)


def _microseconds(work: Callable[[], object], rows: int) -> float:
    started = process_time()
    for _ in range(_TIMED_ROUNDS):
        work()
    return round((process_time() - started) / _TIMED_ROUNDS / rows * 1e6, 3)
