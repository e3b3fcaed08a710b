"""The training example that a matured observation becomes."""

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURES_HASH
from stream_app.core.hashing import stable_id
from stream_app.core.state import Observation
from stream_app.core.times import DAY_MS


def example_of(
    observation: Observation, customer_id: str, partition: int, sequence: int, horizon_days: int
) -> TrainingExample:
    """Return the example of an observation whose horizon has passed; `sequence` is consecutive per partition."""
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
    )
