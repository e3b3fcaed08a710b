"""Observations under further horizons: the moments of `observations`, answered over a longer time.

A further horizon is longer than the one that is scored and decided by. Whatever is observed for that one is observed
for the longer ones too, with features of their own (some depend on the horizon), and keeps waiting when its first label
has been handed over. Where there are no further horizons, nothing of this exists.
"""

from bisect import insort
from collections.abc import Iterable

from stream_app.core.compact import single
from stream_app.core.hashing import unit_draw
from stream_app.core.observations import inclusion_probability
from stream_app.core.state import CustomerState, FurtherObservation, Observation
from stream_app.core.times import DAY_MS


def take_further(
    state: CustomerState,
    customer_id: str,
    observation: Observation,
    horizon_days: int,
    lateness_ms: int,
    *,
    thin: bool,
) -> FurtherObservation | None:
    """Let an observation wait for a longer horizon, too, or return None where it is thinned away.

    Parameters
    ----------
    state
        Whose; changed in place.
    customer_id
        For the draw.
    observation
        Taken and not yet answered otherwise than by orders within the shorter horizon: what is known of it is copied.
    horizon_days
        Longer than the observation's own.
    lateness_ms
        How long after the horizon's end the label is handed over.
    thin
        Whether at most 16 wait, as for the first horizon; weights make up for those left out of either.
    """
    waiting = state.further if state.further is not None else []
    at_ms, kind = observation.at_ms, observation.kind
    alike = [one for one in waiting if one.horizon_days == horizon_days]
    weight = 0.0
    for index, known in enumerate(waiting):
        if known.horizon_days == horizon_days and known.at_ms == at_ms and known.kind == kind:
            weight = waiting.pop(index).weight
            break
    if not weight:
        probability = inclusion_probability(len(alike)) if thin else 1.0
        if probability <= 0:
            return None
        if probability < 1 and unit_draw("observe", customer_id, at_ms, kind, horizon_days) >= probability:
            return None
        weight = observation.weight / probability
    taken = FurtherObservation(
        at_ms=at_ms,
        kind=kind,
        weight=weight,
        retained=observation.retained,
        contacts=observation.contacts,
        arm=observation.arm,
        stay_propensity=observation.stay_propensity,
        horizon_days=horizon_days,
        handed_ms=at_ms + horizon_days * DAY_MS + lateness_ms,
    )
    insort(waiting, taken, key=_by_label)
    state.further = waiting
    return taken


def answer_further(waiting: Iterable[FurtherObservation], at_ms: int) -> None:
    """Note an order: what was observed before it and is within its horizon will be labelled retained when it is due."""
    for observation in waiting:
        if observation.at_ms < at_ms <= observation.at_ms + observation.horizon_days * DAY_MS:
            observation.retained = True


def note_contact_further(
    waiting: Iterable[FurtherObservation], at_ms: int, stay_probability: float, *, contacted: bool
) -> None:
    """Note that a contact was drawn or might have been, on all observations that are under way then."""
    for observation in waiting:
        if observation.at_ms <= at_ms < observation.at_ms + observation.horizon_days * DAY_MS:
            observation.contacts += contacted
            observation.stay_propensity = single(observation.stay_propensity * stay_probability)


def label_due_ms(state: CustomerState, label_delay_ms: int) -> int:
    """Return when the next label of any horizon is handed over, 0 for never.

    `label_delay_ms` is the first horizon and the allowed lateness.
    """
    oldest_ms = state.oldest_pending_ms
    due_ms = oldest_ms + label_delay_ms if oldest_ms else 0
    if state.further and (not due_ms or state.further[0].handed_ms < due_ms):
        due_ms = state.further[0].handed_ms
    return due_ms


def pop_observation(state: CustomerState, label_delay_ms: int) -> Observation:
    """Take off and return the observation whose label is next; of the first horizon where two are due together.

    There must be one: ask `label_due_ms`.
    """
    due_ms, oldest_ms = label_due_ms(state, label_delay_ms), state.oldest_pending_ms
    if oldest_ms and oldest_ms + label_delay_ms == due_ms:
        return state.pending.pop(0)
    assert state.further, "a label is due"
    observation = state.further.pop(0)
    state.further = state.further or None
    return observation


def _by_label(observation: FurtherObservation) -> tuple[int, int, int, int]:
    return observation.handed_ms, observation.horizon_days, observation.at_ms, observation.kind
