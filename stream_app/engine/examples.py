"""What a matured observation, and a matured decision, become on their way to the trainer."""

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURES_HASH
from stream_app.core.groups import declared_groups
from stream_app.core.hashing import stable_id
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.state import CustomerState, FurtherObservation, Observation
from stream_app.core.times import DAY_MS
from stream_app.engine.policy import EnginePolicy


def example_of(
    observation: Observation,
    state: CustomerState,
    customer_id: str,
    partition: int,
    sequence: int,
    policy: EnginePolicy,
) -> TrainingExample:
    """Return the example of an observation whose horizon has passed; `sequence` is consecutive per partition."""
    horizon_days = policy.horizon_days
    if isinstance(observation, FurtherObservation):
        horizon_days = observation.horizon_days
    return TrainingExample(
        example_id=stable_id("ex", customer_id, observation.at_ms, observation.kind, horizon_days),
        customer_id=customer_id,
        partition=partition,
        sequence=sequence,
        at_ms=observation.at_ms,
        due_ms=observation.at_ms + horizon_days * DAY_MS,
        horizon_days=horizon_days,
        kind=observation.kind,
        churned=not observation.retained,
        weight=observation.weight,
        features=observation.packed,
        features_hash=FEATURES_HASH,
        probability=observation.probability,
        model_version=observation.model_version,
        contacts=observation.contacts,
        arm=observation.arm,
        stay_propensity=observation.stay_propensity,
        groups=declared_groups(state.profile, policy.fairness_attributes),
    )


def with_groups(outcome: DecisionOutcome, state: CustomerState, policy: EnginePolicy) -> DecisionOutcome:
    """Return a matured decision with what its customer declares of the attributes of fairness reports."""
    groups = declared_groups(state.profile, policy.fairness_attributes)
    return outcome.model_copy(update={"groups": groups}) if groups else outcome
