"""The intervention that a decision to act leads to."""

from collections.abc import Mapping

from stream_app.core.hashing import stable_id
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import TIERS, Intervention
from stream_app.core.times import DAY_MS, HOUR_MS, from_ms
from stream_app.decisions.catalogue import Action, Catalogue
from stream_app.decisions.content import content_of
from stream_app.decisions.courses import course_of
from stream_app.decisions.policy import EPOCH_DAYS, PolicySnapshot, expected_gain
from stream_app.decisions.telling import PROBABILITY_DIGITS
from stream_app.decisions.types import DecisionPoint


def intervention_of(
    point: DecisionPoint,
    ledger: Ledger,
    action: Action,
    alternatives: Mapping[str, float],
    cost: float,
    catalogue: Catalogue,
    policy: PolicySnapshot,
    latest_ms: int | None = None,
) -> Intervention:
    """Return the intervention for an action that was drawn.

    Parameters
    ----------
    point, ledger
        Where it was decided, and of whom.
    action
        What was drawn.
    alternatives
        The whole choice that it was drawn from.
    cost
        What the budget sets aside for it, shop currency.
    catalogue, policy
        In force.
    latest_ms
        It expires by then, whatever the action says, and its content names that day; None: no such limit.
    """
    epoch = point.now_ms // (EPOCH_DAYS * DAY_MS)
    intervention_id = stable_id("int", point.customer_id, epoch, action.name, point.at_ms)
    course = course_of(point.facts, ledger, point.now_ms, catalogue.incentives)
    expires_ms = point.now_ms + int(action.expires_hours * HOUR_MS)
    expires_ms = expires_ms if latest_ms is None else min(expires_ms, latest_ms)
    content = content_of(action, point, intervention_id, expires_ms)
    return Intervention(
        intervention_id=intervention_id,
        customer_id=point.customer_id,
        action=action.name,
        action_kind=action.kind,
        channel=action.channel,
        content=content,
        tier=TIERS[point.tier],
        probability=round(point.probability, PROBABILITY_DIGITS),
        interval=point.interval() if point.interval is not None else None,
        expected_value=round(expected_gain(action, point, catalogue, policy, course), 4),
        cost=round(cost, 4),
        reasons=point.reasons(content.language),
        arm="treatment",
        propensity=alternatives[action.name],
        alternatives=dict(alternatives),
        model_version=point.model_version,
        policy_version=policy.version,
        catalogue_version=catalogue.version,
        trigger=point.trigger,
        event_time=from_ms(point.at_ms),
        decided_at=from_ms(point.now_ms),
        expires_at=from_ms(expires_ms),
    )
