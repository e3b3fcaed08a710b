"""Observations that wait for their labels: taken, thinned and answered; never released before T + H."""

from bisect import insort

from stream_app.core.compact import single
from stream_app.core.hashing import unit_draw
from stream_app.core.state import Observation

AFTER_ORDER = 0
ON_CALENDAR = 1
MOST_PENDING = 16
_FREE_PENDING = 8


def inclusion_probability(pending: int) -> float:
    """Return the probability with which one more observation is taken when `pending` wait already.

    The first eight are always taken, then it halves with every second one; a full list takes none.
    """
    if pending >= MOST_PENDING:
        return 0.0
    if pending < _FREE_PENDING:
        return 1.0
    return 0.5 ** ((pending - _FREE_PENDING) // 2 + 1)


def take_observation(
    pending: list[Observation], customer_id: str, at_ms: int, kind: int, *, thin: bool
) -> Observation | None:
    """Add an observation at a time, or return None when it is thinned away.

    One of the same time and kind is replaced: orders of one instant count as one. Thinning draws by a hash of
    customer, time and kind, so that a replay takes the same ones; the weight makes up for those left out.
    """
    for index, known in enumerate(pending):
        if known.at_ms == at_ms and known.kind == kind:
            renewed = Observation(at_ms=at_ms, kind=kind, weight=known.weight, retained=known.retained)
            pending[index] = renewed
            return renewed
    probability = inclusion_probability(len(pending)) if thin else 1.0
    if probability <= 0 or (probability < 1 and unit_draw("observe", customer_id, at_ms, kind) >= probability):
        return None
    taken = Observation(at_ms=at_ms, kind=kind, weight=1 / probability)
    insort(pending, taken, key=_time_and_kind)
    return taken


def answer_observations(pending: list[Observation], at_ms: int, horizon_ms: int) -> None:
    """Note a sign of life: every observation with T < at <= T + H will be labelled retained when it is due."""
    for observation in pending:
        if observation.at_ms < at_ms <= observation.at_ms + horizon_ms:
            observation.retained = True


def note_contact(
    pending: list[Observation], at_ms: int, horizon_ms: int, stay_probability: float, *, contacted: bool
) -> None:
    """Note on the observations under way that a contact was drawn, or might have been."""
    for observation in pending:
        if observation.at_ms <= at_ms < observation.at_ms + horizon_ms:
            observation.contacts += contacted
            observation.stay_propensity = single(observation.stay_propensity * stay_probability)


def _time_and_kind(observation: Observation) -> tuple[int, int]:
    return observation.at_ms, observation.kind
