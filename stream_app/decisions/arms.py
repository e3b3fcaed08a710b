"""Experiment arms: who is never contacted, so that the effect of contacting the others can be measured."""

from collections.abc import Sequence

from stream_app.core.hashing import unit_draw
from stream_app.core.ledger import Ledger
from stream_app.core.outputs import Arm
from stream_app.decisions.catalogue import Action, Catalogue, Experiment, ExperimentArm

ARM_CODES: dict[Arm, int] = {"treatment": 1, "holdout": 2}
"""Arms as observations carry them; 0 is never drawn."""


def arm_of(customer_id: str, salt: str, holdout_share: float) -> Arm:
    """Return the permanent arm of a customer.

    It depends on customer and salt alone. The word hashed along keeps it independent of the choice of actions, which
    is drawn with the same salt. Raising `holdout_share` moves customers into the holdout and none out of it.
    """
    return "holdout" if unit_draw("arm", salt, customer_id) < holdout_share else "treatment"


def experiment_arm(customer_id: str, salt: str, experiment: Experiment) -> ExperimentArm | None:
    """Return the permanent arm of a customer in a named experiment, None for who does not take part.

    Independent of the holdout and of every other experiment: the name is hashed along.
    """
    draw = unit_draw("experiment", salt, experiment.name, customer_id)
    if draw >= experiment.share:
        return None
    remaining = draw / experiment.share
    shares = experiment.shares
    for arm in experiment.arms:
        remaining -= shares[arm.name]
        if remaining < 0:
            return arm
    return experiment.arms[-1]


def enter_experiments(
    customer_id: str, salt: str, catalogue: Catalogue, ledger: Ledger, allowed: Sequence[Action]
) -> tuple[Sequence[Action], dict[Experiment, str]]:
    """Let a customer with a choice into the named experiments, and narrow the choice to what its arms leave.

    Returns
    -------
    The actions left, and the arm of each experiment that is entered only now; those are noted in the ledger.
    """
    entered: dict[Experiment, str] = {}
    for experiment in catalogue.experiments:
        arm = experiment_arm(customer_id, salt, experiment)
        if arm is None:
            continue
        allowed = [action for action in allowed if arm.permits(action.name)]
        if experiment.name not in ledger.experiments:
            ledger.experiments = (*ledger.experiments, experiment.name)
            entered[experiment] = arm.name
    return allowed, entered
