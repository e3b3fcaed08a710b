"""Experiment arms: who is never contacted, so that the effect of contacting the others can be measured."""

from stream_app.core.hashing import unit_draw
from stream_app.core.outputs import Arm

ARM_CODES: dict[Arm, int] = {"treatment": 1, "holdout": 2}
"""Arms as observations carry them; 0 is never drawn."""


def arm_of(customer_id: str, salt: str, holdout_share: float) -> Arm:
    """Return the permanent arm of a customer.

    It depends on customer and salt alone. The word hashed along keeps it independent of the choice of actions, which
    is drawn with the same salt. Raising `holdout_share` moves customers into the holdout and none out of it.
    """
    return "holdout" if unit_draw("arm", salt, customer_id) < holdout_share else "treatment"
